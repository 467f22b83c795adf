// Every call of the CUDA runtime goes through CGFAST_CUDA_CHECK: a failure becomes a std::runtime_error (in Python a
// RuntimeError) with the call and CUDA's own words.
#pragma once

#include <stdexcept>
#include <string>

#include "runtime.hpp"

namespace cgfast {
namespace cuda {

inline void check(cudaError_t error, const char* call) {
    if (error == cudaSuccess) return;
    (void)cudaGetLastError();  // an error that does not stick must not be found again by the next call
    throw std::runtime_error(std::string(call) + " failed: " + cudaGetErrorName(error) + " (" +
                             cudaGetErrorString(error) + ")");
}

}  // namespace cuda
}  // namespace cgfast

#define CGFAST_CUDA_CHECK(call) ::cgfast::cuda::check((call), #call)
