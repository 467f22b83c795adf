#include "edge_moments.hpp"

#include <algorithm>
#include <limits>
#include <vector>

#include "../check.hpp"
#include "gradient_chunks.hpp"
#include "kernels.hpp"
#include "run_kernel.hpp"
#include "tiles.hpp"

namespace cgfast {
namespace {

constexpr int64_t rows_per_task = 256;

// Moments of some edges, by channel: mean and sum of squared deviations, and the weight of the edges.
struct Moments {
    std::vector<double> mean, squares;
    double weight = 0;
};

// Chan, Golub & LeVeque, Am. Stat. 37, 242 (1983): the moments of two sets together.
void add(const Moments& other, Moments& total) {
    if (other.weight == 0) return;
    const double weight = total.weight + other.weight;
    for (size_t c = 0; c < total.mean.size(); ++c) {
        const double difference = other.mean[c] - total.mean[c];
        total.mean[c] += difference * (other.weight / weight);
        total.squares[c] += other.squares[c] + difference * difference * (total.weight * other.weight / weight);
    }
    total.weight = weight;
}

template <class T>
double total_weight(const MessageEdges<T>& edges, int64_t first, int64_t last) {
    if (edges.edge_weight == nullptr) return static_cast<double>(last - first);
    double sum = 0;
    for (int64_t e = first; e < last; ++e) {
        const double weight = static_cast<double>(edges.edge_weight[edges.id(e)]);
        CGFAST_CHECK(!(weight < 0), "edge_weight must not be negative where moments are taken, got " << weight);
        sum += weight;
    }
    return sum;
}

// The moments of rows [first, last).
template <class T>
Moments row_moments(const MessageKernels<T>& kernels, const TiledEdges<T>& edges, int64_t first, int64_t last,
                    T* scratch) {
    const int64_t n = 2 * edges.n_features;
    Moments moments = {std::vector<double>(n, 0.0), std::vector<double>(n, 0.0), 0};
    moments.weight = total_weight(edges, edges.row_ptr[first], edges.row_ptr[last]);
    std::vector<T> center(n, T(0));
    kernels.edge_moments(edges, center.data(), {moments.mean.data(), moments.squares.data()}, scratch, first, last);
    if (moments.weight == 0) return moments;
    for (int64_t c = 0; c < n; ++c) {
        const double mean = moments.mean[c] / moments.weight;
        moments.squares[c] = std::max(0.0, moments.squares[c] - moments.mean[c] * mean);
        moments.mean[c] = static_cast<double>(center[c]) + mean;
    }
    return moments;
}

}  // namespace

template <class T>
void edge_moments(const MessageEdges<T>& edges, T* mean, T* variance, int n_threads) {
    check(edges);
    const MessageKernels<T> kernels = message_kernels<T>(active_isa());
    const Tiling<T> tiling(edges, kernels.tile);
    const TiledEdges<T>& tiled = tiling.edges();
    const int64_t n_tasks = (edges.n_rows + rows_per_task - 1) / rows_per_task;
    std::vector<Moments> parts(n_tasks);
    run_kernel<T>(n_tasks, operations_of(edges), tiled.n_basis, n_threads, [&](int64_t task, T* scratch) {
        const int64_t first = task * rows_per_task;
        parts[task] = row_moments(kernels, tiled, first, std::min(edges.n_rows, first + rows_per_task), scratch);
    });
    Moments total = {std::vector<double>(tiling.channels(), 0.0), std::vector<double>(tiling.channels(), 0.0), 0};
    for (const Moments& part : parts) add(part, total);
    const double nan = std::numeric_limits<double>::quiet_NaN();
    for (int64_t part = 0; part < 2; ++part) {
        for (int64_t f = 0; f < edges.n_features; ++f) {
            const int64_t from = part * tiled.n_features + f;
            const int64_t to = part * edges.n_features + f;
            mean[to] = static_cast<T>(total.weight > 0 ? total.mean[from] : nan);
            variance[to] = static_cast<T>(total.weight > 0 ? total.squares[from] / total.weight : nan);
        }
    }
}

template <class T>
void edge_moments_backward(const MessageEdges<T>& edges, const T* mean, const T* variance, const T* mean_grad,
                           const T* variance_grad, const EdgeGradients<T>& gradients, int n_threads) {
    check(edges);
    const MessageKernels<T> kernels = message_kernels<T>(active_isa());
    Tiling<T> tiling(edges, kernels.tile, gradients.edge_attr != nullptr);
    const TiledEdges<T>& tiled = tiling.edges();
    const T total = static_cast<T>(total_weight(edges, 0, edges.n_edges));
    std::vector<T> constant(2 * edges.n_features);
    std::vector<T> slope(2 * edges.n_features);
    for (int64_t c = 0; c < 2 * edges.n_features; ++c) {
        constant[c] = mean_grad[c] / total;
        slope[c] = T(2) * variance_grad[c] / total;
    }
    const MomentsGradient<T> grad = {tiling.pad(mean, 1, 0, 2), tiling.pad(variance, 1, 0, 2),
                                     tiling.pad(constant.data(), 1, 0, 2), tiling.pad(slope.data(), 1, 0, 2)};
    GradientChunks<T> chunks(tiling, gradients, 0);
    run_kernel<T>(chunks.size(), operations_of(edges), tiled.n_basis, n_threads, [&](int64_t c, T* scratch) {
        const RowChunk& rows = chunks.begin(c);
        kernels.edge_moments_backward(tiled, grad, chunks.gradients(c), scratch, rows.first, rows.last);
    });
    chunks.finish(n_threads);
}

#define CGFAST_INSTANTIATE(T)                                                                              \
    template void edge_moments<T>(const MessageEdges<T>& edges, T* mean, T* variance, int n_threads);      \
    template void edge_moments_backward<T>(const MessageEdges<T>& edges, const T* mean, const T* variance, \
                                           const T* mean_grad, const T* variance_grad,                     \
                                           const EdgeGradients<T>& gradients, int n_threads);
CGFAST_INSTANTIATE(float)
CGFAST_INSTANTIATE(double)

}  // namespace cgfast
