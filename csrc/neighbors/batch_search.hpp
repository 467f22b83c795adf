// Walks over every atom of a batch: which thread searches which atoms, with which radius. Both kinds of list use it.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <vector>

#include "batch.hpp"
#include "crystal_search.hpp"

namespace cgfast {

// Asked for each atom: `target` of the crystal whose atoms begin at `first_atom` in the batch. False: ask again after the
// next larger radius has been prepared.
using RowTask = std::function<bool(const CrystalSearch& search, int64_t first_atom, int64_t target, RowScratch& scratch)>;

// Called on the thread that will run it, once for each group of rows: a RowTask may own what one thread needs.
using MakeRowTask = std::function<RowTask()>;

class BatchSearch {
public:
    // Copies graph_ptr; the other arrays of the batch must stay as they are until the last run().
    BatchSearch(const CrystalBatch& batch, const NeighborOptions& options);

    // The order in which atoms are asked depends on the batch alone, not on the number of threads. `keep`: large crystals
    // stay prepared for the next run(), which must then be content with the radius that this one ended with.
    void run(const MakeRowTask& make_task, bool keep);

    const std::vector<int64_t>& graph_ptr() const { return graph_ptr_; }

private:
    struct Large {
        int64_t crystal;
        std::unique_ptr<CrystalSearch> search;
    };

    int64_t size(int64_t crystal) const { return graph_ptr_[crystal + 1] - graph_ptr_[crystal]; }
    void set_crystal(int64_t crystal, CrystalSearch& search) const;
    void run_group(int64_t first, int64_t last, const RowTask& task) const;
    void run_large(const MakeRowTask& make_task, Large& large) const;

    CrystalBatch batch_;
    NeighborOptions options_;
    std::vector<int64_t> graph_ptr_;
    std::vector<int64_t> groups_;  // bounds of groups of crystals, whose small ones one thread does one after the other
    std::vector<Large> large_;     // crystals whose atoms are shared among threads
};

}  // namespace cgfast
