// Edges in any order to rows by target on a GPU: a stable counting sort.
#pragma once

#include <cstdint>

#include "../../graph/sort_edges.hpp"
#include "../stream.hpp"

namespace cgfast {
namespace cuda {

// Bytes of workspace that sort_edges() wants.
int64_t sort_edges_workspace(int64_t n_edges, int64_t n_targets);

// As cgfast::sort_edges(), with all pointers on the device. Edges whose target is out of [0, n_targets) are left out:
// row_ptr ends with the number of the others, and nothing is written behind them. No host synchronisation.
void sort_edges(const int64_t* source, const int64_t* target, int64_t n_edges, int64_t n_targets, const SortedEdges& out,
                void* workspace, Stream stream);

}  // namespace cuda
}  // namespace cgfast
