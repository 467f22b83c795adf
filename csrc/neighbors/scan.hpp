// The innermost loop of the neighbour search: which of a run of ghosts lie within the loose radius of one atom?
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

// Writes the indices of the candidates with squared distance <= radius2 from `target` to `hits`, in increasing order, and
// returns how many. `hits` needs room for end - begin + scan_padding entries; x, y, z are read only inside [begin, end).
using ScanFunction = int32_t (*)(const Candidates& candidates, const float* target, float radius2, int32_t* hits);

constexpr int32_t scan_padding = 16;

ScanFunction scan_function(Isa isa);

}  // namespace cgfast
