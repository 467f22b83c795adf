// The kernel of gated_message, compiled once per instruction set: CGFAST_ISA names the namespace, CGFAST_VECTOR_BYTES and
// CGFAST_TILE_VECTORS fit the registers. For each row and tile of features: gather q, add p and the edge term, gate,
// weigh, sum. All sums run in the order of the edges.
#if defined(__SSE2__)
#include <immintrin.h>
#endif

#include "gated_message.hpp"

// Loops over the vectors of a tile must unroll, or their arrays live in memory instead of registers.
#if defined(__clang__)
#define CGFAST_UNROLL _Pragma("unroll")
#else
#define CGFAST_UNROLL _Pragma("GCC unroll 8")
#endif

namespace cgfast {
namespace CGFAST_ISA {

#include "vector_math.inl"

namespace {

constexpr int n_vectors = CGFAST_TILE_VECTORS;
constexpr int edge_block = gated_message_edge_block;

template <class T>
constexpr int tile_size = n_vectors * Vector<T>::width;

// The rows of `weight` that an edge needs, and their coefficients.
template <class T>
struct EdgeTerm {
    const T* coefficients;
    const T* rows;  // of the packed tile
    int64_t count;
};

// One edge: adds w * gated(p + q + term) to sums.
template <class T>
inline void add_edge(const Vec<T>* p, const T* q_gate, const T* q_core, const EdgeTerm<T>& term, T edge_weight,
                     Vec<T>* sums) {
    constexpr int width = Vector<T>::width;
    Vec<T> gate[n_vectors];
    Vec<T> core[n_vectors];
    CGFAST_UNROLL
    for (int v = 0; v < n_vectors; ++v) {
        gate[v] = p[v] + load(q_gate + v * width);
        core[v] = p[n_vectors + v] + load(q_core + v * width);
    }
    const T* row = term.rows;
    for (int64_t k = 0; k < term.count; ++k, row += 2 * tile_size<T>) {
        const T c = term.coefficients[k];
        CGFAST_UNROLL
        for (int v = 0; v < n_vectors; ++v) {
            gate[v] += c * load(row + v * width);
            core[v] += c * load(row + (n_vectors + v) * width);
        }
    }
    CGFAST_UNROLL
    for (int v = 0; v < n_vectors; ++v) sums[v] += edge_weight * gated<T>(gate[v], core[v]);
}

// Copies the `n` features of a tile that exist; the rest are zeros.
template <class T>
inline void copy_partial(const T* from, int64_t n, T* to) {
    for (int64_t f = 0; f < tile_size<T>; ++f) to[f] = f < n ? from[f] : T(0);
}

// The Gaussians near distance `d`: values of centres [first, first + count), cut to the centres that exist.
template <class T>
inline int64_t gaussian_window(const GatedMessage<T>& problem, double reach, double d, int64_t* first, T* values) {
    constexpr int width = Vector<T>::width;
    const double position = (d - problem.basis.start) / problem.basis.step;
    // Clamped before the conversion to an integer, so that no distance, however far off, overflows it.
    if (d != d) {  // a NaN must come out as one
        values[0] = static_cast<T>(d);
        *first = 0;
        return problem.n_basis > 0 ? 1 : 0;
    }
    const double last_centre = static_cast<double>(problem.n_basis - 1);
    double low = position - reach;
    double high = position + reach;
    low = low < 0.0 ? 0.0 : low;
    high = high > last_centre ? last_centre : high;
    if (!(low <= high)) return 0;
    int64_t k0 = static_cast<int64_t>(low);
    k0 += static_cast<double>(k0) < low ? 1 : 0;
    const int64_t count = static_cast<int64_t>(high) - k0 + 1;
    const T scale = static_cast<T>(problem.basis.step / problem.basis.width);
    const T offset = static_cast<T>(static_cast<double>(k0) - position);
    for (int64_t k = 0; k < count; k += width) {
        const Vec<T> u = (load(Vector<T>::lanes) + (offset + static_cast<T>(k))) * scale;
        store(values + k, exp_clamped<T>(-u * u));
    }
    *first = k0;
    return count < 0 ? 0 : count;
}

// A few edges of one row with the rows of `weight` that each needs and their coefficients.
template <class T>
struct Block {
    int64_t begin, end;
    const T* coefficients[edge_block];
    int64_t first_row[edge_block];
    int64_t count[edge_block];
};

template <class T>
void fill_block(const GatedMessage<T>& problem, double reach, T* scratch, Block<T>& block) {
    const int64_t stride = gated_message_scratch(problem.n_basis) / edge_block;
    for (int64_t e = block.begin; e < block.end; ++e) {
        const int64_t b = e - block.begin;
        block.first_row[b] = 0;
        block.count[b] = problem.n_basis;
        if (problem.distances != nullptr) {
            T* values = scratch + b * stride;
            block.coefficients[b] = values;
            block.count[b] = gaussian_window(problem, reach, problem.distances[e], &block.first_row[b], values);
        } else if (problem.edge_attr != nullptr) {
            block.coefficients[b] = problem.edge_attr + e * problem.n_basis;
        } else {
            block.count[b] = 0;
        }
    }
}

// Adds the edges of `block` to the out row of target i, tile by tile.
template <class T>
void add_block(const GatedMessage<T>& problem, const T* packed, int64_t i, const Block<T>& block) {
    constexpr int width = Vector<T>::width;
    constexpr int64_t tile = tile_size<T>;
    const int64_t n_features = problem.n_features;
    T* out = problem.out + i * n_features;
    const T* p_row = problem.p + i * problem.p_stride;
    for (int64_t f = 0; f < n_features; f += tile, packed += problem.n_basis * 2 * tile) {
        const int64_t n = n_features - f;
        const bool partial = n < tile;
        T buffer[3 * tile_size<T>];
        const T* p_gate = p_row + f;
        const T* p_core = p_row + n_features + f;
        const T* sum_row = out + f;
        if (partial) {
            copy_partial(p_gate, n, buffer);
            copy_partial(p_core, n, buffer + tile);
            copy_partial(sum_row, n, buffer + 2 * tile);
            p_gate = buffer;
            p_core = buffer + tile;
            sum_row = buffer + 2 * tile;
        }
        Vec<T> p[2 * n_vectors];
        Vec<T> sums[n_vectors];
        CGFAST_UNROLL
        for (int v = 0; v < n_vectors; ++v) {
            p[v] = load(p_gate + v * width);
            p[n_vectors + v] = load(p_core + v * width);
            sums[v] = load(sum_row + v * width);
        }
        for (int64_t e = block.begin; e < block.end; ++e) {
            const int64_t b = e - block.begin;
            const T* q = problem.q + problem.source[e] * problem.q_stride + f;
            const EdgeTerm<T> term = {block.coefficients[b], packed + block.first_row[b] * 2 * tile, block.count[b]};
            const T edge_weight = problem.edge_weight == nullptr ? T(1) : problem.edge_weight[e];
            if (partial) {
                copy_partial(q, n, buffer);
                copy_partial(q + n_features, n, buffer + tile);
                add_edge(p, buffer, buffer + tile, term, edge_weight, sums);
            } else {
                add_edge(p, q, q + n_features, term, edge_weight, sums);
            }
        }
        if (partial) {
            CGFAST_UNROLL
            for (int v = 0; v < n_vectors; ++v) store(buffer + v * width, sums[v]);
            for (int64_t c = 0; c < n; ++c) out[f + c] = buffer[c];
        } else {
            CGFAST_UNROLL
            for (int v = 0; v < n_vectors; ++v) store(out + f + v * width, sums[v]);
        }
    }
}

template <class T>
void rows(const GatedMessage<T>& problem, const T* packed, double reach, T* scratch, int64_t first, int64_t last) {
    for (int64_t i = first; i < last; ++i) {
        T* out = problem.out + i * problem.n_features;
        for (int64_t f = 0; f < problem.n_features; ++f) out[f] = T(0);
        Block<T> block;
        for (block.begin = problem.row_ptr[i]; block.begin < problem.row_ptr[i + 1]; block.begin = block.end) {
            const int64_t end = block.begin + edge_block;
            block.end = end < problem.row_ptr[i + 1] ? end : problem.row_ptr[i + 1];
            fill_block(problem, reach, scratch, block);
            add_block(problem, packed, i, block);
        }
    }
}

}  // namespace

template <class T>
GatedMessageKernel<T> kernel() {
    return {tile_size<T>, rows<T>};
}

template GatedMessageKernel<float> kernel<float>();
template GatedMessageKernel<double> kernel<double>();

}  // namespace CGFAST_ISA
}  // namespace cgfast
