// First and second moments of y over edges. Short sums in the compute dtype, long ones in float64.

namespace {

template <class T>
void add_moments(const TiledEdges<T>& edges, const Block<T>& block, const TileValues<T>& values, int64_t f,
                 const MomentSums& sums) {
    constexpr int width = Vector<T>::width;
    Vec<T> first[2 * n_vectors] = {};
    Vec<T> second[2 * n_vectors] = {};
    for (int64_t b = 0; b < block.end - block.begin; ++b) {
        Vec<T> y[2 * n_vectors];
        load_tile(values.at[b], tile_size<T>, y);
        CGFAST_UNROLL
        for (int v = 0; v < 2 * n_vectors; ++v) {
            const Vec<T> weighted = block.edge_weight[b] * y[v];
            first[v] += weighted;
            second[v] += weighted * y[v];
        }
    }
    T short_sums[2][2 * tile_size<T>];
    CGFAST_UNROLL
    for (int v = 0; v < 2 * n_vectors; ++v) {
        store(short_sums[0] + v * width, first[v]);
        store(short_sums[1] + v * width, second[v]);
    }
    for (int64_t part = 0; part < 2; ++part) {
        const int64_t from = part * tile_size<T>;
        const int64_t to = part * edges.n_features + f;
        for (int64_t c = 0; c < tile_size<T>; ++c) sums.first[to + c] += static_cast<double>(short_sums[0][from + c]);
        for (int64_t c = 0; c < tile_size<T>; ++c) sums.second[to + c] += static_cast<double>(short_sums[1][from + c]);
    }
}

// center: y of the very first edge. Any value near the data keeps the sums of squares small.
template <class T>
void edge_moments(const TiledEdges<T>& edges, T* center, const MomentSums& sums, T* scratch, int64_t first,
                  int64_t last) {
    const int64_t first_edge = edges.row_ptr[first];
    for_each_block(edges, scratch, false, first, last, [&](const Block<T>& block) {
        TileValues<T> values;
        for (int64_t f = 0; f < edges.n_features; f += tile_size<T>) {
            if (block.begin == first_edge) {
                Vec<T> y[2 * n_vectors];
                preactivations<T>(edges, block, 1, f, nullptr, values);
                load_tile(values.at[0], tile_size<T>, y);
                store_tile(center + f, edges.n_features, y);
            }
            preactivations(edges, block, block.end - block.begin, f, center, values);
            add_moments(edges, block, values, f, sums);
        }
    });
}

}  // namespace
