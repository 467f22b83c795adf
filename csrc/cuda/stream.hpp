// Where CUDA work goes, for headers that must not know the CUDA runtime.
#pragma once

namespace cgfast {
namespace cuda {

// A cudaStream_t of the current device; null is the default stream.
using Stream = void*;

}  // namespace cuda
}  // namespace cgfast
