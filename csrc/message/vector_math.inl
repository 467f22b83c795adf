// Vectors of CGFAST_VECTOR_BYTES and the functions that the gate needs, for float and double. Included by kernels once
// per instruction set, inside its namespace. Uses the compiler's vector types, so the same text serves every processor,
// and no standard headers: an inline function of theirs, compiled here with AVX-512, could end up serving a processor
// without it.
//
// Accuracy (measured against mpmath): exp and log1p within 2 ulp. The polynomials are minimax fits in relative error,
// made with a Remez exchange: exp on [-ln2/2, ln2/2], log1p(t)/t on [0, 1].

template <class T>
struct Vector;

template <>
struct Vector<float> {
    typedef float Type __attribute__((vector_size(CGFAST_VECTOR_BYTES)));
    typedef unsigned int Int __attribute__((vector_size(CGFAST_VECTOR_BYTES)));
    static constexpr int width = CGFAST_VECTOR_BYTES / 4;
    static constexpr float lanes[] = {0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15};
    static constexpr int mantissa_bits = 23;
    static constexpr float magic = 12582912.0f;  // 1.5 * 2^23: adding it rounds to an integer in the low bits
    static constexpr float exp_limit = 87.0f;    // exp(-87) = 1.6e-38, exp(87) = 6e37
    static constexpr float ln2_high = 0.693359375f;
    static constexpr float ln2_low = -2.12194440e-4f;
    static constexpr float exp_coefficients[] = {1.00000007171224067f,  0.999999692029529695f,  0.499988943290674511f,
                                                 0.166675743523340889f, 0.0419154386233503181f, 0.00829769523939676419f};
    static constexpr float log1p_coefficients[] = {
        0.999999969886387065f,  -0.499994931593525711f,  0.333190965939764699f,
        -0.248429781812611344f, 0.191059858874286304f,   -0.136631943679045596f,
        0.0782252855293288106f, -0.0295048009153795127f, 0.00523257920390649705f};
};

template <>
struct Vector<double> {
    typedef double Type __attribute__((vector_size(CGFAST_VECTOR_BYTES)));
    typedef unsigned long long Int __attribute__((vector_size(CGFAST_VECTOR_BYTES)));
    static constexpr int width = CGFAST_VECTOR_BYTES / 8;
    static constexpr double lanes[] = {0, 1, 2, 3, 4, 5, 6, 7};
    static constexpr int mantissa_bits = 52;
    static constexpr double magic = 6755399441055744.0;  // 1.5 * 2^52
    static constexpr double exp_limit = 708.0;
    static constexpr double ln2_high = 6.93147180369123816490e-01;
    static constexpr double ln2_low = 1.90821492927058770002e-10;
    static constexpr double exp_coefficients[] = {
        0.999999999999999997,     1.00000000000000003,    0.50000000000000177,    0.166666666666661684,
        0.0416666666664926208,    0.00833333333355935836, 0.00138888889512626908, 0.000198412694325754567,
        0.0000248014864801524535, 2.75576225575811254e-6, 2.76323085373495613e-7, 2.49943163277611743e-8};
    static constexpr double log1p_coefficients[] = {
        0.999999999999999991,    -0.499999999999991841,   0.333333333332112498,   -0.249999999927220346,
        0.199999997694553834,    -0.166666621781596859,   0.142856556775905876,   -0.124994563450092628,
        0.111073810936738652,    -0.0998050544676459395,  0.0901154977027223612,  -0.0807727603207235874,
        0.0702797882657343023,   -0.0573881612377209429,  0.0421665556450717005,  -0.026623268812364681,
        0.0137562619940979239,   -0.00550213712221333756, 0.00158171031808968375, -0.000288806610809819776,
        0.0000250416252984759093};
};

template <class T>
using Vec = typename Vector<T>::Type;

template <class T>
inline Vec<T> load(const T* p) {
    Vec<T> v;
    __builtin_memcpy(&v, p, sizeof v);
    return v;
}

