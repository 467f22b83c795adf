// Running sums of counts: what every list that is counted, then filled, needs between the two.
#pragma once

#include <cstdint>

#include "stream.hpp"

namespace cgfast {
namespace cuda {

// Elements of int64_t that exclusive_scan() of n counts works in.
int64_t scan_workspace(int64_t n);

// out[i] = counts[0] + ... + counts[i - 1] for 0 <= i <= n: (n + 1,) int64. `out` may be `counts` if that has room for
// n + 1. Count is int32_t or int64_t. No host synchronisation.
template <class Count>
void exclusive_scan(const Count* counts, int64_t n, int64_t* out, int64_t* workspace, Stream stream);

}  // namespace cuda
}  // namespace cgfast
