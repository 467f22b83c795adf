#include "edge_moments.hpp"
#include "gradient_plan.hpp"

namespace cgfast {
namespace cuda {
namespace {

constexpr int threads = 256;
constexpr int64_t weights_per_block = 4096;

// The gradient of the moments as one of y: affine in it, so that no function is evaluated.
template <class T>
struct MomentsGradient {
    static constexpr bool takes_grad = false;
    static constexpr bool has_sums = false;
    const T* grad;      // none
    const T* center;    // the mean
    const T* constant;  // (2F,): dy_e = w_e * (constant + slope * (y_e - mean))
    const T* slope;
    const T* variance;

    struct Lane {
        T constant[channels_per_lane<T>], slope[channels_per_lane<T>], variance[channels_per_lane<T>];

        __device__ __forceinline__ Lane(const MomentsGradient& op, const LaneFeatures<T>& features) {
            features.load(op.constant, constant);
            features.load(op.slope, slope);
            features.load(op.variance, variance);
        }
    };

    template <bool summing>
    __device__ __forceinline__ T apply(const Lane& lane, const T*, T weight, T* y, T*) const {
        T of_weight = T(0);
        CGFAST_CUDA_UNROLL
        for (int c = 0; c < channels_per_lane<T>; ++c) {
            of_weight += lane.constant[c] * y[c] + T(0.5) * lane.slope[c] * (y[c] * y[c] - lane.variance[c]);
            y[c] = weight * (lane.constant[c] + lane.slope[c] * y[c]);
        }
        return of_weight;
    }
};

// The sum over the block, in a fixed order, right in every thread.
__device__ __forceinline__ double block_sum(double value) {
    double* shared = reinterpret_cast<double*>(shared_memory());
    const double sum = warp_sum(value);
    if (lane_index() == 0) shared[warp_index()] = sum;
    sync_block();
    double total = 0;
    for (int w = 0; w < warps_per_block(); ++w) total += shared[w];
    return total;
}

constexpr int64_t sum_shared = threads / warp_size * sizeof(double);

template <class T>
__global__ void __launch_bounds__(threads) add_edge_weights(const T* edge_weight, int64_t n_edges, double* sums) {
    const int64_t first = static_cast<int64_t>(blockIdx.x) * weights_per_block;
    double sum = 0;
    for (int64_t e = first + threadIdx.x; e < first + weights_per_block && e < n_edges; e += threads) {
        const double weight = static_cast<double>(edge_weight[e]);
        sum += weight < 0 ? static_cast<double>(NAN) : weight;
    }
    const double total = block_sum(sum);
    if (threadIdx.x == 0) sums[blockIdx.x] = total;
}

// One block. n_sums sums of edge_weight, or none: then every edge weighs 1.
template <class T>
__global__ void __launch_bounds__(threads)
    prepare_gradient(const double* sums, int64_t n_sums, int64_t n_edges, const T* mean_grad, const T* variance_grad,
                     int64_t n_channels, T* constant, T* slope) {
    double sum = 0;
    for (int64_t i = threadIdx.x; i < n_sums; i += threads) sum += sums[i];
    const double weights = block_sum(sum);
    const T total = static_cast<T>(sums == nullptr ? static_cast<double>(n_edges) : weights);
    for (int64_t c = threadIdx.x; c < n_channels; c += threads) {
        constant[c] = mean_grad[c] / total;
        slope[c] = T(2) * variance_grad[c] / total;
    }
}

template <class T>
struct MomentsBackwardPlan {
    GradientPlan<T> gradients;
    T *constant, *slope;
    int64_t n_sums;
    double* sums;

    MomentsBackwardPlan(const MessageEdges<T>& edges, const EdgeGradients<T>& wanted, Arena& arena)
        : gradients(edges, wanted, false, arena),
          constant(arena.take<T>(2 * edges.n_features)),
          slope(arena.take<T>(2 * edges.n_features)),
          n_sums(edges.edge_weight == nullptr ? 0 : (edges.n_edges + weights_per_block - 1) / weights_per_block),
          sums(n_sums == 0 ? nullptr : arena.take<double>(n_sums)) {}
};

}  // namespace

template <class T>
int64_t edge_moments_backward_workspace(const MessageEdges<T>& edges, const EdgeGradients<T>& gradients) {
    Arena arena(nullptr);
    const MomentsBackwardPlan<T> plan(edges, gradients, arena);
    (void)plan;
    return arena.bytes();
}

template <class T>
void edge_moments_backward(const MessageEdges<T>& edges, const T* mean, const T* variance, const T* mean_grad,
                           const T* variance_grad, const EdgeGradients<T>& gradients, void* workspace, Stream stream) {
    Arena arena(workspace);
    const MomentsBackwardPlan<T> plan(edges, gradients, arena);
    plan.gradients.prepare(stream);
    launch("add_edge_weights", add_edge_weights<T>, plan.n_sums, threads, sum_shared, stream, edges.edge_weight,
           edges.n_edges, plan.sums);
    launch("prepare_gradient", prepare_gradient<T>, 1, threads, sum_shared, stream, plan.sums, plan.n_sums, edges.n_edges,
           mean_grad, variance_grad, 2 * edges.n_features, plan.constant, plan.slope);
    launch_gradients(plan.gradients, MomentsGradient<T>{nullptr, mean, plan.constant, plan.slope, variance}, stream);
    plan.gradients.finish(nullptr, stream);
}

#define CGFAST_INSTANTIATE(T)                                                                              \
    template int64_t edge_moments_backward_workspace<T>(const MessageEdges<T>& edges,                      \
                                                        const EdgeGradients<T>& gradients);                \
    template void edge_moments_backward<T>(const MessageEdges<T>& edges, const T* mean, const T* variance, \
                                           const T* mean_grad, const T* variance_grad,                     \
                                           const EdgeGradients<T>& gradients, void* workspace, Stream stream);
CGFAST_INSTANTIATE(float)
CGFAST_INSTANTIATE(double)

}  // namespace cuda
}  // namespace cgfast
