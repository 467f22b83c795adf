// Atoms pooled into crystals on a GPU.
#pragma once

#include <cstdint>

#include "../../graph/pool.hpp"
#include "../stream.hpp"

namespace cgfast {
namespace cuda {

// As cgfast::pool(), with all pointers on the device. Pointers that do not rise from 0 to n_rows give unspecified
// results; nothing outside x is read. Same bits on every run; those of the CPU up to 1024 rows. No host synchronisation.
template <class T>
void pool(const T* x, int64_t stride, int64_t n_rows, int64_t n_features, const int64_t* graph_ptr, int64_t n_graphs,
          Reduction reduction, T* out, Stream stream);

}  // namespace cuda
}  // namespace cgfast
