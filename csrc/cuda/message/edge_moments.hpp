// Moments of y over all edges on a GPU, and their gradient: csrc/message/edge_moments.hpp, with all pointers on the
// device.
#pragma once

#include "../../message/message_edges.hpp"
#include "../stream.hpp"

namespace cgfast {
namespace cuda {

// Bytes of workspace that the functions below want.
template <class T>
int64_t edge_moments_workspace(const MessageEdges<T>& edges);
template <class T>
int64_t edge_moments_backward_workspace(const MessageEdges<T>& edges, const EdgeGradients<T>& gradients);

// mean, variance: (2F,), NaN without edges that weigh anything. Differences from the y of some edge are added up, long
// sums in float64, in an order that the graph alone decides: same bits on every run. A negative weight makes all NaN. As
// to indices, captures and errors: see gated_message.hpp.
template <class T>
void edge_moments(const MessageEdges<T>& edges, T* mean, T* variance, void* workspace, Stream stream);

// As on the CPU.
template <class T>
void edge_moments_backward(const MessageEdges<T>& edges, const T* mean, const T* variance, const T* mean_grad,
                           const T* variance_grad, const EdgeGradients<T>& gradients, void* workspace, Stream stream);

}  // namespace cuda
}  // namespace cgfast
