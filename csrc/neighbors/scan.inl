// The body of the scans, compiled once per instruction set: CGFAST_ISA names the namespace. Only the step from comparison to
// list of indices differs between instruction sets; lanes beyond the end are masked.
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

template <bool Box>
int32_t scan(const Candidates& candidates, const float* low, const float* high, float radius2, int32_t* hits) {
    const Floats low_x = broadcast(low[0]);
    const Floats low_y = broadcast(low[1]);
    const Floats low_z = broadcast(low[2]);
    const Floats high_x = broadcast(high[0]);
    const Floats high_y = broadcast(high[1]);
    const Floats high_z = broadcast(high[2]);
    const Floats limit = broadcast(radius2);
    int32_t n = 0;
    for (int32_t g = candidates.begin; g < candidates.end; g += width) {
        const Floats x = away<Box>(candidates.x + g, low_x, high_x);
        const Floats y = away<Box>(candidates.y + g, low_y, high_y);
        const Floats z = away<Box>(candidates.z + g, low_z, high_z);
        uint32_t mask = within(x * x + y * y + z * z, limit);
        if (candidates.end - g < width) mask &= (1u << (candidates.end - g)) - 1u;
        n += append(mask, g, hits + n);
    }
    return n;
}

ScanFunctions functions() { return {scan<false>, scan<true>}; }

}  // namespace CGFAST_ISA
}  // namespace cgfast
