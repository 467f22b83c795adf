// One row of a neighbour list: from candidates near one atom to its edges, in order, cut to the k nearest, with weights.
#pragma once

#include <cstdint>
#include <vector>

namespace cgfast {

enum class Sort { source, distance };

struct NeighborOptions {
    double cutoff = 0;          // Å, inclusive
    int64_t max_neighbors = 0;  // 0: all
    bool shell = false;         // keep all that tie with the last of the k nearest, sharing its weight
    double tolerance = 0;       // Å, what counts as a tie in a shell
    bool pad_2018 = false;      // fill short rows as the 2018 code did
    Sort sort = Sort::source;
    int n_threads = 1;
};

// `key` orders neighbours: the ghost number in its low 31 bits, above it nothing (order by source and shift) or the
// distance in steps of 1e-6 Å (canonical order).
struct Neighbor {
    uint64_t key;
    double distance;

    int32_t ghost() const { return static_cast<int32_t>(key & 0x7fffffffu); }
};

struct Row {
    std::vector<Neighbor> neighbors;
    double tied_from = 0;  // neighbours at least this far share the last places ...
    double share = 1;      // ... with this weight each
};

// Orders, cuts and weighs `row` in place (neighbours: all ghosts within `radius`, in any order, key = ghost number).
// Returns false, with `row` unspecified, if a larger radius could change the answer; never when `final`: then there is
// none.
bool finish_row(const NeighborOptions& options, double radius, bool final, Row& row);

}  // namespace cgfast
