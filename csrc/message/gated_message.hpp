// The CGCNN message (Xie & Grossman 2018, Eq. 5), with the matrix product split so that no concatenation exists:
//
//   out_i = sum over edges e of row i of  w_e * sigmoid(gate_e) * softplus(core_e)
//   [gate_e | core_e] = p_i + q_source(e) + (edge term of e) @ weight
//
// The edge term is dense (edge_attr), a Gaussian basis of the distance (never stored), or none.
#pragma once

#include <cstdint>

#include "../isa.hpp"

namespace cgfast {

// exp(-((d - start - k * step) / width)^2) for k = 0 ... n - 1.
struct GaussianBasis {
    double start = 0;  // Å
    double step = 0;   // Å
    double width = 0;  // Å
};

// All matrices are row-major with unit stride along features; F features, K edge features, E edges.
template <class T>
struct GatedMessage {
    const T* p;        // (n_rows, 2F): [gate | core] of the target, bias included
    int64_t p_stride;  // elements from one row to the next
    const T* q;        // (n_sources, 2F)
    int64_t q_stride;
    int64_t n_rows, n_sources, n_features, n_edges;
    const int64_t* row_ptr;   // (n_rows + 1,)
    const int64_t* source;    // (E,)
    const T* edge_weight;     // (E,) or null: ones
    const T* weight;          // (K, 2F) or null: no edge term
    int64_t n_basis;          // K
    const T* edge_attr;       // (E, K) or null
    const double* distances;  // (E,) or null; Å
    GaussianBasis basis;      // used with distances
    T* out;                   // (n_rows, F), overwritten
};

// Throws std::invalid_argument for a row_ptr or source that is out of range. Same bits for every `n_threads`.
template <class T>
void gated_message(const GatedMessage<T>& problem, int n_threads);

// --- between the launcher and the kernels
// -------------------------------------------------------------------------------

constexpr int gated_message_edge_block = 16;  // edges whose basis values are kept at a time

// Elements of scratch that a kernel needs: K values per edge of a block, room for a whole vector at the end.
inline int64_t gated_message_scratch(int64_t n_basis) {
    return gated_message_edge_block * ((n_basis + 15) / 16 * 16 + 16);
}

// `packed` holds the edge weights in tiles of `tile` features; in each tile K rows of `tile` gate columns followed by
// `tile` core columns, zero-filled beyond F. `reach`: Gaussians further than this many steps from the distance do not
// matter to rounding.
template <class T>
struct GatedMessageKernel {
    int64_t tile;
    void (*rows)(const GatedMessage<T>& problem, const T* packed, double reach, T* scratch, int64_t first, int64_t last);
};

}  // namespace cgfast
