// Vectors of CGFAST_VECTOR_BYTES and the functions that the gate needs, for float and double. Included by kernels once
// per instruction set, inside its namespace. Uses the compiler's vector types, so the same text serves every processor,
// and no standard headers: an inline function of theirs, compiled here with AVX-512, could end up serving a processor
// without it.
//
// Accuracy (measured against mpmath): exp and log1p within 2 ulp. The polynomials are minimax fits in relative error,
// made with a Remez exchange: exp on [-ln2/2, ln2/2], log1p(t)/t on [0, 1] (arithmetic.inl).

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

// 1 / x for 1 <= x < infinity, within an ulp or two.
template <class T>
inline Vec<T> reciprocal(Vec<T> x) {
    return T(1) / x;
}
#if defined(__AVX512F__)
// A division takes ten times as long as what it computes from here: an estimate of 14 bits and one Newton step.
template <>
inline Vec<float> reciprocal<float>(Vec<float> x) {
    const Vec<float> estimate = _mm512_maskz_rcp14_ps(0xffff, x);
    return estimate + estimate * (1.0f - x * estimate);
}
#endif

// The functions below work on `n` vectors at a time, step by step: a constant is fetched once for all of them, and while
// one waits for a result another proceeds.

template <class T, int n, int degree_plus_one>
inline void polynomial(const T (&coefficients)[degree_plus_one], const Vec<T>* x, Vec<T>* sum) {
    CGFAST_UNROLL
    for (int v = 0; v < n; ++v) sum[v] = x[v] * coefficients[degree_plus_one - 1] + coefficients[degree_plus_one - 2];
    CGFAST_UNROLL
    for (int k = degree_plus_one - 3; k >= 0; --k) {
        CGFAST_UNROLL
        for (int v = 0; v < n; ++v) sum[v] = sum[v] * x[v] + coefficients[k];
    }
}

// exp(x) with x clamped to +-exp_limit: no denormals, no overflow. A NaN stays one.
template <class T, int n>
inline void exp_clamped(const Vec<T>* x, Vec<T>* out) {
    using V = Vector<T>;
    Vec<T> shifted[n];
    Vec<T> r[n];
    CGFAST_UNROLL
    for (int v = 0; v < n; ++v) {
        r[v] = smaller(V::exp_limit - Vec<T>{}, larger(-V::exp_limit - Vec<T>{}, x[v]));
        shifted[v] = r[v] * T(1.44269504088896340736) + V::magic;
    }
    CGFAST_UNROLL
    for (int v = 0; v < n; ++v) {
        const Vec<T> whole = shifted[v] - V::magic;
        r[v] = (r[v] - whole * V::ln2_high) - whole * V::ln2_low;
    }
    polynomial<T, n>(V::exp_coefficients, r, out);
    // The low bits of `shifted` hold the exponent of two. A product, not a sum of bits, keeps a NaN one.
    const Vec<T> one = T(1) - Vec<T>{};
    CGFAST_UNROLL
    for (int v = 0; v < n; ++v) {
        out[v] *= (Vec<T>)((typename V::Int)one + ((typename V::Int)shifted[v] << V::mantissa_bits));
    }
}

template <class T>
inline Vec<T> negative_abs(Vec<T> x) {
    return (Vec<T>)((typename Vector<T>::Int)x | (typename Vector<T>::Int)(T(-0.0) - Vec<T>{}));
}

// What both the message and its derivatives need: e = exp(-gate), t = exp(-|core|), softplus(core).
template <class T, int n>
inline void gate_parts(const Vec<T>* gate, const Vec<T>* core, Vec<T>* e, Vec<T>* t, Vec<T>* softplus) {
    Vec<T> exponents[2 * n];
    Vec<T> powers[2 * n];
    CGFAST_UNROLL
    for (int v = 0; v < n; ++v) {
        exponents[v] = -gate[v];
        exponents[n + v] = negative_abs<T>(core[v]);
    }
    exp_clamped<T, 2 * n>(exponents, powers);
    polynomial<T, n>(Log1p<T>::coefficients, powers + n, softplus);
    CGFAST_UNROLL
    for (int v = 0; v < n; ++v) {
        e[v] = powers[v];
        t[v] = powers[n + v];
        softplus[v] = larger(Vec<T>{}, core[v]) + t[v] * softplus[v];  // log(1 + t) = t * polynomial(t) for 0 <= t <= 1
    }
}

// out = sigmoid(gate) * softplus(core), right for any size of argument.
template <class T, int n>
inline void gated(const Vec<T>* gate, const Vec<T>* core, Vec<T>* out) {
    Vec<T> e[n];
    Vec<T> t[n];
    gate_parts<T, n>(gate, core, e, t, out);
    CGFAST_UNROLL
    for (int v = 0; v < n; ++v) out[v] *= reciprocal<T>(T(1) + e[v]);
}

// The message and its derivatives. One quotient serves both sigmoids; where it underflows, so does all that it enters.
template <class T, int n>
inline void gated_derivatives(const Vec<T>* gate, const Vec<T>* core, Vec<T>* value, Vec<T>* by_gate, Vec<T>* by_core) {
    Vec<T> e[n];
    Vec<T> t[n];
    gate_parts<T, n>(gate, core, e, t, value);
    CGFAST_UNROLL
    for (int v = 0; v < n; ++v) {
        const Vec<T> quotient = reciprocal<T>((T(1) + e[v]) * (T(1) + t[v]));
        const Vec<T> sigmoid = quotient * (T(1) + t[v]);
        const Vec<T> of_abs = quotient * (T(1) + e[v]);  // sigmoid(|core|); times t it is sigmoid(-|core|)
        const Vec<T> of_core = core[v] < Vec<T>{} ? of_abs * t[v] : of_abs;
        value[v] *= sigmoid;
        by_gate[v] = value[v] * (e[v] * sigmoid);
        by_core[v] = sigmoid * of_core;
    }
}

template <class T>
inline T sum_lanes(Vec<T> v) {
    T lanes[Vector<T>::width];
    store(lanes, v);
    for (int n = Vector<T>::width / 2; n > 0; n /= 2) {
        for (int i = 0; i < n; ++i) lanes[i] += lanes[i + n];
    }
    return lanes[0];
}
