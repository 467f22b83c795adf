// The gradient of gated_message: everything of an edge is computed again, nothing was kept.

namespace {

// values: z on entry, the gradient of z on return; sums: that, summed over the edges.
template <class T>
CGFAST_NOINLINE void gate_gradients(const Block<T>& block, const T* grad, TileValues<T>& values, Vec<T>* lanes,
                                    Vec<T>* sums) {
    Vec<T> out_grad[n_vectors];
    Vec<T> total[2 * n_vectors] = {};
    CGFAST_UNROLL
    for (int v = 0; v < n_vectors; ++v) out_grad[v] = load(grad + v * Vector<T>::width);
    for (int64_t b = 0; b < block.end - block.begin; ++b) {
        Vec<T> z[2 * n_vectors];
        Vec<T> dz[2 * n_vectors];
        Vec<T> message[n_vectors];
        load_tile(values.at[b], tile_size<T>, z);
        gated_derivatives<T, n_vectors>(z, z + n_vectors, message, dz, dz + n_vectors);
        Vec<T> of_weight = {};
        CGFAST_UNROLL
        for (int v = 0; v < n_vectors; ++v) {
            const Vec<T> weighted = block.edge_weight[b] * out_grad[v];
            of_weight += out_grad[v] * message[v];
            dz[v] *= weighted;
            dz[n_vectors + v] *= weighted;
        }
        CGFAST_UNROLL
        for (int v = 0; v < 2 * n_vectors; ++v) total[v] += dz[v];
        lanes[b] = of_weight;
        store_tile(values.at[b], tile_size<T>, dz);
    }
    CGFAST_UNROLL
    for (int v = 0; v < 2 * n_vectors; ++v) sums[v] = total[v];
}

template <class T>
struct GatedGradient {
    const TiledEdges<T>& edges;
    const T* grad;  // (n_rows, F)

    const T* center() const { return nullptr; }

    inline void apply(const Block<T>& block, int64_t f, TileValues<T>& values, Vec<T>* lanes, Vec<T>* sums) const {
        gate_gradients(block, grad + block.row * edges.n_features + f, values, lanes, sums);
    }
};

// The same behind z = (y - center) * scale + shift.
template <class T>
struct AffineGatedGradient {
    const TiledEdges<T>& edges;
    const T* grad;
    const Affine<T>& affine;
    const AffineGradients<T>& gradients;

    const T* center() const { return affine.center; }

    inline void apply(const Block<T>& block, int64_t f, TileValues<T>& values, Vec<T>* lanes, Vec<T>* sums) const {
        const int64_t n = block.end - block.begin;
        TileValues<T> y = values;
        apply_affine(affine, edges.n_features, f, n, values);
        gate_gradients(block, grad + block.row * edges.n_features + f, values, lanes, sums);
        add_to_tile(gradients.shift + f, edges.n_features, sums);
        Vec<T> scale[2 * n_vectors];
        Vec<T> of_scale[2 * n_vectors] = {};
        load_tile(affine.scale + f, edges.n_features, scale);
        for (int64_t b = 0; b < n; ++b) {
            Vec<T> dz[2 * n_vectors];
            load_tile(values.at[b], tile_size<T>, dz);
            CGFAST_UNROLL
            for (int v = 0; v < 2 * n_vectors; ++v) {
                of_scale[v] += dz[v] * load(y.at[b] + v * Vector<T>::width);
                dz[v] *= scale[v];
            }
            store_tile(values.at[b], tile_size<T>, dz);
        }
        add_to_tile(gradients.scale + f, edges.n_features, of_scale);
        CGFAST_UNROLL
        for (int v = 0; v < 2 * n_vectors; ++v) sums[v] *= scale[v];
    }
};

template <class T>
void gated_message_backward(const TiledEdges<T>& edges, const Affine<T>& affine, const T* grad,
                            const AffineGradients<T>& affine_gradients, const EdgeGradients<T>& gradients, T* scratch,
                            int64_t first, int64_t last) {
    if (affine.scale == nullptr) {
        edge_gradients(edges, GatedGradient<T>{edges, grad}, gradients, scratch, first, last);
    } else {
        const AffineGatedGradient<T> op = {edges, grad, affine, affine_gradients};
        edge_gradients(edges, op, gradients, scratch, first, last);
    }
}

}  // namespace
