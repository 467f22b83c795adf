// What goes into a neighbour search and what comes out of it: a batch of crystals, arrays of edges.
#pragma once

#include <algorithm>
#include <cstdint>

namespace cgfast {

struct CrystalBatch {
    const double* positions;   // (n_atoms, 3) Å
    const double* cells;       // (n_crystals, 3, 3) Å
    const uint8_t* pbc;        // (n_crystals, 3)
    const int64_t* graph_ptr;  // (n_crystals + 1,)
    int64_t n_crystals;
    int64_t first_crystal = 0;  // what messages call the first of them
};

// Where a result is written; sizes in edges E, atoms N, crystals B. edge_weight may be null.
struct NeighborArrays {
    int64_t* source;      // (E,)
    int64_t* target;      // (E,)
    int32_t* shifts;      // (E, 3)
    double* distances;    // (E,)
    double* edge_weight;  // (E,)
    int64_t* row_ptr;     // (N + 1,)
    int64_t* few;         // (B,) atoms with fewer than max_neighbors neighbours inside the cutoff

    void set_edge(int64_t e, int64_t from, int64_t to, const int32_t* shift, double distance, double weight) const {
        source[e] = from;
        target[e] = to;
        std::copy_n(shift, 3, shifts + 3 * e);
        distances[e] = distance;
        if (edge_weight != nullptr) edge_weight[e] = weight;
    }
};

// The edges of a batch: how many is known once it is made, then they are written to arrays of exactly that size.
class EdgeList {
public:
    virtual ~EdgeList() = default;

    virtual int64_t n_edges() const = 0;

    // Call once: memory is freed on the way.
    virtual void fill(const NeighborArrays& out) = 0;
};

}  // namespace cgfast
