// The cell list: ghosts sorted into a grid of boxes, so that a large crystal looks only at boxes near each atom.
#pragma once

#include <cstdint>
#include <vector>

#include "ghosts.hpp"
#include "scan.hpp"

namespace cgfast {

class CellGrid {
public:
    // Sorts the ghosts by box, x fastest: boxes that follow one another along x are one contiguous run of ghosts.
    void build(const Ghosts& ghosts);

    // Replaces `runs` by runs of points() that hold every ghost within `radius` (a loose one) of `target`, and others.
    // Returns how many points they hold.
    int32_t find_runs(const float* target, float radius, std::vector<Run>& runs) const;

    // The ghosts in the order of the boxes.
    Points points() const { return {x_.data(), y_.data(), z_.data()}; }

    // Replaces indices of points() by ghost numbers.
    void to_ghosts(int32_t* hits, int32_t n) const {
        for (int32_t h = 0; h < n; ++h) hits[h] = order_[hits[h]];
    }

    // Ghost numbers in the order of the boxes: neighbours in this order are neighbours in space.
    const std::vector<int32_t>& order() const { return order_; }

private:
    int box_index(float coordinate, int axis) const;
    float gap(float coordinate, int box, int axis) const;

    int size_[3] = {1, 1, 1};
    float origin_[3] = {0, 0, 0};
    float inverse_width_[3] = {0, 0, 0};
    float width_[3] = {0, 0, 0};
    float blur_ = 0;              // Å, more than the rounding errors of where a box begins
    std::vector<int32_t> start_;  // first ghost of each box, in the sorted order
    std::vector<int32_t> order_;
    std::vector<float> x_, y_, z_;
};

}  // namespace cgfast
