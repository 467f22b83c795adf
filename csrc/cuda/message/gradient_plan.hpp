// How the gradients of a message op are computed: the caller's workspace cut into what the kernels leave for each other,
// the launches before and after those of edge_gradients.hpp.
#pragma once

#include "../arena.hpp"
#include "device_edges.hpp"
#include "edge_gradients.hpp"

namespace cgfast {
namespace cuda {

template <class T>
struct GradientPlan {
    DeviceEdges<T> edges;
    EdgeGradients<T> wanted;
    bool by_target, by_source;  // which of the two kernels have something to do
    int64_t n_chunks;
    BlockShape target_shape, source_shape;
    Partials<T> partials;
    // Edges by their sources.
    int64_t *targets, *source_ptr, *source_edge, *source_target;
    void* sort_workspace;

    // has_sums: whether the op sums something up over all edges.
    GradientPlan(const MessageEdges<T>& given, const EdgeGradients<T>& gradients, bool has_sums, Arena& arena);

    RowEdges target_rows() const;
    RowEdges source_rows() const;

    // Before the two kernels, and after them. sums: two arrays of (2F,), or null.
    void prepare(Stream stream) const;
    void finish(T* const* sums, Stream stream) const;
};

// What the kernels of edge_gradients.hpp do for an op.
template <class T, class Op>
void launch_gradients(const GradientPlan<T>& plan, const Op& op, Stream stream) {
    if (plan.by_target) {
        const BlockShape& shape = plan.target_shape;
        const int64_t n_blocks = (plan.n_chunks + shape.warps - 1) / shape.warps;
        const auto kernel = shape.weight_bytes > 0 || plan.edges.n_basis == 0 ? target_gradients<T, Op, true>
                                                                              : target_gradients<T, Op, false>;
        launch("target_gradients", kernel, n_blocks, shape.threads(), shape.shared_bytes(), stream, plan.edges,
               plan.target_rows(), op, plan.wanted, plan.partials, plan.n_chunks);
    }
    if (plan.by_source) {
        const BlockShape& shape = plan.source_shape;
        const int64_t n_rows = plan.edges.n_sources;
        const int64_t n_blocks = std::min<int64_t>((n_rows + shape.warps - 1) / shape.warps, 4096);
        const auto kernel = shape.weight_bytes > 0 || plan.edges.n_basis == 0 ? source_gradients<T, Op, true>
                                                                              : source_gradients<T, Op, false>;
        launch("source_gradients", kernel, {n_blocks, tiles_of(plan.edges)}, shape.threads(), shape.shared_bytes(),
               stream, plan.edges, plan.source_rows(), op, plan.wanted.q);
    }
}

}  // namespace cuda
}  // namespace cgfast
