// The CGCNN message (Xie & Grossman 2018, Eq. 5), with the matrix product split so that no concatenation exists:
//
//   out_i = sum over edges e of row i of  w_e * sigmoid(gate_e) * softplus(core_e)
//   [gate_e | core_e] = (y_e - center) * scale + shift,  y_e as in message_edges.hpp
#pragma once

#include "message_edges.hpp"

namespace cgfast {

// out: (n_rows, F), overwritten with `start` (n_rows, F; null: zeros) plus the sums. Throws std::invalid_argument for
// edges that check() refuses. Same bits for every `n_threads`.
template <class T>
void gated_message(const MessageEdges<T>& edges, const Affine<T>& affine, T* out, int n_threads,
                   const T* start = nullptr);

// The gradients of sum(grad * out). grad: (n_rows, F). scale_gradient, shift_gradient: (2F,), used if `affine` is; the
// gradient of `center` is -sum over edges of that of y, which is -scale * shift_gradient.
template <class T>
void gated_message_backward(const MessageEdges<T>& edges, const Affine<T>& affine, const T* grad,
                            const EdgeGradients<T>& gradients, T* scale_gradient, T* shift_gradient, int n_threads);

}  // namespace cgfast
