#include "message_edges.hpp"

#include <algorithm>
#include <cmath>
#include <limits>
#include <vector>

#include "../check.hpp"

namespace cgfast {
namespace {

void check_range(const char* name, const int64_t* indices, int64_t n, int64_t limit) {
    int64_t low = 0;
    int64_t high = 0;
    for (int64_t e = 0; e < n; ++e) {
        low = std::min(low, indices[e]);
        high = std::max(high, indices[e]);
    }
    CGFAST_CHECK(n == 0 || (low >= 0 && high < limit),
                 name << " must lie in [0, " << limit << "), got values from " << low << " to " << high);
}

// Two edges with one row of features would write the gradient of that row twice.
void check_permutation(const int64_t* order, int64_t n) {
    check_range("order", order, n, n);
    std::vector<char> seen(n, 0);
    for (int64_t e = 0; e < n; ++e) {
        CGFAST_CHECK(seen[order[e]] == 0, "order must hold every edge once, got " << order[e] << " twice");
        seen[order[e]] = 1;
    }
}

}  // namespace

template <class T>
double reach_of(const GaussianBasis& basis) {
    // exp(-(x / width)^2) < eps / 8
    const double eps = std::numeric_limits<T>::epsilon();
    return basis.width / basis.step * std::sqrt(-std::log(eps / 8.0));
}

template double reach_of<float>(const GaussianBasis& basis);
template double reach_of<double>(const GaussianBasis& basis);

void check(const GaussianBasis& basis) {
    CGFAST_CHECK(std::isfinite(basis.start) && std::isfinite(basis.step) && std::isfinite(basis.width) &&
                     basis.step > 0 && basis.width > 0,
                 "basis needs a finite start and positive step and width, got start="
                     << basis.start << ", step=" << basis.step << ", width=" << basis.width);
}

template <class T>
void check(const MessageEdges<T>& edges) {
    const int64_t* row_ptr = edges.row_ptr;
    CGFAST_CHECK(row_ptr[0] == 0, "row_ptr must begin with 0, got " << row_ptr[0]);
    for (int64_t i = 0; i < edges.n_rows; ++i) {
        CGFAST_CHECK(row_ptr[i] <= row_ptr[i + 1],
                     "row_ptr must not decrease, got " << row_ptr[i] << " before " << row_ptr[i + 1]);
    }
    CGFAST_CHECK(row_ptr[edges.n_rows] == edges.n_edges,
                 "row_ptr must end with the number of edges (" << edges.n_edges << "), got " << row_ptr[edges.n_rows]);
    check_range("source", edges.source, edges.n_edges, edges.n_sources);
    if (edges.order != nullptr) check_permutation(edges.order, edges.n_edges);
    if (edges.distances != nullptr) check(edges.basis);
}

template void check<float>(const MessageEdges<float>& edges);
template void check<double>(const MessageEdges<double>& edges);

}  // namespace cgfast
