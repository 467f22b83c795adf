// The kernel bodies of all message ops, compiled once per instruction set: CGFAST_ISA names the namespace,
// CGFAST_VECTOR_BYTES and CGFAST_TILE_VECTORS fit the registers.
#if defined(__SSE2__)
#include <immintrin.h>
#endif

#include "../host_device.hpp"
#include "kernels.hpp"

// Loops over the vectors of a tile must unroll, or their arrays live in memory instead of registers.
#if defined(__clang__)
#define CGFAST_UNROLL _Pragma("unroll")
#else
#define CGFAST_UNROLL _Pragma("GCC unroll 16")
#endif

#define CGFAST_NOINLINE __attribute__((noinline))

namespace cgfast {
namespace CGFAST_ISA {

#include "arithmetic.inl"
//
#include "vector_math.inl"
//
#include "edge_blocks.inl"
//
#include "edge_moments.inl"
#include "gated_message.inl"
#include "node_products.inl"
//
#include "edge_gradients.inl"
//
#include "edge_moments_backward.inl"
#include "gated_message_backward.inl"

template <class T>
MessageKernels<T> kernels() {
    return {tile_size<T>,    gated_message<T>,         gated_message_backward<T>,
            edge_moments<T>, edge_moments_backward<T>, add_product<T>};
}

template MessageKernels<float> kernels<float>();
template MessageKernels<double> kernels<double>();

}  // namespace CGFAST_ISA
}  // namespace cgfast
