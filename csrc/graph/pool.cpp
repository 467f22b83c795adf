#include "pool.hpp"

#include <algorithm>
#include <vector>

#include "../check.hpp"
#include "../thread_pool.hpp"

namespace cgfast {
namespace {

constexpr int64_t graphs_per_task = 64;
constexpr int64_t rows_per_sum = 256;  // sums of sums: rounding grows with the root of their lengths, not of all rows

template <class T>
struct Rows {
    const T* x;
    int64_t stride, n_features, first, last;
};

template <class T>
void sum(const Rows<T>& rows, T* partial, T* out) {
    std::fill_n(out, rows.n_features, T(0));
    for (int64_t begin = rows.first; begin < rows.last; begin += rows_per_sum) {
        std::fill_n(partial, rows.n_features, T(0));
        for (int64_t i = begin; i < std::min(rows.last, begin + rows_per_sum); ++i) {
            const T* row = rows.x + i * rows.stride;
            for (int64_t f = 0; f < rows.n_features; ++f) partial[f] += row[f];
        }
        for (int64_t f = 0; f < rows.n_features; ++f) out[f] += partial[f];
    }
}

// The value that `better` prefers to all others; a NaN is preferred to everything.
template <class T, class Better>
void extreme(const Rows<T>& rows, const Better& better, T* out) {
    std::copy_n(rows.x + rows.first * rows.stride, rows.n_features, out);
    for (int64_t i = rows.first + 1; i < rows.last; ++i) {
        const T* row = rows.x + i * rows.stride;
        for (int64_t f = 0; f < rows.n_features; ++f)
            out[f] = better(row[f], out[f]) || row[f] != row[f] ? row[f] : out[f];
    }
}

template <class T>
void reduce(const Rows<T>& rows, Reduction reduction, T* partial, T* out) {
    const int64_t n = rows.last - rows.first;
    if (n == 0 || reduction == Reduction::sum || reduction == Reduction::mean) {
        sum(rows, partial, out);
        if (n == 0 || reduction == Reduction::sum) return;
        for (int64_t f = 0; f < rows.n_features; ++f) out[f] /= static_cast<T>(n);
    } else if (reduction == Reduction::min) {
        extreme(rows, [](T a, T b) { return a < b; }, out);
    } else {
        extreme(rows, [](T a, T b) { return a > b; }, out);
    }
}

}  // namespace

Reduction reduction(const std::string& name) {
    if (name == "sum") return Reduction::sum;
    if (name == "mean") return Reduction::mean;
    if (name == "min") return Reduction::min;
    CGFAST_CHECK(name == "max", "reduce must be one of mean, sum, min, max, got '" << name << "'");
    return Reduction::max;
}

template <class T>
void pool(const T* x, int64_t stride, int64_t n_rows, int64_t n_features, const int64_t* graph_ptr, int64_t n_graphs,
          Reduction reduction, T* out, int n_threads) {
    CGFAST_CHECK(graph_ptr[0] == 0, "graph_ptr must begin with 0, got " << graph_ptr[0]);
    for (int64_t b = 0; b < n_graphs; ++b) {
        CGFAST_CHECK(graph_ptr[b] <= graph_ptr[b + 1],
                     "graph_ptr must not decrease, got " << graph_ptr[b] << " before " << graph_ptr[b + 1]);
    }
    CGFAST_CHECK(graph_ptr[n_graphs] == n_rows,
                 "graph_ptr must end with the number of atoms (" << n_rows << "), got " << graph_ptr[n_graphs]);
    parallel_for((n_graphs + graphs_per_task - 1) / graphs_per_task, n_threads, [&](int64_t task) {
        std::vector<T> partial(n_features);
        for (int64_t b = task * graphs_per_task; b < std::min(n_graphs, (task + 1) * graphs_per_task); ++b) {
            reduce({x, stride, n_features, graph_ptr[b], graph_ptr[b + 1]}, reduction, partial.data(),
                   out + b * n_features);
        }
    });
}

template void pool<float>(const float* x, int64_t stride, int64_t n_rows, int64_t n_features, const int64_t* graph_ptr,
                          int64_t n_graphs, Reduction reduction, float* out, int n_threads);
template void pool<double>(const double* x, int64_t stride, int64_t n_rows, int64_t n_features, const int64_t* graph_ptr,
                           int64_t n_graphs, Reduction reduction, double* out, int n_threads);

}  // namespace cgfast
