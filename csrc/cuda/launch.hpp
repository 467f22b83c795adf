// How kernels are written and launched here, so that the same source runs on a GPU and, in native tests, on the emulator
// of tests/native/cuda_emulator.hpp: launches only through launch(), shared memory only through shared_memory(), warp and
// block operations only through the wrappers below. Blocks are whole warps, and all 32 lanes take part in a warp
// operation.
#pragma once

#include <cstdint>
#include <string>
#include <type_traits>

#include "check.hpp"
#include "stream.hpp"

// In front of a loop that must unroll, or its arrays would live in memory instead of registers.
#ifdef CGFAST_EMULATE_CUDA
#define CGFAST_CUDA_UNROLL _Pragma("GCC unroll 32")
#define CGFAST_CUDA_NO_UNROLL
#else
#define CGFAST_CUDA_UNROLL _Pragma("unroll")
#define CGFAST_CUDA_NO_UNROLL _Pragma("unroll 1")
#endif

namespace cgfast {
namespace cuda {

constexpr int warp_size = 32;
constexpr int64_t shared_bytes_by_default = 48 << 10;  // more must be asked for

// What a block of the current device may have at most.
inline int64_t shared_bytes_at_most() {
    int device = 0;
    int bytes = 0;
    CGFAST_CUDA_CHECK(cudaGetDevice(&device));
    CGFAST_CUDA_CHECK(cudaDeviceGetAttribute(&bytes, cudaDevAttrMaxSharedMemoryPerBlockOptin, device));
    return bytes;
}

struct Grid {
    int64_t x = 0;  // at most 2^31 - 1
    int64_t y = 1;  // at most 65,535
    Grid(int64_t x, int64_t y = 1) : x(x), y(y) {}
};

// kernel<<<grid, block, shared_bytes, stream>>>(args...), checked; nothing for a grid of no blocks. `name` is for
// messages.
template <class... Parameters, class... Arguments>
void launch(const char* name, void (*kernel)(Parameters...), Grid grid, int block, int64_t shared_bytes, Stream stream,
            Arguments&&... args) {
    if (grid.x == 0 || grid.y == 0) return;
    const auto checked = [&](cudaError_t error) {
        if (error == cudaSuccess) return;
        const std::string call = std::string("launch of ") + name + " (grid " + std::to_string(grid.x) + " x " +
                                 std::to_string(grid.y) + ", block " + std::to_string(block) + ", " +
                                 std::to_string(shared_bytes) + " bytes of shared memory)";
        check(error, call.c_str());
    };
    if (grid.x < 0 || grid.x > INT32_MAX || grid.y < 0 || grid.y > 65535 || block <= 0 || block > 1024 ||
        block % warp_size != 0) {
        checked(cudaErrorInvalidConfiguration);
    }
    if (shared_bytes > shared_bytes_by_default) {
        checked(cudaFuncSetAttribute(reinterpret_cast<const void*>(kernel), cudaFuncAttributeMaxDynamicSharedMemorySize,
                                     static_cast<int>(shared_bytes)));
    }
    const dim3 blocks(static_cast<unsigned>(grid.x), static_cast<unsigned>(grid.y));
#ifdef CGFAST_EMULATE_CUDA
    (void)stream;
    cuda_emulator::run(blocks, dim3(static_cast<unsigned>(block)), static_cast<size_t>(shared_bytes),
                       [&] { kernel(static_cast<Parameters>(args)...); });
#else
    // clang-format off: it knows no >>> in a header
    kernel<<<blocks, static_cast<unsigned>(block), static_cast<size_t>(shared_bytes),
             static_cast<cudaStream_t>(stream)>>>(static_cast<Parameters>(args)...);
    // clang-format on
#endif
    checked(cudaGetLastError());
}

// --- inside kernels -------------------------------------------------------------------------------------------------

// The block's dynamic shared memory, aligned to 16 bytes. There is no other: a kernel lays it out itself.
#ifdef CGFAST_EMULATE_CUDA
inline unsigned char* shared_memory() { return cuda_emulator::shared_memory(); }
#else
__device__ __forceinline__ unsigned char* shared_memory() {
    extern __shared__ __align__(16) unsigned char cgfast_shared[];
    return cgfast_shared;
}
#endif

__device__ __forceinline__ int lane_index() { return static_cast<int>(threadIdx.x) % warp_size; }
__device__ __forceinline__ int warp_index() { return static_cast<int>(threadIdx.x) / warp_size; }
__device__ __forceinline__ int warps_per_block() { return static_cast<int>(blockDim.x) / warp_size; }

#ifdef CGFAST_EMULATE_CUDA

inline void sync_block() { cuda_emulator::sync_block(); }
inline void sync_warp() { cuda_emulator::sync_warp(); }
inline unsigned ballot(bool value) { return cuda_emulator::ballot(value); }
template <class T>
T shuffle(T value, int lane) {
    return cuda_emulator::shuffle(value, lane % warp_size);
}
template <class T>
T atomic_add(T* address, T value) {
    static_assert(std::is_integral<T>::value, "sums of floating-point numbers must have an order");
    const T before = *address;
    *address = static_cast<T>(before + value);
    return before;
}
template <class T>
T atomic_max(T* address, T value) {
    static_assert(std::is_integral<T>::value, "integers only");
    const T before = *address;
    *address = before < value ? value : before;
    return before;
}
template <class T>
T atomic_min(T* address, T value) {
    static_assert(std::is_integral<T>::value, "integers only");
    const T before = *address;
    *address = value < before ? value : before;
    return before;
}
inline int count_bits(unsigned mask) { return __builtin_popcount(mask); }
inline int first_bit(unsigned mask) { return __builtin_ffs(static_cast<int>(mask)) - 1; }  // -1 for none

#else

__device__ __forceinline__ void sync_block() { __syncthreads(); }
__device__ __forceinline__ void sync_warp() { __syncwarp(); }
__device__ __forceinline__ unsigned ballot(bool value) { return __ballot_sync(0xffffffffu, value); }
// `value` of another lane (modulo 32).
template <class T>
__device__ __forceinline__ T shuffle(T value, int lane) {
    return __shfl_sync(0xffffffffu, value, lane);
}
template <>
__device__ __forceinline__ int64_t shuffle<int64_t>(int64_t value, int lane) {
    return static_cast<int64_t>(__shfl_sync(0xffffffffu, static_cast<long long>(value), lane));
}
// Integers only: sums of floating-point numbers must have an order.
template <class T>
__device__ __forceinline__ T atomic_add(T* address, T value) {
    static_assert(std::is_integral<T>::value, "sums of floating-point numbers must have an order");
    if constexpr (sizeof(T) == 8) {
        using Word = unsigned long long;
        return static_cast<T>(atomicAdd(reinterpret_cast<Word*>(address), static_cast<Word>(value)));
    } else {
        return static_cast<T>(atomicAdd(reinterpret_cast<unsigned*>(address), static_cast<unsigned>(value)));
    }
}
template <class T>
__device__ __forceinline__ T atomic_max(T* address, T value) {
    static_assert(std::is_integral<T>::value, "integers only");
    if constexpr (sizeof(T) == 8) {
        using Word = typename std::conditional<std::is_signed<T>::value, long long, unsigned long long>::type;
        return static_cast<T>(atomicMax(reinterpret_cast<Word*>(address), static_cast<Word>(value)));
    } else {
        return atomicMax(address, value);
    }
}
template <class T>
__device__ __forceinline__ T atomic_min(T* address, T value) {
    static_assert(std::is_integral<T>::value, "integers only");
    if constexpr (sizeof(T) == 8) {
        using Word = typename std::conditional<std::is_signed<T>::value, long long, unsigned long long>::type;
        return static_cast<T>(atomicMin(reinterpret_cast<Word*>(address), static_cast<Word>(value)));
    } else {
        return atomicMin(address, value);
    }
}
__device__ __forceinline__ int count_bits(unsigned mask) { return __popc(mask); }
__device__ __forceinline__ int first_bit(unsigned mask) { return __ffs(static_cast<int>(mask)) - 1; }  // -1 for none

#endif

// Of the other lane of each pair at distance `mask`, a power of two.
template <class T>
__device__ __forceinline__ T shuffle_xor(T value, int mask) {
    return shuffle(value, lane_index() ^ mask);
}
__device__ __forceinline__ bool any(bool value) { return ballot(value) != 0; }
__device__ __forceinline__ bool all(bool value) { return ballot(value) == 0xffffffffu; }

// The sum over the lanes, the same bits in each: pairs at distance 16, 8, 4, 2, 1.
template <class T>
__device__ __forceinline__ T warp_sum(T value) {
    CGFAST_CUDA_UNROLL
    for (int d = warp_size / 2; d > 0; d /= 2) value += shuffle_xor(value, d);
    return value;
}
template <class T>
__device__ __forceinline__ T warp_min(T value) {
    CGFAST_CUDA_UNROLL
    for (int d = warp_size / 2; d > 0; d /= 2) {
        const T other = shuffle_xor(value, d);
        value = other < value ? other : value;
    }
    return value;
}
template <class T>
__device__ __forceinline__ T warp_max(T value) {
    CGFAST_CUDA_UNROLL
    for (int d = warp_size / 2; d > 0; d /= 2) {
        const T other = shuffle_xor(value, d);
        value = value < other ? other : value;
    }
    return value;
}

}  // namespace cuda
}  // namespace cgfast
