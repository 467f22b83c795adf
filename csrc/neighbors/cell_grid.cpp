#include "cell_grid.hpp"

#include <algorithm>
#include <cmath>

namespace cgfast {

void CellGrid::build(const Ghosts& ghosts) {
    const int64_t n = ghosts.size();
    const std::vector<float>* coordinates[3] = {&ghosts.x, &ghosts.y, &ghosts.z};
    double extent[3];
    for (int c = 0; c < 3; ++c) {
        const auto bounds = std::minmax_element(coordinates[c]->begin(), coordinates[c]->begin() + n);
        origin_[c] = *bounds.first;
        extent[c] = static_cast<double>(*bounds.second) - static_cast<double>(*bounds.first);
    }
    // Boxes as wide as the radius, but short along x, where boxes that follow one another are one run anyway (measured:
    // smaller boxes hold fewer candidates, but short runs waste vector lanes). Never many more boxes than ghosts, however
    // empty the cell is.
    const double radius = std::max(static_cast<double>(ghosts.loose_radius), 1e-3);
    double width[3] = {0.25 * radius, radius, radius};
    const auto count = [&](int c) { return std::floor(extent[c] / width[c]) + 1.0; };
    while (count(0) * count(1) * count(2) > 2.0 * static_cast<double>(n) + 64.0) {
        for (double& w : width) w *= 1.26;
    }
    for (int c = 0; c < 3; ++c) {
        size_[c] = static_cast<int>(count(c));
        width_[c] = static_cast<float>(width[c]);
        inverse_width_[c] = static_cast<float>(1.0 / width[c]);
    }
    blur_ = static_cast<float>(1e-6 * std::max({extent[0], extent[1], extent[2]}));

    std::vector<int32_t> box(n);
    start_.assign(static_cast<int64_t>(size_[0]) * size_[1] * size_[2] + 1, 0);
    for (int64_t g = 0; g < n; ++g) {
        box[g] =
            (box_index(ghosts.z[g], 2) * size_[1] + box_index(ghosts.y[g], 1)) * size_[0] + box_index(ghosts.x[g], 0);
        ++start_[box[g] + 1];
    }
    for (size_t b = 1; b < start_.size(); ++b) start_[b] += start_[b - 1];
    std::vector<int32_t> next(start_.begin(), start_.end() - 1);
    order_.resize(n);
    for (std::vector<float>* sorted : {&x_, &y_, &z_}) sorted->resize(n + scan_padding);
    for (int64_t g = 0; g < n; ++g) {
        const int32_t place = next[box[g]]++;
        order_[place] = static_cast<int32_t>(g);
        x_[place] = ghosts.x[g];
        y_[place] = ghosts.y[g];
        z_[place] = ghosts.z[g];
    }
}

// Monotonic in `coordinate`, rounding included, so that a range of coordinates maps onto a range of boxes.
int CellGrid::box_index(float coordinate, int axis) const {
    const float position = (coordinate - origin_[axis]) * inverse_width_[axis];
    const float last = static_cast<float>(size_[axis] - 1);
    return static_cast<int>(std::min(std::max(position, 0.0f), last));
}

// From `coordinate` to the nearest point of a box along one axis: a lower bound, 0 inside.
float CellGrid::gap(float coordinate, int box, int axis) const {
    const float low = origin_[axis] + static_cast<float>(box) * width_[axis];
    return std::max(std::max(low - coordinate, coordinate - (low + width_[axis])) - blur_, 0.0f);
}

// Rounding here is covered by the looseness of the radius (1e-6 of it and of the coordinates), in y and z also by blur_.
int32_t CellGrid::find_runs(const float* target, float radius, std::vector<Run>& runs) const {
    runs.clear();
    int32_t n = 0;
    const int last_z = box_index(target[2] + radius, 2);
    for (int iz = box_index(target[2] - radius, 2); iz <= last_z; ++iz) {
        const float gap_z = gap(target[2], iz, 2);
        const float left_z = std::max(radius * radius - gap_z * gap_z, 0.0f);
        const float reach_y = std::sqrt(left_z);
        const int last_y = box_index(target[1] + reach_y, 1);
        for (int iy = box_index(target[1] - reach_y, 1); iy <= last_y; ++iy) {
            const float gap_y = gap(target[1], iy, 1);
            const float reach_x = std::sqrt(std::max(left_z - gap_y * gap_y, 0.0f));
            const int64_t row = (static_cast<int64_t>(iz) * size_[1] + iy) * size_[0];
            const int32_t begin = start_[row + box_index(target[0] - reach_x, 0)];
            const int32_t end = start_[row + box_index(target[0] + reach_x, 0) + 1];
            if (begin == end) continue;
            runs.push_back({begin, end});
            n += end - begin;
        }
    }
    return n;
}

}  // namespace cgfast
