// The gradient of the CGCNN message on a GPU: csrc/message/gated_message.hpp, with all pointers on the device.
#pragma once

#include "../../message/message_edges.hpp"
#include "../stream.hpp"

namespace cgfast {
namespace cuda {

// Bytes of workspace that gated_message_backward() wants, for the same gradients.
template <class T>
int64_t gated_message_backward_workspace(const MessageEdges<T>& edges, const Affine<T>& affine,
                                         const EdgeGradients<T>& gradients);

// As on the CPU. Nothing of the size of edges times features is kept; the workspace holds the edges by their sources and,
// if the gradient of the weights is wanted, one copy of that for each of up to 1024 chunks of rows. No atomics on floats:
// same bits on every run. As to indices, captures and errors: see gated_message.hpp; an edge that points outside makes
// what it has a part in NaN.
template <class T>
void gated_message_backward(const MessageEdges<T>& edges, const Affine<T>& affine, const T* grad,
                            const EdgeGradients<T>& gradients, T* scale_gradient, T* shift_gradient, void* workspace,
                            Stream stream);

}  // namespace cuda
}  // namespace cgfast
