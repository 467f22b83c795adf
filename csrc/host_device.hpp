// Functions that the host and CUDA kernels share.
#pragma once

#ifdef __CUDACC__
#define CGFAST_HOST_DEVICE __host__ __device__ __forceinline__
#else
#define CGFAST_HOST_DEVICE inline
#endif
