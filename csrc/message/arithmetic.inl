// The arithmetic of messages that all kernels share: which Gaussians matter to a distance, and the gate with its
// derivatives, one number at a time. Included inside a namespace of its own by each of them (kernels.inl for the CPU,
// where vector_math.inl has the gate for vectors; cuda/message/edge_groups.hpp; native tests), and without standard
// headers: an inline function of theirs, compiled with one processor's instructions, could end up serving another.

// log1p(t) / t on [0, 1], minimax fits in relative error made with a Remez exchange.
template <class T>
struct Log1p;

template <>
struct Log1p<float> {
    static constexpr float coefficients[] = {0.999999969886387065f,  -0.499994931593525711f,  0.333190965939764699f,
                                             -0.248429781812611344f, 0.191059858874286304f,   -0.136631943679045596f,
                                             0.0782252855293288106f, -0.0295048009153795127f, 0.00523257920390649705f};
};

template <>
struct Log1p<double> {
    static constexpr double coefficients[] = {0.999999999999999991,   -0.499999999999991841,    0.333333333332112498,
                                              -0.249999999927220346,  0.199999997694553834,     -0.166666621781596859,
                                              0.142856556775905876,   -0.124994563450092628,    0.111073810936738652,
                                              -0.0998050544676459395, 0.0901154977027223612,    -0.0807727603207235874,
                                              0.0702797882657343023,  -0.0573881612377209429,   0.0421665556450717005,
                                              -0.026623268812364681,  0.0137562619940979239,    -0.00550213712221333756,
                                              0.00158171031808968375, -0.000288806610809819776, 0.0000250416252984759093};
};

// Which centres are near distance `d`: [first, first + count), cut to those that exist. offset: of the first from `d`, in
// steps.
template <class T>
struct Window {
    int64_t first, count;
    T offset;
};

// reach: how many steps from `d` a Gaussian matters.
template <class T>
CGFAST_HOST_DEVICE Window<T> window_of(double start, double steps_per_angstrom, double reach, int64_t n_basis, double d) {
    const double position = (d - start) * steps_per_angstrom;
    if (d != d) return {0, n_basis > 0 ? 1 : 0, static_cast<T>(d)};  // a NaN must come out as one
    // Clamped before the conversion to an integer, so that no distance, however far off, overflows it.
    const double last_centre = static_cast<double>(n_basis - 1);
    double low = position - reach;
    double high = position + reach;
    low = low < 0.0 ? 0.0 : low;
    high = high > last_centre ? last_centre : high;
    if (!(low <= high)) return {0, 0, T(0)};
    int64_t first = static_cast<int64_t>(low);
    first += static_cast<double>(first) < low ? 1 : 0;
    const int64_t count = static_cast<int64_t>(high) - first + 1;
    return {first, count < 0 ? 0 : count, static_cast<T>(static_cast<double>(first) - position)};
}

// exp(x), to 2 ulp and the rounding of x itself; denormals may be zero. On a GPU one product and one instruction of the
// special-function unit.
CGFAST_HOST_DEVICE float exponential(float x) {
#ifdef __CUDA_ARCH__
    float power;
    asm("ex2.approx.ftz.f32 %0, %1;" : "=f"(power) : "f"(x * 1.44269504088896340736f));
    return power;
#else
    return __builtin_expf(x);
#endif
}
CGFAST_HOST_DEVICE double exponential(double x) {
#ifdef __CUDA_ARCH__
    return exp(x);
#else
    return __builtin_exp(x);
#endif
}

// 1 / x for x >= 1, to 1 ulp; 0 where that is a denormal.
CGFAST_HOST_DEVICE float reciprocal_of(float x) {
#ifdef __CUDA_ARCH__
    float quotient;
    asm("rcp.approx.ftz.f32 %0, %1;" : "=f"(quotient) : "f"(x));
    return quotient;
#else
    return 1.0f / x;
#endif
}
CGFAST_HOST_DEVICE double reciprocal_of(double x) { return 1.0 / x; }

// log1p(t) / t for 0 <= t <= 1. Coefficient by coefficient, since device code may not point at a constant of the host.
template <class T, int k = 0>
CGFAST_HOST_DEVICE T log1p_ratio(T t) {
    constexpr T coefficient = Log1p<T>::coefficients[k];
    constexpr int n = sizeof(Log1p<T>::coefficients) / sizeof(T);
    if constexpr (k + 1 == n) {
        return coefficient;
    } else {
        return coefficient + t * log1p_ratio<T, k + 1>(t);
    }
}

// Comparisons that keep a NaN.
template <class T>
CGFAST_HOST_DEVICE T at_most(T x, T limit) {
    return x > limit ? limit : x;
}
template <class T>
CGFAST_HOST_DEVICE T positive_part(T x) {
    return x < T(0) ? T(0) : x;
}
template <class T>
CGFAST_HOST_DEVICE T negative_size(T x) {
    return x > T(0) ? -x : x;
}

// sigmoid(gate) * softplus(core), right for any size of argument.
template <class T>
CGFAST_HOST_DEVICE T gated_value(T gate, T core) {
    const T t = exponential(negative_size(core));
    const T softplus = positive_part(core) + t * log1p_ratio(t);
    return softplus * reciprocal_of(T(1) + exponential(-gate));
}

// The same with its derivatives.
template <class T>
struct GatedValue {
    T value, by_gate, by_core;
};

// One quotient serves both sigmoids; where it underflows, so does all that it enters.
template <class T>
CGFAST_HOST_DEVICE GatedValue<T> gated_slopes(T gate, T core) {
    const T limit = sizeof(T) == 4 ? T(87) : T(708);  // exp(limit) is finite, and so is its product with 2
    const T e = exponential(at_most(-gate, limit));
    const T t = exponential(negative_size(core));
    const T quotient = reciprocal_of((T(1) + e) * (T(1) + t));
    const T sigmoid = quotient * (T(1) + t);
    const T of_abs = quotient * (T(1) + e);  // sigmoid(|core|); times t it is sigmoid(-|core|)
    const T value = (positive_part(core) + t * log1p_ratio(t)) * sigmoid;
    return {value, value * (e * sigmoid), sigmoid * (core < T(0) ? of_abs * t : of_abs)};
}

// exp(-u^2).
template <class T>
CGFAST_HOST_DEVICE T gaussian(T u) {
    return exponential(-u * u);
}
