#include "gated_message.hpp"

#include <algorithm>
#include <cmath>
#include <limits>
#include <vector>

#include "../check.hpp"
#include "../denormals.hpp"
#include "../thread_pool.hpp"

namespace cgfast {

#define CGFAST_DECLARE_KERNEL(isa)  \
    namespace isa {                 \
    template <class T>              \
    GatedMessageKernel<T> kernel(); \
    }
CGFAST_DECLARE_KERNEL(baseline)
#if defined(CGFAST_X86)
CGFAST_DECLARE_KERNEL(avx2)
CGFAST_DECLARE_KERNEL(avx512)
#endif

namespace {

constexpr int64_t rows_per_task = 64;

template <class T>
GatedMessageKernel<T> kernel_for(Isa isa) {
#if defined(CGFAST_X86)
    if (isa == Isa::avx512) return avx512::kernel<T>();
    if (isa == Isa::avx2) return avx2::kernel<T>();
#endif
    (void)isa;
    return baseline::kernel<T>();
}

template <class T>
void check(const GatedMessage<T>& problem) {
    CGFAST_CHECK(problem.row_ptr[0] == 0, "row_ptr must begin with 0, got " << problem.row_ptr[0]);
    for (int64_t i = 0; i < problem.n_rows; ++i) {
        CGFAST_CHECK(problem.row_ptr[i] <= problem.row_ptr[i + 1],
                     "row_ptr must not decrease, got " << problem.row_ptr[i] << " before " << problem.row_ptr[i + 1]);
    }
    const int64_t n_edges = problem.n_edges;
    CGFAST_CHECK(problem.row_ptr[problem.n_rows] == n_edges, "row_ptr must end with the number of edges ("
                                                                 << n_edges << "), got "
                                                                 << problem.row_ptr[problem.n_rows]);
    int64_t low = 0;
    int64_t high = 0;
    for (int64_t e = 0; e < n_edges; ++e) {
        low = std::min(low, problem.source[e]);
        high = std::max(high, problem.source[e]);
    }
    CGFAST_CHECK(n_edges == 0 || (low >= 0 && high < problem.n_sources),
                 "source must lie in [0, " << problem.n_sources << "), got values from " << low << " to " << high);
    if (problem.distances == nullptr) return;
    const GaussianBasis& basis = problem.basis;
    CGFAST_CHECK(std::isfinite(basis.start) && std::isfinite(basis.step) && std::isfinite(basis.width) &&
                     basis.step > 0 && basis.width > 0,
                 "basis needs a finite start and positive step and width, got start="
                     << basis.start << ", step=" << basis.step << ", width=" << basis.width);
}

template <class T>
std::vector<T> pack(const GatedMessage<T>& problem, int64_t tile) {
    const int64_t n_features = problem.n_features;
    const int64_t n_tiles = (n_features + tile - 1) / tile;
    std::vector<T> packed(n_tiles * problem.n_basis * 2 * tile + 16, T(0));
    T* to = packed.data();
    for (int64_t f = 0; f < n_features; f += tile) {
        const int64_t n = std::min(tile, n_features - f);
        for (int64_t k = 0; k < problem.n_basis; ++k, to += 2 * tile) {
            const T* row = problem.weight + k * 2 * n_features;
            std::copy_n(row + f, n, to);
            std::copy_n(row + n_features + f, n, to + tile);
        }
    }
    return packed;
}

}  // namespace

template <class T>
void gated_message(const GatedMessage<T>& problem, int n_threads) {
    check(problem);
    const GatedMessageKernel<T> kernel = kernel_for<T>(active_isa());
    const std::vector<T> packed = pack(problem, kernel.tile);
    // exp(-(x / width)^2) < eps / 8 changes no rounding of a sum of terms of order one.
    const double eps = std::numeric_limits<T>::epsilon();
    const double reach =
        problem.distances == nullptr ? 0.0 : problem.basis.width / problem.basis.step * std::sqrt(-std::log(eps / 8.0));
    const int64_t n_tasks = (problem.n_rows + rows_per_task - 1) / rows_per_task;
    parallel_for(n_tasks, n_threads, [&](int64_t task) {
        const FlushDenormals flush;
        thread_local std::vector<T> scratch;
        scratch.resize(gated_message_scratch(problem.n_basis));
        const int64_t first = task * rows_per_task;
        kernel.rows(problem, packed.data(), reach, scratch.data(), first,
                    std::min(problem.n_rows, first + rows_per_task));
    });
}

template void gated_message<float>(const GatedMessage<float>& problem, int n_threads);
template void gated_message<double>(const GatedMessage<double>& problem, int n_threads);

}  // namespace cgfast
