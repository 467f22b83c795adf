// Batches of graphs whose crystals lie one after the other in flat arrays.
#pragma once

#include <cstdint>

namespace cgfast {

// Graphs of many crystals, edges in rows by target. Atoms are numbered inside their crystal.
struct StoredGraphs {
    const int64_t* graph_ptr;  // (n_crystals + 1,) into atoms
    const int64_t* edge_ptr;   // (n_crystals + 1,) into edges
    int64_t n_crystals, n_atoms, n_edges;
    const int32_t* degree;          // (n_atoms,): edges of each target
    const int32_t* source;          // (n_edges,)
    const uint8_t* atomic_numbers;  // (n_atoms,)
    const void* distances;          // (n_edges,) of value_bytes each
    const void* edge_weight;        // like distances; null: none
    int64_t value_bytes;
};

// A batch as message ops read it, atoms numbered over all of it.
struct CollatedGraph {
    int64_t n_atoms, n_edges;
    int64_t* source;          // (n_edges,)
    int64_t* target;          // (n_edges,)
    int64_t* row_ptr;         // (n_atoms + 1,)
    int64_t* graph_ptr;       // (n_indices + 1,)
    int32_t* atomic_numbers;  // (n_atoms,)
    void* distances;          // (n_edges,)
    void* edge_weight;        // (n_edges,); null: none
};

// Copies the crystals `indices` (any order, with repeats) into `out`. Throws std::invalid_argument for an index out of
// range, for sizes of `out` that are not those of the crystals, and for stored pointers and degrees that contradict each
// other; nothing is read or written out of bounds then. Same bits for every `n_threads`; small batches use one.
void collate(const StoredGraphs& stored, const int64_t* indices, int64_t n_indices, const CollatedGraph& out,
             int n_threads);

}  // namespace cgfast
