#include "radius_list.hpp"

#include <algorithm>
#include <numeric>
#include <stdexcept>

namespace cgfast {

RadiusList::RadiusList(const CrystalBatch& batch, const NeighborOptions& options)
    : options_(options), batch_search_(batch, options), row_ptr_(batch.graph_ptr[batch.n_crystals] + 1, 0) {
    RowTask count = [this](const CrystalSearch& search, int64_t first_atom, int64_t target, RowScratch& scratch) {
        row_ptr_[first_atom + target + 1] = search.count_row(target, scratch);
        return true;
    };
    batch_search_.run([&] { return count; }, true);
    std::partial_sum(row_ptr_.begin(), row_ptr_.end(), row_ptr_.begin());
}

void RadiusList::fill(const NeighborArrays& out) {
    RowTask write = [&](const CrystalSearch& search, int64_t first_atom, int64_t target, RowScratch& scratch) {
        search.find_row(target, options_, scratch);
        write_row(search, first_atom, target, scratch.row, out);
        return true;
    };
    batch_search_.run([&] { return write; }, false);
    std::copy(row_ptr_.begin(), row_ptr_.end(), out.row_ptr);
    std::fill_n(out.few, batch_search_.graph_ptr().size() - 1, 0);
}

void RadiusList::write_row(const CrystalSearch& search, int64_t first_atom, int64_t target, const Row& row,
                           const NeighborArrays& out) const {
    const int64_t atom = first_atom + target;
    int64_t e = row_ptr_[atom];
    if (static_cast<int64_t>(row.neighbors.size()) != row_ptr_[atom + 1] - e) {
        throw std::runtime_error("the crystals of a neighbour search changed between counting and filling");
    }
    for (const Neighbor& neighbor : row.neighbors) {
        int32_t shift[3];
        search.shift(neighbor.ghost(), target, shift);
        out.set_edge(e++, first_atom + search.source(neighbor.ghost()), atom, shift, neighbor.distance, 1.0);
    }
}

}  // namespace cgfast
