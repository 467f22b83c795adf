// The k nearest neighbours: one search, whose edges are kept and then copied. How far a row must be searched is known
// only once it is done, so searching twice would cost more here than keeping k edges an atom.
#pragma once

#include <cstdint>
#include <vector>

#include "batch_search.hpp"
#include "edge_arena.hpp"

namespace cgfast {

class NearestList : public EdgeList {
public:
    // Searches. The batch's arrays are read only here.
    NearestList(const CrystalBatch& batch, const NeighborOptions& options);

    int64_t n_edges() const override { return n_edges_; }
    void fill(const NeighborArrays& out) override;

private:
    struct FoundRow {
        const Edge* edges = nullptr;
        int64_t count = 0;
        double tied_from = 0;  // as in Row
        double share = 1;
    };

    static FoundRow keep_row(const CrystalSearch& search, int64_t target, const Row& row, EdgeArena& arena);
    void fill_rows(const NeighborArrays& out, int64_t first, int64_t last) const;
    int64_t padding(int64_t count) const;

    NeighborOptions options_;
    std::vector<int64_t> graph_ptr_;
    std::vector<FoundRow> rows_;
    EdgeArenas arenas_;
    int64_t n_edges_ = 0;
};

}  // namespace cgfast
