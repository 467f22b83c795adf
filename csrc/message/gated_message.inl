// out_i += sum of w * sigmoid(gate) * softplus(core): for each row and tile gather, gate, weigh, sum in the order of
// edges.

namespace {

// values: y on entry, (y - center) * scale + shift on return; y comes without its center.
template <class T>
inline void apply_affine(const Affine<T>& affine, int64_t n_features, int64_t f, int64_t n, TileValues<T>& values) {
    Vec<T> scale[2 * n_vectors];
    Vec<T> shift[2 * n_vectors];
    load_tile(affine.scale + f, n_features, scale);
    load_tile(affine.shift + f, n_features, shift);
    for (int64_t b = 0; b < n; ++b) {
        Vec<T> y[2 * n_vectors];
        load_tile(values.at[b], tile_size<T>, y);
        CGFAST_UNROLL
        for (int v = 0; v < 2 * n_vectors; ++v) y[v] = y[v] * scale[v] + shift[v];
        store_tile(values.at[b], tile_size<T>, y);
    }
}

template <class T>
void add_messages(const Block<T>& block, const TileValues<T>& values, T* out) {
    constexpr int width = Vector<T>::width;
    Vec<T> sums[n_vectors];
    CGFAST_UNROLL
    for (int v = 0; v < n_vectors; ++v) sums[v] = load(out + v * width);
    for (int64_t b = 0; b < block.end - block.begin; ++b) {
        Vec<T> z[2 * n_vectors];
        Vec<T> message[n_vectors];
        load_tile(values.at[b], tile_size<T>, z);
        gated<T, n_vectors>(z, z + n_vectors, message);
        CGFAST_UNROLL
        for (int v = 0; v < n_vectors; ++v) sums[v] += block.edge_weight[b] * message[v];
    }
    CGFAST_UNROLL
    for (int v = 0; v < n_vectors; ++v) store(out + v * width, sums[v]);
}

template <class T>
void gated_message(const TiledEdges<T>& edges, const Affine<T>& affine, T* out, T* scratch, int64_t first, int64_t last) {
    for_each_block(edges, scratch, false, first, last, [&](const Block<T>& block) {
        const int64_t n = block.end - block.begin;
        TileValues<T> values;
        for (int64_t f = 0; f < edges.n_features; f += tile_size<T>) {
            preactivations(edges, block, n, f, affine.center, values);
            if (affine.scale != nullptr) apply_affine(affine, edges.n_features, f, n, values);
            add_messages(block, values, out + block.row * edges.n_features + f);
        }
    });
}

}  // namespace
