// Kernels of one warp for each row: their launch, and small things that all of them need.
#pragma once

#include "../launch.hpp"
#include "row_data.hpp"

namespace cgfast {
namespace cuda {

constexpr int threads_of_rows = 128;  // at most

struct RowWarps {
    int64_t blocks;
    int threads;
    int64_t shared_bytes;
};

// As many warps a block as have room for their `bytes` of shared memory without asking for more than usual.
inline RowWarps row_warps(int64_t n_rows, int64_t bytes) {
    int64_t warps = threads_of_rows / warp_size;
    while (warps > 1 && warps * bytes > shared_bytes_by_default) warps /= 2;
    return {(n_rows + warps - 1) / warps, static_cast<int>(warps) * warp_size, warps * bytes};
}

__device__ __forceinline__ int64_t row_of_warp() {
    return static_cast<int64_t>(blockIdx.x) * warps_per_block() + warp_index();
}

__device__ __forceinline__ unsigned lanes_below(int lane) { return (1u << lane) - 1u; }

// Stores how many neighbours a row has, and the number of its edges.
__device__ __forceinline__ void finish_row_counts(const SearchData& search, int64_t atom, int64_t crystal,
                                                  int32_t count) {
    if (lane_index() != 0) return;
    const int64_t k = search.options.max_neighbors;
    search.counts[atom] = count;
    if (count < k) atomic_add(search.few + crystal, int64_t(1));
    if (search.lengths != search.counts) {
        search.lengths[atom] = count < k ? static_cast<int32_t>(k) : count;
    }
}

}  // namespace cuda
}  // namespace cgfast
