// The CGCNN message on a GPU: csrc/message/gated_message.hpp, with all pointers on the device.
#pragma once

#include "../../message/message_edges.hpp"
#include "../stream.hpp"

namespace cgfast {
namespace cuda {

// Bytes of workspace that gated_message() wants; often none.
template <class T>
int64_t gated_message_workspace(const MessageEdges<T>& edges);

// out: (n_rows, F), overwritten with `start` (n_rows, F; null: zeros) plus the sums. Same bits on every run, whatever the
// device. Edges that point outside (source, order) make their row NaN; nothing outside the arrays is touched, whatever
// the indices are. Throws std::invalid_argument for a basis that is none. No host synchronisation: may be captured.
template <class T>
void gated_message(const MessageEdges<T>& edges, const Affine<T>& affine, T* out, void* workspace, Stream stream,
                   const T* start = nullptr);

}  // namespace cuda
}  // namespace cgfast
