#include "sort_edges.hpp"

#include <algorithm>

#include "../arena.hpp"
#include "../launch.hpp"
#include "../scan.hpp"

namespace cgfast {
namespace cuda {
namespace {

constexpr int threads = 256;
constexpr int64_t blocks_at_most = int64_t(1) << 16;  // beyond, threads take several edges or rows

struct Workspace {
    int64_t* place;  // (n_edges,): of each edge among those with its target, in whatever order they came
    int64_t* scan;

    Workspace(Arena& arena, int64_t n_edges, int64_t n_targets)
        : place(arena.take<int64_t>(n_edges)), scan(arena.take<int64_t>(scan_workspace(n_targets))) {}
};

// counts: (n_targets,), zeros before.
__global__ void __launch_bounds__(threads)
    count_targets(const int64_t* target, int64_t n_edges, int64_t n_targets, int64_t* counts, int64_t* place) {
    const int64_t n_threads = static_cast<int64_t>(gridDim.x) * threads;
    for (int64_t e = static_cast<int64_t>(blockIdx.x) * threads + threadIdx.x; e < n_edges; e += n_threads) {
        const int64_t t = target[e];
        if (t >= 0 && t < n_targets) place[e] = atomic_add(counts + t, int64_t(1));
    }
}

__global__ void __launch_bounds__(threads) place_edges(const int64_t* target, int64_t n_edges, int64_t n_targets,
                                                       const int64_t* row_ptr, const int64_t* place, int64_t* order) {
    const int64_t n_threads = static_cast<int64_t>(gridDim.x) * threads;
    for (int64_t e = static_cast<int64_t>(blockIdx.x) * threads + threadIdx.x; e < n_edges; e += n_threads) {
        const int64_t t = target[e];
        if (t >= 0 && t < n_targets) order[row_ptr[t] + place[e]] = e;
    }
}

// Up to 32 different values, one of each lane, in order.
__device__ __forceinline__ void sort_short(int64_t* values, int n) {
    const int lane = lane_index();
    const int64_t own = lane < n ? values[lane] : INT64_MAX;
    int rank = 0;
    for (int i = 0; i < n; ++i) rank += shuffle(own, i) < own ? 1 : 0;
    if (lane < n) values[rank] = own;
}

__device__ __forceinline__ void exchange(int64_t* values, int64_t low, int64_t high) {
    const int64_t a = values[low];
    const int64_t b = values[high];
    if (a <= b) return;
    values[low] = b;
    values[high] = a;
}

// Any number of them, by a warp: a bitonic network whose comparators all point the same way, so that places past the end
// behave as if they held the largest values.
__device__ __forceinline__ void sort_long(int64_t* values, int64_t n) {
    for (int size = 1; (int64_t(1) << size) < 2 * n; ++size) {
        for (int bit = size - 1; bit >= 0; --bit) {
            const int64_t d = int64_t(1) << bit;
            for (int64_t i = lane_index(); i < (n + d) / (2 * d) * d + d; i += warp_size) {
                // Pair number i: the places of its lower ends are those whose bit d is clear.
                const int64_t block = i >> bit << (bit + 1);
                const int64_t offset = i & (d - 1);
                const int64_t high = bit == size - 1 ? block + 2 * d - 1 - offset : block + offset + d;
                if (high < n) exchange(values, block + offset, high);
            }
            sync_warp();
        }
    }
}

// The edges of each target in the order they came, and their sources. A warp takes row after row.
__global__ void __launch_bounds__(threads, 4)
    order_rows(const int64_t* source, const int64_t* row_ptr, int64_t n_targets, int64_t* order, int64_t* sorted_source) {
    const int64_t n_warps = static_cast<int64_t>(gridDim.x) * warps_per_block();
    const int64_t warp = static_cast<int64_t>(blockIdx.x) * warps_per_block() + warp_index();
    for (int64_t row = warp; row < n_targets; row += n_warps) {
        const int64_t begin = row_ptr[row];
        const int64_t n = row_ptr[row + 1] - begin;
        if (n > warp_size) {
            sort_long(order + begin, n);
        } else if (n > 1) {
            sort_short(order + begin, static_cast<int>(n));
        }
        sync_warp();
        for (int64_t i = lane_index(); i < n; i += warp_size) sorted_source[begin + i] = source[order[begin + i]];
    }
}

int64_t blocks_for(int64_t n, int64_t per_block) { return std::min((n + per_block - 1) / per_block, blocks_at_most); }

}  // namespace

int64_t sort_edges_workspace(int64_t n_edges, int64_t n_targets) {
    Arena arena(nullptr);
    const Workspace counted(arena, n_edges, n_targets);
    (void)counted;
    return arena.bytes();
}

void sort_edges(const int64_t* source, const int64_t* target, int64_t n_edges, int64_t n_targets, const SortedEdges& out,
                void* memory, Stream stream) {
    Arena arena(memory);
    const Workspace workspace(arena, n_edges, n_targets);
    CGFAST_CUDA_CHECK(cudaMemsetAsync(out.row_ptr, 0, static_cast<size_t>(n_targets + 1) * sizeof(int64_t),
                                      static_cast<cudaStream_t>(stream)));
    const int64_t n_blocks = blocks_for(n_edges, threads);
    launch("count_targets", count_targets, n_blocks, threads, 0, stream, target, n_edges, n_targets, out.row_ptr,
           workspace.place);
    exclusive_scan<int64_t>(out.row_ptr, n_targets, out.row_ptr, workspace.scan, stream);
    launch("place_edges", place_edges, n_blocks, threads, 0, stream, target, n_edges, n_targets, out.row_ptr,
           workspace.place, out.order);
    if (n_edges == 0) return;
    launch("order_rows", order_rows, blocks_for(n_targets, threads / warp_size), threads, 0, stream, source, out.row_ptr,
           n_targets, out.order, out.source);
}

}  // namespace cuda
}  // namespace cgfast
