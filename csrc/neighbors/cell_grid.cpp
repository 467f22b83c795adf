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
    // Boxes of half the radius; never many more boxes than ghosts, however empty the cell is.
    double width = std::max(0.5 * static_cast<double>(ghosts.loose_radius), 1e-3);
    const auto count = [&](int c) { return std::floor(extent[c] / width) + 1.0; };
    while (count(0) * count(1) * count(2) > 2.0 * static_cast<double>(n) + 64.0) width *= 1.26;
    for (int c = 0; c < 3; ++c) {
        size_[c] = static_cast<int>(count(c));
        width_[c] = static_cast<float>(width);
        inverse_width_[c] = static_cast<float>(1.0 / width);
    }

    std::vector<int32_t> box(n);
    start_.assign(static_cast<int64_t>(size_[0]) * size_[1] * size_[2] + 1, 0);
    for (int64_t g = 0; g < n; ++g) {
        box[g] = (box_index(ghosts.z[g], 2) * size_[1] + box_index(ghosts.y[g], 1)) * size_[0] + box_index(ghosts.x[g], 0);
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

int32_t CellGrid::scan(ScanFunction scan_run, const float* target, float radius, std::vector<int32_t>& hits) const {
    int first[3];
    int last[3];
    for (int c = 0; c < 3; ++c) {
        first[c] = box_index(target[c] - radius, c);
        last[c] = box_index(target[c] + radius, c);
    }
    const float radius2 = radius * radius;
    int32_t n = 0;
    for (int iz = first[2]; iz <= last[2]; ++iz) {
        for (int iy = first[1]; iy <= last[1]; ++iy) {
            const int64_t row = (static_cast<int64_t>(iz) * size_[1] + iy) * size_[0];
            const int32_t begin = start_[row + first[0]];
            const int32_t end = start_[row + last[0] + 1];
            if (begin == end) continue;
            if (static_cast<int64_t>(hits.size()) < n + (end - begin) + scan_padding) {
                hits.resize(2 * (n + (end - begin) + scan_padding));
            }
            n += scan_run({x_.data(), y_.data(), z_.data(), begin, end}, target, target, radius2, hits.data() + n);
        }
    }
    for (int32_t h = 0; h < n; ++h) hits[h] = order_[hits[h]];
    return n;
}

}  // namespace cgfast
