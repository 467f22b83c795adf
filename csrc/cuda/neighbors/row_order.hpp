// The order of the edges of a row, and a warp's sort in that order.
//
// A key is the number of a neighbour in its low 31 bits, above it nothing (order by source and shift) or the distance in
// steps of 1e-6 Å (canonical order), as on the CPU. There is no payload: number and distance follow from each other.
#pragma once

#include "row_data.hpp"

namespace cgfast {
namespace cuda {

constexpr int number_bits = 31;
constexpr uint32_t number_mask = 0x7fffffffu;

__device__ __forceinline__ uint64_t canonical_key(double distance, uint32_t number) {
    return rounded_distance(distance) << number_bits | number;
}
__device__ __forceinline__ uint32_t number_in(uint64_t key) { return static_cast<uint32_t>(key) & number_mask; }

// In a reduced lattice the order of numbers is not that of the input's shifts: equal distances from the same atom are
// then compared by the latter.
struct RowOrder {
    const Lattice* lattice;
    Images images;
    bool reduced;

    __device__ __forceinline__ RowOrder(const Lattice& lattice, const Images& images)
        : lattice(&lattice), images(images), reduced(lattice.reduced) {}

    __device__ __forceinline__ bool before(uint64_t a, uint64_t b) const {
        if (!reduced || (a >> number_bits) != (b >> number_bits)) return a < b;
        int32_t shift_a[3];
        int32_t shift_b[3];
        const int32_t atom_a = atom_and_shift(images, number_in(a), shift_a);
        const int32_t atom_b = atom_and_shift(images, number_in(b), shift_b);
        if (atom_a != atom_b) return a < b;
        for (int c = 0; c < 3; ++c) shift_a[c] -= shift_b[c];
        const int64_t difference[2] = {lattice->input_shift(shift_a, 0), lattice->input_shift(shift_a, 1)};
        if (difference[0] != 0) return difference[0] < 0;
        return difference[1] != 0 ? difference[1] < 0 : lattice->input_shift(shift_a, 2) < 0;
    }

    template <class Index>
    __device__ __forceinline__ void exchange(uint64_t* keys, Index low, Index high) const {
        const uint64_t a = keys[low];
        const uint64_t b = keys[high];
        if (before(b, a)) {
            keys[low] = b;
            keys[high] = a;
        }
    }
};

// Each key's place is how many go before it: for as many keys as lanes.
__device__ __forceinline__ void sort_one_each(uint64_t* keys, int32_t n, const RowOrder& order) {
    const int lane = lane_index();
    const uint64_t own = lane < n ? keys[lane] : ~uint64_t(0);
    int32_t place = 0;
    for (int32_t m = 0; m < n; ++m) {
        const uint64_t other = shuffle(own, m);
        if (lane < n && order.before(other, own)) ++place;
    }
    sync_warp();
    if (lane < n) keys[place] = own;
    sync_warp();
}

// Sorts n keys, all different, in shared or global memory, with all lanes of a warp. What other lanes wrote there before
// must have been waited for (sync_warp). Beyond 32 keys bitonic, all comparisons upwards, so that n may be any number.
// Index: int32_t for shared memory.
template <class Index>
__device__ __forceinline__ void sort_keys(uint64_t* keys, Index n, const RowOrder& order) {
    if (n <= warp_size) {
        sort_one_each(keys, static_cast<int32_t>(n), order);
        return;
    }
    const int lane = lane_index();
    Index padded = 2 * warp_size;
    int log_padded = 6;
    for (; padded < n; padded *= 2) ++log_padded;
    for (int log_size = 1; log_size <= log_padded; ++log_size) {
        // Sorted halves become one: each key of the lower against that of the upper, counted from the end ...
        const Index half = Index(1) << (log_size - 1);
        for (Index p = lane; p < padded / 2; p += warp_size) {
            const Index begin = p >> (log_size - 1) << log_size;
            const Index low = begin + (p & (half - 1));
            const Index high = begin + 2 * half - 1 - (p & (half - 1));
            if (high < n) order.exchange(keys, low, high);
        }
        sync_warp();
        // ... then in halves of halves.
        for (int log_stride = log_size - 2; log_stride >= 0; --log_stride) {
            const Index stride = Index(1) << log_stride;
            for (Index p = lane; p < padded / 2; p += warp_size) {
                const Index low = (p >> log_stride << (log_stride + 1)) + (p & (stride - 1));
                if (low + stride < n) order.exchange(keys, low, low + stride);
            }
            sync_warp();
        }
    }
}

}  // namespace cuda
}  // namespace cgfast
