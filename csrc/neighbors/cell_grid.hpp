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

    // As ScanFunction, over the boxes within reach of `target`; hits are ghost numbers, not in order.
    int32_t scan(ScanFunction scan_run, const float* target, float radius, std::vector<int32_t>& hits) const;

    // Ghost numbers in the order of the boxes: neighbours in this order are neighbours in space.
    const std::vector<int32_t>& order() const { return order_; }

private:
    int box_index(float coordinate, int axis) const;

    int size_[3] = {1, 1, 1};
    float origin_[3] = {0, 0, 0};
    float inverse_width_[3] = {0, 0, 0};
    float width_[3] = {0, 0, 0};
    std::vector<int32_t> start_;  // first ghost of each box, in the sorted order
    std::vector<int32_t> order_;
    std::vector<float> x_, y_, z_;
};

}  // namespace cgfast
