#include "neighbor_search.hpp"

#include "../../check.hpp"
#include "../../neighbors/neighbor_search.hpp"
#include "../../neighbors/search_math.hpp"
#include "../arena.hpp"
#include "../check.hpp"
#include "../scan.hpp"
#include "nearest.hpp"
#include "prepare.hpp"
#include "write_rows.hpp"

namespace cgfast {
namespace cuda {
namespace {

bool wants_boxes(CellLists cell_lists, int64_t largest_crystal) {
    if (cell_lists == CellLists::by_cost) return largest_crystal >= fewest_boxed_atoms;
    return cell_lists == CellLists::always;
}

}  // namespace

NeighborSearch::NeighborSearch(const CrystalBatch& batch, int64_t n_atoms, int64_t largest_crystal,
                               const NeighborOptions& options, CellLists cell_lists)
    : with_boxes_(wants_boxes(cell_lists, largest_crystal < n_atoms ? largest_crystal : n_atoms)) {
    check_options(options);
    CGFAST_CHECK(n_atoms < max_ghosts && batch.n_crystals < max_ghosts,
                 "crystals must be searched in batches of fewer than 2^31 atoms on a GPU, got "
                     << n_atoms << " atoms in " << batch.n_crystals << " crystals");
    search_.batch = batch;
    search_.n_atoms = n_atoms;
    search_.options = options;
    search_.cell_lists = cell_lists;
    if (options.max_neighbors > 0) plan_nearest(search_);
    workspace_bytes_ = lay_out(nullptr);
}

int64_t NeighborSearch::lay_out(void* workspace) {
    SearchData& s = search_;
    const int64_t n = s.n_atoms;
    const int64_t n_crystals = s.batch.n_crystals;
    const bool nearest = s.options.max_neighbors > 0;
    Arena arena(workspace);
    s.crystals = arena.take<PreparedCrystal>(n_crystals);
    s.bounds = arena.take<Bounds>(n_crystals);
    s.crystal_of = arena.take<int32_t>(n);
    s.positions = arena.take<double>(3 * n);
    s.fractional = arena.take<float>(3 * n);
    s.wraps = arena.take<int32_t>(3 * n);
    s.counts = arena.take<int32_t>(n);
    s.lengths = s.counts;
    if (s.options.pad_2018) s.lengths = arena.take<int32_t>(n);
    s.sums = arena.take<int64_t>(scan_workspace(n + n_crystals));
    if (with_boxes_) {
        s.box_ptr = arena.take<int64_t>(n + n_crystals + 2);
        s.boxed_atom = arena.take<int32_t>(n);
        s.boxed_positions = arena.take<double>(3 * n);
    }
    if (!nearest) return arena.bytes();
    s.radii = arena.take<double>(n);
    s.kept = arena.take<uint32_t>(n * s.slots);
    s.again = arena.take<int32_t>(n);
    if (s.options.shell) {
        s.last = arena.take<double>(n);
        s.share = arena.take<double>(n);
    }
    return arena.bytes();
}

void NeighborSearch::count(void* workspace, int64_t* status, int64_t* row_ptr, int64_t* few, Stream stream) {
    const cudaStream_t cuda_stream = static_cast<cudaStream_t>(stream);
    lay_out(workspace);
    search_.status = reinterpret_cast<SearchStatus*>(status);
    search_.row_ptr = row_ptr;
    search_.few = few;
    const size_t few_bytes = static_cast<size_t>(search_.batch.n_crystals) * sizeof(int64_t);
    CGFAST_CUDA_CHECK(cudaMemsetAsync(status, 0, sizeof(SearchStatus), cuda_stream));
    if (few_bytes > 0) CGFAST_CUDA_CHECK(cudaMemsetAsync(few, 0, few_bytes, cuda_stream));
    prepare_crystals(search_, with_boxes_, stream);
    if (search_.options.max_neighbors > 0) {
        find_nearest(search_, with_boxes_, stream);
    } else {
        count_radius_rows(search_, with_boxes_, stream);
    }
    exclusive_scan(search_.lengths, search_.n_atoms, row_ptr, search_.sums, stream);
    CGFAST_CUDA_CHECK(cudaMemcpyAsync(&search_.status->n_edges, row_ptr + search_.n_atoms, sizeof(int64_t),
                                      cudaMemcpyDeviceToDevice, cuda_stream));
}

void NeighborSearch::fill(const NeighborArrays& out, int64_t n_searched_again, Stream stream) const {
    write_rows(search_, out, n_searched_again, with_boxes_, stream);
}

}  // namespace cuda
}  // namespace cgfast
