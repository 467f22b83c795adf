#include "sort_edges.hpp"

#include <algorithm>
#include <numeric>
#include <vector>

#include "../check.hpp"

namespace cgfast {

void sort_edges(const int64_t* source, const int64_t* target, int64_t n_edges, int64_t n_targets,
                const SortedEdges& out) {
    int64_t low = 0;
    int64_t high = -1;
    bool sorted = true;
    for (int64_t e = 0; e < n_edges; ++e) {
        sorted = sorted && target[e] >= high;
        low = std::min(low, target[e]);
        high = std::max(high, target[e]);
    }
    CGFAST_CHECK(low >= 0 && high < n_targets,
                 "edge_index must have targets in [0, " << n_targets << "), got values from " << low << " to " << high);
    std::fill_n(out.row_ptr, n_targets + 1, int64_t(0));
    for (int64_t e = 0; e < n_edges; ++e) ++out.row_ptr[target[e] + 1];
    std::partial_sum(out.row_ptr, out.row_ptr + n_targets + 1, out.row_ptr);
    if (sorted) {
        std::copy_n(source, n_edges, out.source);
        std::iota(out.order, out.order + n_edges, int64_t(0));
        return;
    }
    std::vector<int64_t> next(out.row_ptr, out.row_ptr + n_targets);
    for (int64_t e = 0; e < n_edges; ++e) {
        const int64_t place = next[target[e]]++;
        out.source[place] = source[e];
        out.order[place] = e;
    }
}

}  // namespace cgfast
