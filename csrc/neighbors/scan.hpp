// The innermost loops of the neighbour search: which of a run of points lie within a radius of a point, or of a box?
#pragma once

#include <cstdint>

#include "../isa.hpp"

namespace cgfast {

// Coordinates of candidates (float32, structure of arrays) and where to start and stop.
struct Candidates {
    const float* x;
    const float* y;
    const float* z;
    int32_t begin, end;
};

// Writes the indices of the candidates with squared distance <= radius2 from the box (`low`, `high`) to `hits`, in
// increasing order, and returns how many. A point is a box with low == high. `hits` needs room for end - begin +
// scan_padding entries, and x, y, z must be readable (whatever they hold) up to end + scan_padding.
using ScanFunction = int32_t (*)(const Candidates& candidates, const float* low, const float* high, float radius2,
                                 int32_t* hits);

struct ScanFunctions {
    ScanFunction point;  // requires low == high
    ScanFunction box;
};

constexpr int32_t scan_padding = 16;

ScanFunctions scan_functions(Isa isa);

}  // namespace cgfast
