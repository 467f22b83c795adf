#include "gated_message.hpp"

#include <algorithm>
#include <vector>

#include "gradient_chunks.hpp"
#include "kernels.hpp"
#include "run_kernel.hpp"
#include "tiles.hpp"

namespace cgfast {
namespace {

constexpr int64_t rows_per_task = 64;

template <class T>
Affine<T> pad(Tiling<T>& tiling, const Affine<T>& affine) {
    return {tiling.pad(affine.center, 1, 0, 2), tiling.pad(affine.scale, 1, 0, 2), tiling.pad(affine.shift, 1, 0, 2)};
}

}  // namespace

template <class T>
void gated_message(const MessageEdges<T>& edges, const Affine<T>& affine, T* out, int n_threads, const T* start) {
    check(edges);
    const MessageKernels<T> kernels = message_kernels<T>(active_isa());
    Tiling<T> tiling(edges, kernels.tile);
    const TiledEdges<T>& tiled = tiling.edges();
    const Affine<T> change = pad(tiling, affine);
    const T* padded_start = tiling.pad(start, edges.n_rows, edges.n_features, 1);
    PaddedOutput<T> result(out, edges.n_rows, edges.n_features, tiled.n_features, 1);
    const int64_t n_tasks = (edges.n_rows + rows_per_task - 1) / rows_per_task;
    run_kernel<T>(n_tasks, operations_of(edges), tiled.n_basis, n_threads, [&](int64_t task, T* scratch) {
        const int64_t first = task * rows_per_task;
        const int64_t last = std::min(edges.n_rows, first + rows_per_task);
        const int64_t n = (last - first) * tiled.n_features;
        T* rows = result.data() + first * tiled.n_features;
        if (start == nullptr) {
            std::fill_n(rows, n, T(0));
        } else {
            std::copy_n(padded_start + first * tiled.n_features, n, rows);
        }
        kernels.gated_message(tiled, change, result.data(), scratch, first, last);
    });
    result.finish();
}

template <class T>
void gated_message_backward(const MessageEdges<T>& edges, const Affine<T>& affine, const T* grad,
                            const EdgeGradients<T>& gradients, T* scale_gradient, T* shift_gradient, int n_threads) {
    check(edges);
    const MessageKernels<T> kernels = message_kernels<T>(active_isa());
    Tiling<T> tiling(edges, kernels.tile, gradients.edge_attr != nullptr);
    const TiledEdges<T>& tiled = tiling.edges();
    const Affine<T> change = pad(tiling, affine);
    const T* padded_grad = tiling.pad(grad, edges.n_rows, edges.n_features, 1);
    const int64_t n_channels = tiling.channels();
    const int64_t n_sums = affine.scale == nullptr ? 0 : 2 * n_channels;

    GradientChunks<T> chunks(tiling, gradients, n_sums);
    run_kernel<T>(chunks.size(), operations_of(edges), tiled.n_basis, n_threads, [&](int64_t c, T* scratch) {
        const RowChunk& rows = chunks.begin(c);
        T* sums = n_sums == 0 ? nullptr : chunks.sums(c);
        const AffineGradients<T> affine_gradients = {sums, sums == nullptr ? nullptr : sums + n_channels};
        kernels.gated_message_backward(tiled, change, padded_grad, affine_gradients, chunks.gradients(c), scratch,
                                       rows.first, rows.last);
    });
    chunks.finish(n_threads);
    if (n_sums == 0) return;
    const std::vector<T> total = chunks.total_sums();
    PaddedOutput<T> scale(scale_gradient, 1, edges.n_features, tiled.n_features, 2);
    PaddedOutput<T> shift(shift_gradient, 1, edges.n_features, tiled.n_features, 2);
    std::copy_n(total.data(), n_channels, scale.data());
    std::copy_n(total.data() + n_channels, n_channels, shift.data());
    scale.finish();
    shift.finish();
}

#define CGFAST_INSTANTIATE(T)                                                                                        \
    template void gated_message<T>(const MessageEdges<T>& edges, const Affine<T>& affine, T* out, int n_threads,     \
                                   const T* start);                                                                  \
    template void gated_message_backward<T>(const MessageEdges<T>& edges, const Affine<T>& affine, const T* grad,    \
                                            const EdgeGradients<T>& gradients, T* scale_gradient, T* shift_gradient, \
                                            int n_threads);
CGFAST_INSTANTIATE(float)
CGFAST_INSTANTIATE(double)

}  // namespace cgfast
