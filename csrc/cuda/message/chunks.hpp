// Rows in chunks of about equally many edges, each the work of one warp: sums over all edges are added up chunk by chunk,
// in an order that is a function of the graph's size alone, not of the device.
#pragma once

#include <algorithm>
#include <cstdint>

#include "../launch.hpp"

namespace cgfast {
namespace cuda {

constexpr int64_t chunks_at_most = 1024;  // about eight warps for each multiprocessor of a large device
constexpr int64_t edges_per_chunk = 64;   // at least

// bytes_per_chunk: what each leaves behind for the sum.
inline int64_t count_chunks(int64_t n_rows, int64_t n_edges, int64_t bytes_per_chunk) {
    constexpr int64_t bytes_at_most = int64_t(256) << 20;
    int64_t most = chunks_at_most;
    while (most > 64 && most * bytes_per_chunk > bytes_at_most) most /= 2;
    const int64_t wanted = std::max<int64_t>(1, (n_edges + edges_per_chunk - 1) / edges_per_chunk);
    return std::min({wanted, most, n_rows});
}

// The first row of a chunk: the first whose edges begin where the chunk's share of all edges does, or behind that. Every
// row is in one chunk.
__device__ __forceinline__ int64_t chunk_begin(const int64_t* row_ptr, int64_t n_rows, int64_t n_edges, int64_t chunk,
                                               int64_t n_chunks) {
    if (chunk == 0) return 0;
    if (chunk >= n_chunks) return n_rows;
    const int64_t share = n_edges / n_chunks * chunk + n_edges % n_chunks * chunk / n_chunks;
    int64_t low = 0;
    int64_t high = n_rows;
    while (low < high) {
        const int64_t middle = low + (high - low) / 2;
        if (row_ptr[middle] < share) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    return low;
}

}  // namespace cuda
}  // namespace cgfast
