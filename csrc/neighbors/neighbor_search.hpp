// Neighbour lists for a batch of crystals: search once, then fill arrays of exactly the right size.
#pragma once

#include <cstdint>
#include <vector>

#include "edge_arena.hpp"
#include "row.hpp"

namespace cgfast {

struct CrystalBatch {
    const double* positions;   // (n_atoms, 3) Å
    const double* cells;       // (n_crystals, 3, 3) Å
    const uint8_t* pbc;        // (n_crystals, 3)
    const int64_t* graph_ptr;  // (n_crystals + 1,)
    int64_t n_crystals;
};

// Where fill() writes; sizes in edges E, atoms N, crystals B. edge_weight may be null.
struct NeighborArrays {
    int64_t* source;       // (E,)
    int64_t* target;       // (E,)
    int32_t* shifts;       // (E, 3)
    double* distances;     // (E,)
    double* edge_weight;   // (E,)
    int64_t* row_ptr;      // (N + 1,)
    int64_t* few;          // (B,) atoms with fewer than max_neighbors neighbours inside the cutoff
};

class NeighborSearch {
public:
    // Searches. The batch's arrays are read only here. Throws std::invalid_argument for bad crystals or options.
    NeighborSearch(const CrystalBatch& batch, const NeighborOptions& options);

    int64_t n_edges() const { return n_edges_; }

    // Writes the result and frees it as it goes: call once.
    void fill(const NeighborArrays& out);

private:
    struct FoundRow {
        const Edge* edges = nullptr;
        int64_t count = 0;
        double tied_from = 0;  // as in Row
        double share = 1;
    };

    void search_small(const CrystalBatch& batch, int64_t first, int64_t last);
    void search_large(const CrystalBatch& batch, int64_t crystal);
    void keep_row(const class CrystalSearch& search, int64_t target, const Row& found, EdgeArena& arena, FoundRow& row);
    void fill_rows(const NeighborArrays& out, int64_t first, int64_t last) const;
    int64_t padding(int64_t count) const;

    NeighborOptions options_;
    std::vector<int64_t> graph_ptr_;
    std::vector<FoundRow> rows_;
    EdgeArenas arenas_;
    int64_t n_edges_ = 0;
};

}  // namespace cgfast
