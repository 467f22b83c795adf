// Neighbour lists for a batch of crystals: search, then fill arrays of exactly the right size. The front door: checks the
// options and chooses between a RadiusList and a NearestList.
#pragma once

#include <cstdint>
#include <memory>

#include "batch.hpp"
#include "row.hpp"

namespace cgfast {

// Throws std::invalid_argument for numbers that make no sense.
void check_options(const NeighborOptions& options);

class NeighborSearch {
public:
    // Throws std::invalid_argument for bad crystals or options. The arrays of the batch must stay alive, and as they are,
    // until fill() returns: a radius list is searched again there.
    NeighborSearch(const CrystalBatch& batch, const NeighborOptions& options);

    int64_t n_edges() const { return list_->n_edges(); }

    // Writes the result and frees memory as it goes: call once. Throws std::runtime_error if the crystals have changed.
    void fill(const NeighborArrays& out) { list_->fill(out); }

private:
    std::unique_ptr<EdgeList> list_;
};

}  // namespace cgfast
