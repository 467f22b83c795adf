// Atoms pooled into crystals.
#pragma once

#include <cstdint>
#include <string>

namespace cgfast {

enum class Reduction { sum, mean, min, max };

// Throws std::invalid_argument for an unknown name.
Reduction reduction(const std::string& name);

// out (n_graphs, F): the reduction of the rows graph_ptr[b] ... graph_ptr[b + 1] - 1 of x, 0 for a graph without rows.
// x: (N, F), `stride` elements from one row to the next. A NaN among the values comes out as one. Throws
// std::invalid_argument for a graph_ptr that does not begin with 0, rise and end with N. Same bits for every `n_threads`.
template <class T>
void pool(const T* x, int64_t stride, int64_t n_rows, int64_t n_features, const int64_t* graph_ptr, int64_t n_graphs,
          Reduction reduction, T* out, int n_threads);

}  // namespace cgfast
