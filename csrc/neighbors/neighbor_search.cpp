#include "neighbor_search.hpp"

#include <cmath>

#include "../check.hpp"
#include "nearest_list.hpp"
#include "radius_list.hpp"

namespace cgfast {
namespace {

void check_graph_ptr(const CrystalBatch& batch) {
    CGFAST_CHECK(batch.graph_ptr[0] == 0, "graph_ptr must begin with 0, got " << batch.graph_ptr[0]);
    for (int64_t b = 0; b < batch.n_crystals; ++b) {
        CGFAST_CHECK(batch.graph_ptr[b] <= batch.graph_ptr[b + 1],
                     "graph_ptr must not decrease, got " << batch.graph_ptr[b] << " before " << batch.graph_ptr[b + 1]);
    }
}

}  // namespace

void check_options(const NeighborOptions& options) {
    CGFAST_CHECK(std::isfinite(options.cutoff) && options.cutoff > 0,
                 "cutoff must be a positive number of Å, got " << options.cutoff);
    CGFAST_CHECK(std::isfinite(options.tolerance) && options.tolerance >= 0,
                 "tolerance must be zero or a positive number of Å, got " << options.tolerance);
    CGFAST_CHECK(options.n_threads >= 1, "threads must be at least 1, got " << options.n_threads);
}

NeighborSearch::NeighborSearch(const CrystalBatch& batch, const NeighborOptions& options) {
    check_options(options);
    check_graph_ptr(batch);
    if (options.max_neighbors > 0) {
        list_ = std::make_unique<NearestList>(batch, options);
    } else {
        list_ = std::make_unique<RadiusList>(batch, options);
    }
}

}  // namespace cgfast
