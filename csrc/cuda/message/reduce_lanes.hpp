// Several sums over the lanes of a warp at once, for fewer exchanges than one after the other; in a fixed order.
#pragma once

#include "../launch.hpp"

namespace cgfast {
namespace cuda {

// The step that halves how many sums a lane has part in: `d` of them are left. By recursion, so that every index is a
// constant and the values stay in registers.
template <int d, class T>
__device__ __forceinline__ void halve_sums(T* values) {
    const bool upper = (lane_index() & d) != 0;
    CGFAST_CUDA_UNROLL
    for (int i = 0; i < d; ++i) {
        const T sent = upper ? values[i] : values[i + d];
        const T kept = upper ? values[i + d] : values[i];
        values[i] = kept + shuffle_xor(sent, d);
    }
    if constexpr (d > 1) halve_sums<d / 2>(values);
}

// values[i] summed over all lanes is returned by the lanes whose number is i modulo n; n a power of two up to 32.
template <class T, int n>
__device__ __forceinline__ T sum_lanes(T (&values)[n]) {
    halve_sums<n / 2>(values);
    T sum = values[0];
    CGFAST_CUDA_UNROLL
    for (int d = n; d < warp_size; d *= 2) sum += shuffle_xor(sum, d);
    return sum;
}

}  // namespace cuda
}  // namespace cgfast
