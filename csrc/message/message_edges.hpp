// What every op on messages reads: the edges of a graph in rows by target, and the three parts of their preactivation
//
//   y_e = p_i + q_source(e) + (edge term of e) @ weight          2F channels, [gate | core]
//
// The edge term is dense (edge_attr), a Gaussian basis of the distance (never stored), or none.
#pragma once

#include <cstdint>

#include "../host_device.hpp"

namespace cgfast {

// Where element (k, c) of a (K, 2F) matrix of [gate | core] is: k * row + c * column from its beginning, or, for the
// core's columns, k * row + (c - F) * column from `core`, if the two are apart. The default is a matrix without gaps.
template <class T>
struct WeightLayout {
    int64_t row = 0;  // 0: 2F
    int64_t column = 1;
    T* core = nullptr;

    CGFAST_HOST_DEVICE T* at(T* weight, int64_t k, int64_t c, int64_t n_features) const {
        const int64_t begin = k * (row == 0 ? 2 * n_features : row);
        if (core == nullptr || c < n_features) return weight + begin + c * column;
        return core + begin + (c - n_features) * column;
    }
};

// exp(-((d - start - k * step) / width)^2) for k = 0 ... n - 1.
struct GaussianBasis {
    double start = 0;  // Å
    double step = 0;   // Å
    double width = 0;  // Å
};

// How many steps from a distance a Gaussian matters to the rounding of sums of terms of order one, in T.
template <class T>
double reach_of(const GaussianBasis& basis);

// Throws std::invalid_argument for a basis that is none.
void check(const GaussianBasis& basis);

// Matrices are row-major with unit stride along features (weight: as its layout says); F features, K edge features, E
// edges.
template <class T>
struct MessageEdges {
    const T* p;        // (n_rows, 2F): [gate | core] of the target, bias included
    int64_t p_stride;  // elements from one row to the next
    const T* q;        // (n_sources, 2F)
    int64_t q_stride;
    int64_t n_rows, n_sources, n_features, n_edges;
    const int64_t* row_ptr;   // (n_rows + 1,)
    const int64_t* source;    // (E,)
    const int64_t* order;     // (E,) or null: edge e has row order[e] of edge_weight, edge_attr and distances
    const T* edge_weight;     // (E,) or null: ones
    const T* weight;          // (K, 2F) or null: no edge term
    int64_t n_basis;          // K
    const T* edge_attr;       // (E, K) or null
    const double* distances;  // (E,) or null; Å
    GaussianBasis basis;      // used with distances
    WeightLayout<const T> weight_layout = {};

    CGFAST_HOST_DEVICE int64_t id(int64_t e) const { return order == nullptr ? e : order[e]; }
};

// A change of y per channel, before the gate: (y - center) * scale + shift. All three (2F,), or all null.
template <class T>
struct Affine {
    const T* center;
    const T* scale;
    const T* shift;
};

// Where the gradients of a scalar go; null: not wanted. Everything is overwritten.
template <class T>
struct EdgeGradients {
    T* p;               // (n_rows, 2F)
    T* q;               // (n_sources, 2F)
    T* weight;          // (K, 2F)
    T* edge_attr;       // (E, K), in the order of edge_attr itself
    double* distances;  // (E,), likewise
    T* edge_weight;     // (E,), likewise
    WeightLayout<T> weight_layout = {};
    int64_t q_first = 0;  // the source that the first row of q is for
};

// Throws std::invalid_argument for a row_ptr, source or order out of range and a basis that is none.
template <class T>
void check(const MessageEdges<T>& edges);

}  // namespace cgfast
