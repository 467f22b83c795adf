// The kernels of one instruction set, between the launchers (gated_message.cpp, ...) and the kernel bodies (*.inl).
#pragma once

#include <cstdint>

#include "../isa.hpp"
#include "message_edges.hpp"

namespace cgfast {

// As MessageEdges, with n_features a multiple of the tile. `weight` comes in tiles; in each tile K rows of `tile` gate
// columns followed by `tile` core columns.
template <class T>
struct TiledEdges : MessageEdges<T> {
    double reach;       // Gaussians further than this many steps from the distance do not matter to rounding
    bool skip_zeros;    // zeros at both ends of a row of edge_attr may be left out (no weight is infinite or NaN)
    const T* weight_t;  // in tiles, each 2 * tile rows of K rounded up to `basis_stride`; null if not asked for
    int64_t basis_stride;
};

constexpr int edge_block = 16;  // edges whose basis values are kept at a time

// Sums over edges that a kernel adds to, in float64 because edges are many; all (2F,).
struct MomentSums {
    double* first;   // w * (y - center)
    double* second;  // w * (y - center)^2
};

// What the gated message's gradient adds to, besides EdgeGradients; (2F,), or null without an affine change.
template <class T>
struct AffineGradients {
    T* scale;
    T* shift;
};

// The gradient of the moments as one of y: dy_e = w_e * (constant + slope * (y_e - mean)); all (2F,).
template <class T>
struct MomentsGradient {
    const T* mean;
    const T* variance;
    const T* constant;
    const T* slope;
};

// c (n_rows, tile) += a (n_rows, depth) b (depth, tile); b and c have unit stride along a row.
template <class T>
struct PanelProduct {
    const T* a;
    int64_t a_row, a_column;
    const T* b;
    int64_t b_row;
    T* c;
    int64_t c_row;
    int64_t n_rows, depth;
};

// Rows [first, last). Matrices have whole tiles and no gaps between rows; `scratch` holds message_scratch() elements.
// gated_message adds to `out`. Kernels with `gradients` add to .q and to .weight (packed), and overwrite the rest.
template <class T>
struct MessageKernels {
    int64_t tile;
    void (*gated_message)(const TiledEdges<T>& edges, const Affine<T>& affine, T* out, T* scratch, int64_t first,
                          int64_t last);
    void (*gated_message_backward)(const TiledEdges<T>& edges, const Affine<T>& affine, const T* grad,
                                   const AffineGradients<T>& affine_gradients, const EdgeGradients<T>& gradients,
                                   T* scratch, int64_t first, int64_t last);
    // `center` (2F,) is set to y of the first edge, if there is one.
    void (*edge_moments)(const TiledEdges<T>& edges, T* center, const MomentSums& sums, T* scratch, int64_t first,
                         int64_t last);
    void (*edge_moments_backward)(const TiledEdges<T>& edges, const MomentsGradient<T>& grad,
                                  const EdgeGradients<T>& gradients, T* scratch, int64_t first, int64_t last);
    void (*add_product)(const PanelProduct<T>& product);
};

template <class T>
MessageKernels<T> message_kernels(Isa isa);

// Elements of scratch: for each edge of a block K values and K slopes, with room for a whole vector at the end.
inline int64_t scratch_stride(int64_t n_basis) { return (n_basis + 15) / 16 * 16 + 16; }
inline int64_t message_scratch(int64_t n_basis) { return 2 * edge_block * scratch_stride(n_basis); }

}  // namespace cgfast