template <class T>
inline void store(T* p, Vec<T> v) {
    __builtin_memcpy(p, &v, sizeof v);
}

template <class T, int N>
inline Vec<T> polynomial(const T (&coefficients)[N], Vec<T> x) {
    Vec<T> sum = coefficients[N - 1] - Vec<T>{};
    for (int k = N - 2; k >= 0; --k) sum = sum * x + coefficients[k];
    return sum;
}

// One instruction each, which compilers do not find by themselves: the second argument is what comes back for a NaN.
#if defined(__AVX512F__)
inline Vec<float> larger(Vec<float> a, Vec<float> b) { return _mm512_maskz_max_ps(0xffff, a, b); }
inline Vec<float> smaller(Vec<float> a, Vec<float> b) { return _mm512_maskz_min_ps(0xffff, a, b); }
inline Vec<double> larger(Vec<double> a, Vec<double> b) { return _mm512_maskz_max_pd(0xff, a, b); }
inline Vec<double> smaller(Vec<double> a, Vec<double> b) { return _mm512_maskz_min_pd(0xff, a, b); }
#elif defined(__AVX2__)
inline Vec<float> larger(Vec<float> a, Vec<float> b) { return _mm256_max_ps(a, b); }
inline Vec<float> smaller(Vec<float> a, Vec<float> b) { return _mm256_min_ps(a, b); }
inline Vec<double> larger(Vec<double> a, Vec<double> b) { return _mm256_max_pd(a, b); }
inline Vec<double> smaller(Vec<double> a, Vec<double> b) { return _mm256_min_pd(a, b); }
#elif defined(__SSE2__)
inline Vec<float> larger(Vec<float> a, Vec<float> b) { return _mm_max_ps(a, b); }
inline Vec<float> smaller(Vec<float> a, Vec<float> b) { return _mm_min_ps(a, b); }
inline Vec<double> larger(Vec<double> a, Vec<double> b) { return _mm_max_pd(a, b); }
inline Vec<double> smaller(Vec<double> a, Vec<double> b) { return _mm_min_pd(a, b); }
#else
template <class V>
inline V larger(V a, V b) {
    return a > b ? a : b;
}
template <class V>
inline V smaller(V a, V b) {
    return a < b ? a : b;
}
#endif

// exp(x) with x clamped to +-exp_limit: no denormals, no overflow. A NaN stays one.
template <class T>
inline Vec<T> exp_clamped(Vec<T> x) {
    using V = Vector<T>;
    x = smaller(V::exp_limit - Vec<T>{}, larger(-V::exp_limit - Vec<T>{}, x));
    const Vec<T> shifted = x * T(1.44269504088896340736) + V::magic;
    const Vec<T> n = shifted - V::magic;
    const Vec<T> r = (x - n * V::ln2_high) - n * V::ln2_low;
    const Vec<T> value = polynomial<T>(V::exp_coefficients, r);
    // The low bits of `shifted` hold the integer n: the exponent of 2^n. A product, not a sum of bits, keeps a NaN one.
    const Vec<T> one = T(1) - Vec<T>{};
    return value * (Vec<T>)((typename V::Int)one + ((typename V::Int)shifted << V::mantissa_bits));
}

// log(1 + t) for 0 <= t <= 1.
template <class T>
inline Vec<T> log1p_unit(Vec<T> t) {
    return t * polynomial<T>(Vector<T>::log1p_coefficients, t);
}

template <class T>
inline Vec<T> negative_abs(Vec<T> x) {
    return (Vec<T>)((typename Vector<T>::Int)x | (typename Vector<T>::Int)(T(-0.0) - Vec<T>{}));
}

// sigmoid(gate) * softplus(core), right for any size of argument.
template <class T>
inline Vec<T> gated(Vec<T> gate, Vec<T> core) {
    const Vec<T> e = exp_clamped<T>(-gate);
    const Vec<T> softplus = larger(Vec<T>{}, core) + log1p_unit<T>(exp_clamped<T>(negative_abs<T>(core)));
    return softplus / (T(1) + e);
}
