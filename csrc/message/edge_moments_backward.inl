// The gradient of edge_moments: affine in y, so no function is evaluated.

namespace {

template <class T>
struct MomentsOp {
    const TiledEdges<T>& edges;
    const MomentsGradient<T>& grad;

    const T* center() const { return grad.mean; }

    inline void apply(const Block<T>& block, int64_t f, TileValues<T>& values, Vec<T>* lanes, Vec<T>* sums) const {
        Vec<T> constant[2 * n_vectors];
        Vec<T> slope[2 * n_vectors];
        Vec<T> variance[2 * n_vectors];
        load_tile(grad.constant + f, edges.n_features, constant);
        load_tile(grad.slope + f, edges.n_features, slope);
        load_tile(grad.variance + f, edges.n_features, variance);
        for (int64_t b = 0; b < block.end - block.begin; ++b) {
            Vec<T> y[2 * n_vectors];
            load_tile(values.at[b], tile_size<T>, y);
            Vec<T> of_weight = {};
            CGFAST_UNROLL
            for (int v = 0; v < 2 * n_vectors; ++v) {
                of_weight += constant[v] * y[v] + T(0.5) * slope[v] * (y[v] * y[v] - variance[v]);
                y[v] = block.edge_weight[b] * (constant[v] + slope[v] * y[v]);
                sums[v] += y[v];
            }
            lanes[b] = of_weight;
            store_tile(values.at[b], tile_size<T>, y);
        }
    }
};

template <class T>
void edge_moments_backward(const TiledEdges<T>& edges, const MomentsGradient<T>& grad, const EdgeGradients<T>& gradients,
                           T* scratch, int64_t first, int64_t last) {
    edge_gradients(edges, MomentsOp<T>{edges, grad}, gradients, scratch, first, last);
}

}  // namespace
