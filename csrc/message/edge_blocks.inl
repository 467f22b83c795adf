// Edges of one row in blocks, and their preactivation in one tile of features: p + q + (edge term) @ weight.

namespace {

constexpr int n_vectors = CGFAST_TILE_VECTORS;  // of the gate, and as many of the core

template <class T>
constexpr int tile_size = n_vectors * Vector<T>::width;

// Up to edge_block edges of one row, the rows of `weight` that each needs and their coefficients.
template <class T>
struct Block {
    int64_t row, begin, end;
    const T* coefficients[edge_block];
    const T* slopes[edge_block];  // d coefficient / d distance
    int64_t first_basis[edge_block];
    int64_t n_basis[edge_block];
    T edge_weight[edge_block];
};

// The Gaussians of `n` windows from centre `k` on, a vector of each, and their derivatives by the distance (or null).
template <class T, int n>
inline void gaussians(const GaussianBasis& basis, const Window<T>* windows, int64_t k, int64_t stride, T* values,
                      T* slopes) {
    const T scale = static_cast<T>(basis.step / basis.width);
    const T slope = static_cast<T>(2.0 / basis.width);
    Vec<T> u[n];
    Vec<T> exponent[n];
    Vec<T> value[n];
    CGFAST_UNROLL
    for (int i = 0; i < n; ++i) {
        u[i] = (load(Vector<T>::lanes) + (windows[i].offset + static_cast<T>(k))) * scale;
        exponent[i] = -u[i] * u[i];
    }
    exp_clamped<T, n>(exponent, value);
    CGFAST_UNROLL
    for (int i = 0; i < n; ++i) {
        store(values + i * stride + k, value[i]);
        if (slopes != nullptr) store(slopes + i * stride + k, slope * u[i] * value[i]);
    }
}

// Smeared distances are zero but for a few: leaves out the zeros at both ends.
template <class T>
inline int64_t nonzero_window(const T* values, int64_t n, int64_t* first) {
    int64_t begin = 0;
    while (begin < n && values[begin] == T(0)) ++begin;
    while (n > begin && values[n - 1] == T(0)) --n;
    *first = begin;
    return n - begin;
}

// Coefficients of a block from the distances of its edges.
template <class T>
void fill_gaussians(const TiledEdges<T>& edges, T* scratch, bool with_slopes, Block<T>& block) {
    constexpr int group = 4;  // edges at a time: one waits for a result while another proceeds
    const double steps_per_angstrom = 1.0 / edges.basis.step;
    const int64_t stride = 2 * scratch_stride(edges.n_basis);
    const int64_t n = block.end - block.begin;
    Window<T> windows[edge_block];
    for (int64_t b = 0; b < edge_block; ++b) {
        windows[b] = {0, 0, T(0)};
        if (b >= n) continue;
        windows[b] = window_of<T>(edges.basis.start, steps_per_angstrom, edges.reach, edges.n_basis,
                                  edges.distances[edges.id(block.begin + b)]);
        block.first_basis[b] = windows[b].first;
        block.n_basis[b] = windows[b].count;
        block.coefficients[b] = scratch + b * stride;
        block.slopes[b] = scratch + b * stride + stride / 2;
    }
    for (int64_t b = 0; b < n; b += group) {
        int64_t longest = 0;
        for (int i = 0; i < group; ++i) longest = windows[b + i].count > longest ? windows[b + i].count : longest;
        T* values = scratch + b * stride;
        T* slopes = with_slopes ? values + stride / 2 : nullptr;
        for (int64_t k = 0; k < longest; k += Vector<T>::width) {
            gaussians<T, group>(edges.basis, windows + b, k, stride, values, slopes);
        }
    }
}

template <class T>
void fill_block(const TiledEdges<T>& edges, T* scratch, bool with_slopes, Block<T>& block) {
    const int64_t n = block.end - block.begin;
    for (int64_t b = 0; b < n; ++b) {
        block.edge_weight[b] = edges.edge_weight == nullptr ? T(1) : edges.edge_weight[edges.id(block.begin + b)];
        block.first_basis[b] = block.n_basis[b] = 0;
    }
    if (edges.distances != nullptr) {
        fill_gaussians(edges, scratch, with_slopes, block);
    } else if (edges.edge_attr != nullptr) {
        for (int64_t b = 0; b < n; ++b) {
            const T* row = edges.edge_attr + edges.id(block.begin + b) * edges.n_basis;
            block.n_basis[b] = edges.n_basis;
            if (edges.skip_zeros) block.n_basis[b] = nonzero_window(row, edges.n_basis, &block.first_basis[b]);
            block.coefficients[b] = row + block.first_basis[b];
        }
    }
}

// Calls body(block) for the edges of rows [first, last), in order.
template <class T, class Body>
inline void for_each_block(const TiledEdges<T>& edges, T* scratch, bool with_slopes, int64_t first, int64_t last,
                           const Body& body) {
    Block<T> block;
    for (block.row = first; block.row < last; ++block.row) {
        const int64_t row_end = edges.row_ptr[block.row + 1];
        for (block.begin = edges.row_ptr[block.row]; block.begin < row_end; block.begin = block.end) {
            block.end = block.begin + edge_block < row_end ? block.begin + edge_block : row_end;
            fill_block(edges, scratch, with_slopes, block);
            body(block);
        }
    }
}

// A tile of one row of channels: the gate's vectors, then the core's.
template <class T>
inline void load_tile(const T* gate, int64_t n_features, Vec<T>* tile) {
    CGFAST_UNROLL
    for (int v = 0; v < n_vectors; ++v) {
        tile[v] = load(gate + v * Vector<T>::width);
        tile[n_vectors + v] = load(gate + n_features + v * Vector<T>::width);
    }
}

template <class T>
inline void store_tile(T* gate, int64_t n_features, const Vec<T>* tile) {
    CGFAST_UNROLL
    for (int v = 0; v < n_vectors; ++v) {
        store(gate + v * Vector<T>::width, tile[v]);
        store(gate + n_features + v * Vector<T>::width, tile[n_vectors + v]);
    }
}

template <class T>
inline void add_to_tile(T* gate, int64_t n_features, const Vec<T>* tile) {
    Vec<T> sum[2 * n_vectors];
    load_tile(gate, n_features, sum);
    CGFAST_UNROLL
    for (int v = 0; v < 2 * n_vectors; ++v) sum[v] += tile[v];
    store_tile(gate, n_features, sum);
}

// Values of the edges of a block in one tile. A kernel works on a tile in passes over the edges, y first: one pass that
// did everything would want more registers than there are.
template <class T>
struct TileValues {
    T at[edge_block][2 * tile_size<T>];
};

// y of the first `n` edges of the block in the tile that begins at feature f; less `center` (2F,), if given.
template <class T>
CGFAST_NOINLINE void preactivations(const TiledEdges<T>& edges, const Block<T>& block, int64_t n, int64_t f,
                                    const T* center, TileValues<T>& values) {
    constexpr int width = Vector<T>::width;
    constexpr int64_t tile = tile_size<T>;
    Vec<T> p[2 * n_vectors];
    load_tile(edges.p + block.row * edges.p_stride + f, edges.n_features, p);
    if (center != nullptr) {
        Vec<T> middle[2 * n_vectors];
        load_tile(center + f, edges.n_features, middle);
        CGFAST_UNROLL
        for (int v = 0; v < 2 * n_vectors; ++v) p[v] -= middle[v];
    }
    const T* rows = edges.weight + f / tile * edges.n_basis * 2 * tile;
    for (int64_t b = 0; b < n; ++b) {
        Vec<T> y[2 * n_vectors];
        load_tile(edges.q + edges.source[block.begin + b] * edges.q_stride + f, edges.n_features, y);
        CGFAST_UNROLL
        for (int v = 0; v < 2 * n_vectors; ++v) y[v] += p[v];
        const T* row = rows + block.first_basis[b] * 2 * tile;
        const T* coefficients = block.coefficients[b];
        for (int64_t k = 0; k < block.n_basis[b]; ++k, row += 2 * tile) {
            const T c = coefficients[k];
            CGFAST_UNROLL
            for (int v = 0; v < 2 * n_vectors; ++v) y[v] += c * load(row + v * width);
        }
        store_tile(values.at[b], tile, y);
    }
}

}  // namespace
