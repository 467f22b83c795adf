// Running sums over the threads of a block, for use inside kernels.
#pragma once

#include "launch.hpp"

namespace cgfast {
namespace cuda {

struct Scanned {
    int64_t before;  // the sum over the threads before this one
    int64_t total;   // over all threads of the block
};

// Every thread of the block must take part. shared: room for one value per warp; free again when all have returned from
// the next sync_block().
__device__ __forceinline__ Scanned block_scan(int64_t value, int64_t* shared) {
    const int lane = lane_index();
    int64_t sum = value;  // up to this lane
    CGFAST_CUDA_UNROLL
    for (int d = 1; d < warp_size; d *= 2) {
        const int64_t other = shuffle(sum, lane - d);
        if (lane >= d) sum += other;
    }
    if (lane == warp_size - 1) shared[warp_index()] = sum;
    sync_block();
    Scanned out = {sum - value, 0};
    for (int w = 0; w < warps_per_block(); ++w) {
        if (w < warp_index()) out.before += shared[w];
        out.total += shared[w];
    }
    return out;
}

}  // namespace cuda
}  // namespace cgfast
