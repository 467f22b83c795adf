// Mean and biased variance of y (message_edges.hpp) over all edges, each counted by its weight: what a batch norm over
// edges needs, without a tensor of edges.
#pragma once

#include "message_edges.hpp"

namespace cgfast {

// mean, variance: (2F,), overwritten; NaN where the weights do not sum to something positive. Throws
// std::invalid_argument for edges that check() refuses. Same bits for every `n_threads`.
template <class T>
void edge_moments(const MessageEdges<T>& edges, T* mean, T* variance, int n_threads);

// The gradients of sum(mean_grad * mean + variance_grad * variance), all (2F,).
template <class T>
void edge_moments_backward(const MessageEdges<T>& edges, const T* mean, const T* variance, const T* mean_grad,
                           const T* variance_grad, const EdgeGradients<T>& gradients, int n_threads);

}  // namespace cgfast
