// The body of the scans, compiled once per instruction set: CGFAST_ISA names the namespace. Only the step from comparison
// to list of indices differs between instruction sets; lanes beyond the end are masked.
#include <algorithm>
#include <cstdint>

#if defined(__AVX512F__) || defined(__AVX2__)
#include <immintrin.h>
#elif defined(__SSE2__)
#include <emmintrin.h>
#endif

#include "scan.hpp"

namespace cgfast {
namespace CGFAST_ISA {

#if defined(__AVX512F__)
using Floats = __m512;
inline uint32_t within(Floats d2, Floats radius2) { return _mm512_cmp_ps_mask(d2, radius2, _CMP_LE_OQ); }
inline int32_t append(uint32_t mask, int32_t index, int32_t* hits) {
    const __m512i lanes = _mm512_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15);
    const __m512i indices = _mm512_add_epi32(lanes, _mm512_set1_epi32(index));
    // Compressed in a register and stored whole: a compressing store is slow on some processors.
    _mm512_storeu_si512(hits, _mm512_maskz_compress_epi32(static_cast<__mmask16>(mask), indices));
    return __builtin_popcount(mask);
}
#else
#if defined(__AVX2__)
using Floats = __m256;
inline uint32_t within(Floats d2, Floats radius2) {
    return static_cast<uint32_t>(_mm256_movemask_ps(_mm256_cmp_ps(d2, radius2, _CMP_LE_OQ)));
}
#elif defined(__SSE2__)
using Floats = __m128;
inline uint32_t within(Floats d2, Floats radius2) {
    return static_cast<uint32_t>(_mm_movemask_ps(_mm_cmple_ps(d2, radius2)));
}
#else
typedef float Floats __attribute__((vector_size(16)));
inline uint32_t within(Floats d2, Floats radius2) {
    uint32_t mask = 0;
    for (int lane = 0; lane < 4; ++lane) mask |= (d2[lane] <= radius2[lane] ? 1u : 0u) << lane;
    return mask;
}
#endif
inline int32_t append(uint32_t mask, int32_t index, int32_t* hits) {
    int32_t n = 0;
    for (; mask != 0; mask &= mask - 1) hits[n++] = index + __builtin_ctz(mask);
    return n;
}
#endif

constexpr int32_t width = sizeof(Floats) / sizeof(float);

inline Floats load(const float* p) {
    Floats v;
    __builtin_memcpy(&v, p, sizeof v);
    return v;
}
inline Floats broadcast(float value) { return value - Floats{}; }
inline Floats larger(Floats a, Floats b) { return a > b ? a : b; }

// `Box` false: low == high, one subtraction per axis suffices.
template <bool Box>
inline Floats away(const float* coordinates, Floats low, Floats high) {
    const Floats value = load(coordinates);
    return Box ? larger(larger(low - value, value - high), Floats{}) : value - low;
}

// Lanes of the vector at `g` that lie within the run; all others are to be ignored.
inline uint32_t lanes_of(const Run& run, int32_t g) { return run.end - g < width ? (1u << (run.end - g)) - 1u : ~0u; }

template <bool Box>
int32_t scan(const Points& points, const Run* runs, int64_t n_runs, const float* low, const float* high, float radius2,
             int32_t* hits) {
    const Floats low_x = broadcast(low[0]);
    const Floats low_y = broadcast(low[1]);
    const Floats low_z = broadcast(low[2]);
    const Floats high_x = broadcast(high[0]);
    const Floats high_y = broadcast(high[1]);
    const Floats high_z = broadcast(high[2]);
    const Floats limit = broadcast(radius2);
    int32_t n = 0;
    for (const Run* run = runs; run != runs + n_runs; ++run) {
        for (int32_t g = run->begin; g < run->end; g += width) {
            const Floats x = away<Box>(points.x + g, low_x, high_x);
            const Floats y = away<Box>(points.y + g, low_y, high_y);
            const Floats z = away<Box>(points.z + g, low_z, high_z);
            n += append(within(x * x + y * y + z * z, limit) & lanes_of(*run, g), g, hits + n);
        }
    }
    return n;
}

Counted count(const Points& points, const Run* runs, int64_t n_runs, const float* target, float tight2, float loose2,
              int32_t* hits) {
    const Floats target_x = broadcast(target[0]);
    const Floats target_y = broadcast(target[1]);
    const Floats target_z = broadcast(target[2]);
    const Floats tight = broadcast(tight2);
    const Floats loose = broadcast(loose2);
    Counted counted = {0, 0};
    for (const Run* run = runs; run != runs + n_runs; ++run) {
        for (int32_t g = run->begin; g < run->end; g += width) {
            const Floats x = load(points.x + g) - target_x;
            const Floats y = load(points.y + g) - target_y;
            const Floats z = load(points.z + g) - target_z;
            const Floats d2 = x * x + y * y + z * z;
            const uint32_t lanes = lanes_of(*run, g);
            const uint32_t inside = within(d2, tight) & lanes;
            const uint32_t borderline = within(d2, loose) & lanes & ~inside;
            counted.inside += __builtin_popcount(inside);
            if (borderline != 0) counted.borderline += append(borderline, g, hits + counted.borderline);
        }
    }
    return counted;
}

// Each number's place is how many are smaller. Quadratic, but without a branch to mispredict, which is what costs a usual
// sort its time: faster while there are few numbers for each lane.
void sort(int32_t* numbers, int32_t n, int32_t* spare) {
    typedef int32_t Ints __attribute__((vector_size(sizeof(Floats))));
    if (n > 24 * width) {
        std::sort(numbers, numbers + n);
        return;
    }
    for (int32_t i = 0; i < n; i += width) {
        Ints value;
        __builtin_memcpy(&value, numbers + i, sizeof value);
        Ints place = {};
        for (int32_t j = 0; j < n; ++j) place -= Ints{} + numbers[j] < value;  // true is -1
        const int32_t lanes = std::min(n - i, width);
        for (int32_t lane = 0; lane < lanes; ++lane) spare[place[lane]] = value[lane];
    }
    std::copy_n(spare, n, numbers);
}

ScanFunctions functions() { return {scan<false>, scan<true>, count, sort}; }

}  // namespace CGFAST_ISA
}  // namespace cgfast
