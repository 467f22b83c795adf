#include "gated_message_backward.hpp"

#include "gradient_plan.hpp"

namespace cgfast {
namespace cuda {
namespace {

// The gradient of the gate, behind z = (y - center) * scale + shift if `affine`. Sums: the gradients of scale and shift.
template <class T, bool affine>
struct GatedGradient {
    static constexpr bool takes_grad = true;
    static constexpr bool has_sums = affine;
    const T* grad;
    const T* center;
    Affine<T> change;

    struct Lane {
        T scale[channels_per_lane<T>], shift[channels_per_lane<T>];

        __device__ __forceinline__ Lane(const GatedGradient& op, const LaneFeatures<T>& features) {
            if (!affine) return;
            features.load(op.change.scale, scale);
            features.load(op.change.shift, shift);
        }
    };

    template <bool summing>
    __device__ __forceinline__ T apply(const Lane& lane, const T* out_grad, T weight, T* y, T* sums) const {
        constexpr int n_v = features_per_lane<T>;
        T of_weight = T(0);
        CGFAST_CUDA_UNROLL
        for (int v = 0; v < n_v; ++v) {
            const int w = n_v + v;
            const T gate = affine ? y[v] * lane.scale[v] + lane.shift[v] : y[v];
            const T core = affine ? y[w] * lane.scale[w] + lane.shift[w] : y[w];
            const GatedValue<T> slopes = gated_slopes(gate, core);
            const T weighted = weight * out_grad[v];
            of_weight += out_grad[v] * slopes.value;
            T of_gate = weighted * slopes.by_gate;
            T of_core = weighted * slopes.by_core;
            if (affine) {
                if (summing) {
                    sums[v] += of_gate * y[v];
                    sums[w] += of_core * y[w];
                    sums[2 * n_v + v] += of_gate;
                    sums[2 * n_v + w] += of_core;
                }
                of_gate *= lane.scale[v];
                of_core *= lane.scale[w];
            }
            y[v] = of_gate;
            y[w] = of_core;
        }
        return of_weight;
    }
};

}  // namespace

template <class T>
int64_t gated_message_backward_workspace(const MessageEdges<T>& edges, const Affine<T>& affine,
                                         const EdgeGradients<T>& gradients) {
    Arena arena(nullptr);
    const GradientPlan<T> plan(edges, gradients, affine.scale != nullptr, arena);
    (void)plan;
    return arena.bytes();
}

template <class T>
void gated_message_backward(const MessageEdges<T>& edges, const Affine<T>& affine, const T* grad,
                            const EdgeGradients<T>& gradients, T* scale_gradient, T* shift_gradient, void* workspace,
                            Stream stream) {
    Arena arena(workspace);
    const bool changed = affine.scale != nullptr;
    const GradientPlan<T> plan(edges, gradients, changed, arena);
    plan.prepare(stream);
    if (changed) {
        launch_gradients(plan, GatedGradient<T, true>{grad, affine.center, affine}, stream);
    } else {
        launch_gradients(plan, GatedGradient<T, false>{grad, nullptr, affine}, stream);
    }
    T* const sums[] = {scale_gradient, shift_gradient};
    plan.finish(changed ? sums : nullptr, stream);
}

#define CGFAST_INSTANTIATE(T)                                                                                        \
    template int64_t gated_message_backward_workspace<T>(const MessageEdges<T>& edges, const Affine<T>& affine,      \
                                                         const EdgeGradients<T>& gradients);                         \
    template void gated_message_backward<T>(const MessageEdges<T>& edges, const Affine<T>& affine, const T* grad,    \
                                            const EdgeGradients<T>& gradients, T* scale_gradient, T* shift_gradient, \
                                            void* workspace, Stream stream);
CGFAST_INSTANTIATE(float)
CGFAST_INSTANTIATE(double)

}  // namespace cuda
}  // namespace cgfast
