// Edges in any order to rows by target: a stable counting sort.
#pragma once

#include <cstdint>

namespace cgfast {

struct SortedEdges {
    int64_t* source;   // (E,): sources by target, edges of one target in the order they came
    int64_t* row_ptr;  // (n_targets + 1,)
    int64_t* order;    // (E,): where each edge was
};

// Throws std::invalid_argument for a target out of [0, n_targets). Input that is sorted is recognised and copied.
void sort_edges(const int64_t* source, const int64_t* target, int64_t n_edges, int64_t n_targets, const SortedEdges& out);

}  // namespace cgfast
