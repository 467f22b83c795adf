// The innermost loops of the neighbour search: which points lie within a radius of a point, or of a box? And in order.
#pragma once

#include <cstdint>

#include "../isa.hpp"

namespace cgfast {

// Coordinates, structure of arrays. Readable (whatever they hold) up to scan_padding beyond the end of every run.
struct Points {
    const float* x;
    const float* y;
    const float* z;
};

// Points begin ... end - 1.
struct Run {
    int32_t begin, end;
};

constexpr int32_t scan_padding = 16;

// Writes the indices of the points with squared distance <= radius2 from the box (`low`, `high`) to `hits`, in the order
// of the runs, and returns how many. A point is a box with low == high. `hits` needs room for all points of the runs and
// scan_padding more.
using ScanFunction = int32_t (*)(const Points& points, const Run* runs, int64_t n_runs, const float* low,
                                 const float* high, float radius2, int32_t* hits);

struct Counted {
    int32_t inside;
    int32_t borderline;
};

// Counts the points with squared distance <= tight2 from `target`; those beyond it, but <= loose2, are written to `hits`.
using CountFunction = Counted (*)(const Points& points, const Run* runs, int64_t n_runs, const float* target,
                                  float tight2, float loose2, int32_t* hits);

// Sorts n distinct numbers >= 0. `numbers` needs room for scan_padding more, `spare` for n.
using SortFunction = void (*)(int32_t* numbers, int32_t n, int32_t* spare);

struct ScanFunctions {
    ScanFunction point;  // requires low == high
    ScanFunction box;
    CountFunction count;
    SortFunction sort;
};

ScanFunctions scan_functions(Isa isa);

}  // namespace cgfast
