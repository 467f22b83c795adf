// From the gradient of y to those of all that y is made of, edge by edge. `Op` is a formula for the gradient of y:
//
//   op.apply(block, f, values, lanes, sums)   values: y on entry, its gradient on return. lanes: for each edge, what sums
//   to
//                                             the gradient of its weight. sums: the gradient of y summed over the block
//   op.center()                               (2F,), subtracted from y, or null

namespace {

// Gradients of single edges of a block, summed over tiles.
template <class T>
struct SingleGradients {
    T edge_weight[edge_block];
    double distances[edge_block];
};

// The edges of a block by the beginning of their windows, so that the edges that a row of `weight` matters to are
// consecutive (their ends rise too, or `consecutive` is false).
struct WindowOrder {
    int64_t n;
    int64_t edge[edge_block], begin[edge_block], end[edge_block];
    bool consecutive;
};

template <class T>
inline WindowOrder order_windows(const Block<T>& block) {
    WindowOrder order;
    order.n = block.end - block.begin;
    order.consecutive = true;
    for (int64_t b = 0; b < order.n; ++b) {
        const int64_t begin = block.first_basis[b];
        int64_t at = b;
        for (; at > 0 && order.begin[at - 1] > begin; --at) {
            order.begin[at] = order.begin[at - 1];
            order.end[at] = order.end[at - 1];
            order.edge[at] = order.edge[at - 1];
        }
        order.begin[at] = begin;
        order.end[at] = begin + block.n_basis[b];
        order.edge[at] = b;
    }
    for (int64_t i = 1; i < order.n; ++i) order.consecutive = order.consecutive && order.end[i] >= order.end[i - 1];
    return order;
}

// row += coefficient * dy, over some edges of a block; `row` is row k of weights in a tile.
template <class T>
inline void add_weight_row(const Block<T>& block, const WindowOrder& order, int64_t lo, int64_t hi, int64_t k,
                           const TileValues<T>& dy, T* row) {
    constexpr int width = Vector<T>::width;
    Vec<T> sum[2 * n_vectors];
    CGFAST_UNROLL
    for (int v = 0; v < 2 * n_vectors; ++v) sum[v] = load(row + v * width);
    for (int64_t i = lo; i < hi; ++i) {
        const int64_t b = order.edge[i];
        const T c = block.coefficients[b][k - order.begin[i]];
        CGFAST_UNROLL
        for (int v = 0; v < 2 * n_vectors; ++v) sum[v] += c * load(dy.at[b] + v * width);
    }
    CGFAST_UNROLL
    for (int v = 0; v < 2 * n_vectors; ++v) store(row + v * width, sum[v]);
}

// weight += coefficients^T dy over the edges of a block, row by row of `weight`: each is fetched and put back once.
template <class T>
void add_weight_gradient(const Block<T>& block, const WindowOrder& order, const TileValues<T>& dy, T* rows) {
    if (!order.consecutive) {
        for (int64_t i = 0; i < order.n; ++i) {
            for (int64_t k = order.begin[i]; k < order.end[i]; ++k) {
                add_weight_row(block, order, i, i + 1, k, dy, rows + k * 2 * tile_size<T>);
            }
        }
        return;
    }
    int64_t lo = 0;
    int64_t hi = 0;
    for (int64_t k = order.begin[0]; k < order.end[order.n - 1]; ++k) {
        while (hi < order.n && order.begin[hi] <= k) ++hi;
        while (lo < hi && order.end[lo] <= k) ++lo;
        if (lo < hi) add_weight_row(block, order, lo, hi, k, dy, rows + k * 2 * tile_size<T>);
    }
}

// dy . (sum of slope * weight row): how the edge's y moves with its distance.
template <class T>
inline T distance_gradient(const Block<T>& block, int64_t b, const T* dy, const T* rows) {
    constexpr int width = Vector<T>::width;
    const T* slopes = block.slopes[b];
    Vec<T> sum[2 * n_vectors] = {};
    for (int64_t k = 0; k < block.n_basis[b]; ++k, rows += 2 * tile_size<T>) {
        const T s = slopes[k];
        CGFAST_UNROLL
        for (int v = 0; v < 2 * n_vectors; ++v) sum[v] += s * load(rows + v * width);
    }
    Vec<T> lanes = {};
    CGFAST_UNROLL
    for (int v = 0; v < 2 * n_vectors; ++v) lanes += sum[v] * load(dy + v * width);
    return sum_lanes<T>(lanes);
}

// out[k] (+)= weight row k . dy, for all K: dy times the transposed weights.
template <class T>
inline void add_attr_gradient(const TiledEdges<T>& edges, const T* dy, int64_t f, T* out) {
    constexpr int width = Vector<T>::width;
    for (int64_t k = 0; k < edges.n_basis; k += width) {
        const T* column = edges.weight_t + 2 * f * edges.basis_stride + k;
        Vec<T> sums[4] = {};  // four chains of additions, so that none waits for the one before
        for (int64_t c = 0; c < 2 * tile_size<T>; c += 4, column += 4 * edges.basis_stride) {
            CGFAST_UNROLL
            for (int i = 0; i < 4; ++i) sums[i] += dy[c + i] * load(column + i * edges.basis_stride);
        }
        T values[width];
        store(values, (sums[0] + sums[1]) + (sums[2] + sums[3]));
        const int64_t n = edges.n_basis - k < width ? edges.n_basis - k : width;
        for (int64_t i = 0; i < n; ++i) out[k + i] = f == 0 ? values[i] : out[k + i] + values[i];
    }
}

// From dy of a tile to whatever is wanted.
template <class T>
void spread(const TiledEdges<T>& edges, const EdgeGradients<T>& gradients, const Block<T>& block,
            const WindowOrder& order, int64_t f, const TileValues<T>& dy, SingleGradients<T>& singles) {
    const int64_t n_features = edges.n_features;
    const int64_t tile_rows = f / tile_size<T> * edges.n_basis;
    for (int64_t b = 0; b < order.n; ++b) {
        const int64_t e = block.begin + b;
        if (gradients.q != nullptr) {
            Vec<T> values[2 * n_vectors];
            load_tile(dy.at[b], tile_size<T>, values);
            add_to_tile(gradients.q + (edges.source[e] - gradients.q_first) * 2 * n_features + f, n_features, values);
        }
        if (gradients.distances != nullptr) {
            const T* rows = edges.weight + (tile_rows + block.first_basis[b]) * 2 * tile_size<T>;
            singles.distances[b] += static_cast<double>(distance_gradient(block, b, dy.at[b], rows));
        }
        if (gradients.edge_attr != nullptr) {
            add_attr_gradient(edges, dy.at[b], f, gradients.edge_attr + edges.id(e) * edges.n_basis);
        }
    }
    if (gradients.weight != nullptr) {
        add_weight_gradient(block, order, dy, gradients.weight + tile_rows * 2 * tile_size<T>);
    }
}

// Adds to gradients.q and .weight, overwrites the others, for the edges of rows [first, last).
template <class T, class Op>
void edge_gradients(const TiledEdges<T>& edges, const Op& op, const EdgeGradients<T>& gradients, T* scratch,
                    int64_t first, int64_t last) {
    const int64_t n_features = edges.n_features;
    if (gradients.p != nullptr) {
        for (int64_t c = first * 2 * n_features; c < last * 2 * n_features; ++c) gradients.p[c] = T(0);
    }
    for_each_block(edges, scratch, gradients.distances != nullptr, first, last, [&](const Block<T>& block) {
        SingleGradients<T> singles = {};
        TileValues<T> values;
        const WindowOrder order = order_windows(block);
        for (int64_t f = 0; f < n_features; f += tile_size<T>) {
            Vec<T> sums[2 * n_vectors] = {};
            Vec<T> lanes[edge_block];
            preactivations(edges, block, order.n, f, op.center(), values);
            op.apply(block, f, values, lanes, sums);
            if (gradients.p != nullptr) add_to_tile(gradients.p + block.row * 2 * n_features + f, n_features, sums);
            if (gradients.edge_weight != nullptr) {
                for (int64_t b = 0; b < order.n; ++b) singles.edge_weight[b] += sum_lanes<T>(lanes[b]);
            }
            spread(edges, gradients, block, order, f, values, singles);
        }
        for (int64_t b = 0; b < order.n; ++b) {
            const int64_t id = edges.id(block.begin + b);
            for (int64_t k = 0; n_features == 0 && gradients.edge_attr != nullptr && k < edges.n_basis; ++k) {
                gradients.edge_attr[id * edges.n_basis + k] = T(0);
            }
            if (gradients.distances != nullptr) gradients.distances[id] = singles.distances[b];
            if (gradients.edge_weight != nullptr) gradients.edge_weight[id] = singles.edge_weight[b];
        }
    });
}

}  // namespace
