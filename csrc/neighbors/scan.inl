// The body of scan(), compiled once per instruction set: CGFAST_ISA names the namespace. Only the step from comparison to
// list of indices differs between instruction sets; a full vector is handled at a time and the rest one by one.
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
constexpr int32_t width = 16;
using Floats = __m512;
inline Floats load(const float* p) { return _mm512_loadu_ps(p); }
inline Floats broadcast(float v) { return _mm512_set1_ps(v); }
inline Floats distance2(Floats x, Floats y, Floats z) {
    return _mm512_fmadd_ps(x, x, _mm512_fmadd_ps(y, y, _mm512_mul_ps(z, z)));
}
inline Floats subtract(Floats a, Floats b) { return _mm512_sub_ps(a, b); }
inline int32_t append(Floats d2, Floats radius2, int32_t index, int32_t* hits) {
    const __mmask16 mask = _mm512_cmp_ps_mask(d2, radius2, _CMP_LE_OQ);
    const __m512i lanes = _mm512_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15);
    // Compressed in a register and stored whole: a compressing store is slow on some processors.
    _mm512_storeu_si512(hits, _mm512_maskz_compress_epi32(mask, _mm512_add_epi32(lanes, _mm512_set1_epi32(index))));
    return __builtin_popcount(mask);
}
#elif defined(__AVX2__)
constexpr int32_t width = 8;
using Floats = __m256;
inline Floats load(const float* p) { return _mm256_loadu_ps(p); }
inline Floats broadcast(float v) { return _mm256_set1_ps(v); }
inline Floats distance2(Floats x, Floats y, Floats z) {
    return _mm256_fmadd_ps(x, x, _mm256_fmadd_ps(y, y, _mm256_mul_ps(z, z)));
}
inline Floats subtract(Floats a, Floats b) { return _mm256_sub_ps(a, b); }
inline uint32_t within(Floats d2, Floats radius2) {
    return static_cast<uint32_t>(_mm256_movemask_ps(_mm256_cmp_ps(d2, radius2, _CMP_LE_OQ)));
}
#elif defined(__SSE2__)
constexpr int32_t width = 4;
using Floats = __m128;
inline Floats load(const float* p) { return _mm_loadu_ps(p); }
inline Floats broadcast(float v) { return _mm_set1_ps(v); }
inline Floats distance2(Floats x, Floats y, Floats z) {
    return _mm_add_ps(_mm_mul_ps(x, x), _mm_add_ps(_mm_mul_ps(y, y), _mm_mul_ps(z, z)));
}
inline Floats subtract(Floats a, Floats b) { return _mm_sub_ps(a, b); }
inline uint32_t within(Floats d2, Floats radius2) {
    return static_cast<uint32_t>(_mm_movemask_ps(_mm_cmple_ps(d2, radius2)));
}
#else
constexpr int32_t width = 1;
using Floats = float;
inline Floats load(const float* p) { return *p; }
inline Floats broadcast(float v) { return v; }
inline Floats distance2(Floats x, Floats y, Floats z) { return x * x + y * y + z * z; }
inline Floats subtract(Floats a, Floats b) { return a - b; }
inline uint32_t within(Floats d2, Floats radius2) { return d2 <= radius2 ? 1u : 0u; }
#endif

#if !defined(__AVX512F__)
inline int32_t append(Floats d2, Floats radius2, int32_t index, int32_t* hits) {
    int32_t n = 0;
    for (uint32_t mask = within(d2, radius2); mask != 0; mask &= mask - 1) hits[n++] = index + __builtin_ctz(mask);
    return n;
}
#endif

int32_t scan(const Candidates& candidates, const float* target, float radius2, int32_t* hits) {
    const Floats tx = broadcast(target[0]);
    const Floats ty = broadcast(target[1]);
    const Floats tz = broadcast(target[2]);
    const Floats limit = broadcast(radius2);
    int32_t n = 0;
    int32_t g = candidates.begin;
    for (; g + width <= candidates.end; g += width) {
        const Floats d2 = distance2(subtract(load(candidates.x + g), tx), subtract(load(candidates.y + g), ty),
                                    subtract(load(candidates.z + g), tz));
        n += append(d2, limit, g, hits + n);
    }
    for (; g < candidates.end; ++g) {
        const float x = candidates.x[g] - target[0];
        const float y = candidates.y[g] - target[1];
        const float z = candidates.z[g] - target[2];
        if (x * x + y * y + z * z <= radius2) hits[n++] = g;
    }
    return n;
}

}  // namespace CGFAST_ISA
}  // namespace cgfast
