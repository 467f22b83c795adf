#include "pool.hpp"

#include "../launch.hpp"

namespace cgfast {
namespace cuda {
namespace {

constexpr int warps = 8;
constexpr int64_t rows_per_sum = 256;    // sums of sums: rounding grows with the root of their lengths, not of all rows
constexpr int64_t rows_per_warp = 1024;  // a graph of more is the work of the whole block
constexpr int64_t tiles_at_most = 65535;

template <class T>
struct PoolRows {
    const T* x;
    int64_t stride, n_rows, n_features;
};

// Of the values of one feature in rows [first, last), first < last.
template <class T, bool adds, bool largest>
__device__ __forceinline__ T reduce_rows(const PoolRows<T>& rows, int64_t feature, int64_t first, int64_t last) {
    const T* at = rows.x + first * rows.stride + feature;
    if (adds) {
        T sum = T(0);
        for (int64_t begin = first; begin < last; begin += rows_per_sum) {
            T partial = T(0);
            const int64_t end = begin + rows_per_sum < last ? begin + rows_per_sum : last;
            for (int64_t i = begin; i < end; ++i, at += rows.stride) partial += *at;
            sum += partial;
        }
        return sum;
    }
    T best = *at;
    for (int64_t i = first + 1; i < last; ++i) {
        at += rows.stride;
        const T value = *at;
        const bool better = largest ? value > best : value < best;
        best = better || value != value ? value : best;  // a NaN is preferred to everything
    }
    return best;
}

// blockIdx.y: 32 features. A warp takes a graph; all of the block take the long ones together, one after the other.
template <class T, bool adds, bool largest>
__global__ void __launch_bounds__(warps* warp_size)
    pool_graphs(PoolRows<T> rows, const int64_t* graph_ptr, int64_t n_graphs, bool mean, T* out) {
    T* shared = reinterpret_cast<T*>(shared_memory());
    const int64_t first_graph = static_cast<int64_t>(blockIdx.x) * warps;
    for (int64_t tile = blockIdx.y; tile * warp_size < rows.n_features; tile += gridDim.y) {
        const int64_t feature = tile * warp_size + lane_index();
        const bool exists = feature < rows.n_features;
        for (int w = 0; w < warps && first_graph + w < n_graphs; ++w) {
            const int64_t graph = first_graph + w;
            const int64_t begin = graph_ptr[graph] < 0 ? 0 : graph_ptr[graph];
            const int64_t end = graph_ptr[graph + 1] > rows.n_rows ? rows.n_rows : graph_ptr[graph + 1];
            const int64_t n = begin < end ? end - begin : 0;
            T* to = out + graph * rows.n_features + feature;
            T value = T(0);
            if (n <= rows_per_warp) {
                if (w != warp_index() || !exists) continue;
                if (n > 0) value = reduce_rows<T, adds, largest>(rows, feature, begin, end);
                *to = mean && n > 0 ? value / static_cast<T>(n) : value;
                continue;
            }
            const int64_t share = (n + warps - 1) / warps;
            const int64_t first = begin + warp_index() * share;  // n > warps^2: no share is empty
            const int64_t last = first + share < end ? first + share : end;
            if (exists) shared[threadIdx.x] = reduce_rows<T, adds, largest>(rows, feature, first, last);
            sync_block();
            if (warp_index() == 0 && exists) {
                const PoolRows<T> parts = {shared, warp_size, warps, warp_size};
                value = reduce_rows<T, adds, largest>(parts, lane_index(), 0, warps);
                *to = mean ? value / static_cast<T>(n) : value;
            }
            sync_block();
        }
    }
}

}  // namespace

template <class T>
void pool(const T* x, int64_t stride, int64_t n_rows, int64_t n_features, const int64_t* graph_ptr, int64_t n_graphs,
          Reduction reduction, T* out, Stream stream) {
    const PoolRows<T> rows = {x, stride, n_rows, n_features};
    const int64_t n_tiles = (n_features + warp_size - 1) / warp_size;
    const bool adds = reduction == Reduction::sum || reduction == Reduction::mean;
    const auto kernel = adds                          ? pool_graphs<T, true, false>
                        : reduction == Reduction::max ? pool_graphs<T, false, true>
                                                      : pool_graphs<T, false, false>;
    launch("pool_graphs", kernel, {(n_graphs + warps - 1) / warps, n_tiles < tiles_at_most ? n_tiles : tiles_at_most},
           warps * warp_size, warps * warp_size * static_cast<int64_t>(sizeof(T)), stream, rows, graph_ptr, n_graphs,
           reduction == Reduction::mean, out);
}

template void pool<float>(const float* x, int64_t stride, int64_t n_rows, int64_t n_features, const int64_t* graph_ptr,
                          int64_t n_graphs, Reduction reduction, float* out, Stream stream);
template void pool<double>(const double* x, int64_t stride, int64_t n_rows, int64_t n_features, const int64_t* graph_ptr,
                           int64_t n_graphs, Reduction reduction, double* out, Stream stream);

}  // namespace cuda
}  // namespace cgfast
