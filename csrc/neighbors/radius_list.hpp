// Every neighbour within a radius, in two passes: count, then search again and write each edge straight to its place.
//
// Why twice: to keep the edges in between takes as much fresh memory again as the result, and on many machines fetching
// that costs more than the search. Counting needs hardly any exact distance (CrystalSearch::count_row).
#pragma once

#include <cstdint>
#include <vector>

#include "batch_search.hpp"

namespace cgfast {

class RadiusList : public EdgeList {
public:
    // Counts. The batch's arrays must stay as they are until fill() returns.
    RadiusList(const CrystalBatch& batch, const NeighborOptions& options);

    int64_t n_edges() const override { return row_ptr_.back(); }
    void fill(const NeighborArrays& out) override;

private:
    void write_row(const CrystalSearch& search, int64_t first_atom, int64_t target, const Row& row,
                   const NeighborArrays& out) const;

    NeighborOptions options_;
    BatchSearch batch_search_;
    std::vector<int64_t> row_ptr_;
};

}  // namespace cgfast
