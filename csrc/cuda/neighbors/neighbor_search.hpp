// Neighbour lists on the GPU: crystals in, edges out, all in the memory of the device, equal to those of
// cgfast::NeighborSearch bit for bit. The caller owns every buffer and gives the stream.
#pragma once

#include <cstdint>

#include "../../neighbors/batch.hpp"
#include "../../neighbors/row.hpp"
#include "../stream.hpp"
#include "search_data.hpp"

namespace cgfast {
namespace cuda {

class NeighborSearch {
public:
    // batch: arrays on the device. largest_crystal: its atoms, or a number that is no less. Throws std::invalid_argument
    // for bad options. The lists do not depend on cell_lists.
    NeighborSearch(const CrystalBatch& batch, int64_t n_atoms, int64_t largest_crystal, const NeighborOptions& options,
                   CellLists cell_lists = CellLists::by_cost);

    // Bytes that the workspace needs; it must be aligned to 256.
    int64_t workspace_bytes() const { return workspace_bytes_; }

    // Finds the rows. status: 4 numbers on the device: edges; n_crystals minus the number of the first crystal that
    // cannot be searched, or 0; whether graph_ptr is bad; rows that fill() must search again. They must be looked at (a
    // host synchronisation, the only one) before fill() is called. row_ptr: (N + 1,), few: (B,).
    void count(void* workspace, int64_t* status, int64_t* row_ptr, int64_t* few, Stream stream);

    // Writes the edges; row_ptr and few of `out` are not used. n_searched_again: the last number of the status. The
    // workspace, the status, row_ptr and the batch's graph_ptr must be as count() left them; the rest of the batch is not
    // read again. Asynchronous.
    void fill(const NeighborArrays& out, int64_t n_searched_again, Stream stream) const;

private:
    int64_t lay_out(void* workspace);

    SearchData search_{};
    bool with_boxes_;
    int64_t workspace_bytes_;
};

}  // namespace cuda
}  // namespace cgfast
