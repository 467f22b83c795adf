#include "scan.hpp"

#include "block_scan.hpp"
#include "launch.hpp"

namespace cgfast {
namespace cuda {
namespace {

constexpr int threads = 256;
constexpr int64_t per_thread = 8;
constexpr int64_t tile = threads * per_thread;
constexpr int64_t scan_shared = threads / warp_size * sizeof(int64_t);

int64_t tiles_of(int64_t n) { return (n + tile - 1) / tile; }

// The `per_thread` consecutive counts of a thread; zeros past the end.
template <class Count>
__device__ __forceinline__ int64_t load_counts(const Count* counts, int64_t n, int64_t first, int64_t* values) {
    int64_t sum = 0;
    CGFAST_CUDA_UNROLL
    for (int64_t i = 0; i < per_thread; ++i) {
        values[i] = first + i < n ? static_cast<int64_t>(counts[first + i]) : 0;
        sum += values[i];
    }
    return sum;
}

template <class Count>
__global__ void __launch_bounds__(threads) sum_tiles(const Count* counts, int64_t n, int64_t* sums) {
    int64_t values[per_thread];
    const int64_t first = static_cast<int64_t>(blockIdx.x) * tile + threadIdx.x * per_thread;
    const int64_t own = load_counts(counts, n, first, values);
    const Scanned scanned = block_scan(own, reinterpret_cast<int64_t*>(shared_memory()));
    if (threadIdx.x == 0) sums[blockIdx.x] = scanned.total;
}

// One block: sums[b] becomes the sum of all before it.
__global__ void __launch_bounds__(threads) scan_tiles(int64_t* sums, int64_t n_tiles) {
    int64_t carry = 0;
    for (int64_t first = 0; first < n_tiles; first += threads) {
        const int64_t at = first + threadIdx.x;
        const int64_t own = at < n_tiles ? sums[at] : 0;
        const Scanned scanned = block_scan(own, reinterpret_cast<int64_t*>(shared_memory()));
        if (at < n_tiles) sums[at] = carry + scanned.before;
        carry += scanned.total;
        sync_block();
    }
}

// `before` is null if there is but one tile.
template <class Count>
__global__ void __launch_bounds__(threads)
    write_scan(const Count* counts, int64_t n, const int64_t* before, int64_t* out) {
    int64_t values[per_thread];
    const int64_t first = static_cast<int64_t>(blockIdx.x) * tile + threadIdx.x * per_thread;
    const int64_t own = load_counts(counts, n, first, values);
    // All have read theirs before any writes: `out` may be `counts`.
    const Scanned scanned = block_scan(own, reinterpret_cast<int64_t*>(shared_memory()));
    int64_t sum = scanned.before + (before == nullptr ? 0 : before[blockIdx.x]);
    CGFAST_CUDA_UNROLL
    for (int64_t i = 0; i < per_thread; ++i) {
        if (first + i < n) out[first + i] = sum;
        sum += values[i];
    }
    const bool last = first <= n && n < first + per_thread;
    if (last || (first + per_thread == n && threadIdx.x == threads - 1)) out[n] = sum;
}

}  // namespace

int64_t scan_workspace(int64_t n) { return tiles_of(n); }

template <class Count>
void exclusive_scan(const Count* counts, int64_t n, int64_t* out, int64_t* workspace, Stream stream) {
    const int64_t n_tiles = tiles_of(n);
    if (n == 0) {
        CGFAST_CUDA_CHECK(cudaMemsetAsync(out, 0, sizeof(int64_t), static_cast<cudaStream_t>(stream)));
        return;
    }
    if (n_tiles > 1) {
        launch("sum_tiles", sum_tiles<Count>, n_tiles, threads, scan_shared, stream, counts, n, workspace);
        launch("scan_tiles", scan_tiles, 1, threads, scan_shared, stream, workspace, n_tiles);
    }
    launch("write_scan", write_scan<Count>, n_tiles, threads, scan_shared, stream, counts, n,
           n_tiles > 1 ? workspace : nullptr, out);
}

template void exclusive_scan<int32_t>(const int32_t* counts, int64_t n, int64_t* out, int64_t* workspace, Stream stream);
template void exclusive_scan<int64_t>(const int64_t* counts, int64_t n, int64_t* out, int64_t* workspace, Stream stream);

}  // namespace cuda
}  // namespace cgfast
