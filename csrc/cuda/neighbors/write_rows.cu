#include "write_rows.hpp"

#include "row_limit.hpp"
#include "row_warps.hpp"

namespace cgfast {
namespace cuda {
namespace {

constexpr int threads = 256;
constexpr int32_t keys_on_chip = 512;  // a longer row is sorted where it will be written

__device__ __forceinline__ void write_edge(const SearchData& search, const NeighborArrays& out, int64_t e,
                                           const Target& target, int32_t source, const int32_t* shift, double distance,
                                           double weight) {
    int32_t input_shift[3];
    edge_shift(search, target, source, shift, input_shift);
    out.source[e] = target.first_atom + source;
    out.target[e] = target.first_atom + target.self;
    for (int a = 0; a < 3; ++a) out.shifts[3 * e + a] = input_shift[a];
    out.distances[e] = distance;
    if (out.edge_weight != nullptr) out.edge_weight[e] = weight;
}

// The edge that the 2018 code puts in the place of a missing one.
__device__ __forceinline__ void write_padding(const SearchData& search, const NeighborArrays& out, int64_t e,
                                              int64_t first_atom, int64_t atom) {
    out.source[e] = first_atom;
    out.target[e] = atom;
    for (int a = 0; a < 3; ++a) out.shifts[3 * e + a] = 0;
    out.distances[e] = search.options.cutoff + 1.0;
    if (out.edge_weight != nullptr) out.edge_weight[e] = 1.0;
}

__device__ __forceinline__ double weight_of(const SearchData& search, int64_t atom, double distance) {
    if (!search.options.shell) return 1.0;
    return distance >= search.last[atom] - search.options.tolerance ? search.share[atom] : 1.0;
}

// One thread for each place of each row, of rows whose neighbours were kept.
__global__ void __launch_bounds__(threads) write_kept_rows(const SearchData search, const NeighborArrays out) {
    const int64_t place = static_cast<int64_t>(blockIdx.x) * blockDim.x + threadIdx.x;
    const int64_t atom = place / search.slots;
    const int32_t e = static_cast<int32_t>(place % search.slots);
    if (atom >= search.n_atoms) return;
    const int32_t count = search.counts[atom];
    if (e >= search.lengths[atom] || (count > 0 && search.kept[place - e] == searched_again)) return;
    const Target target = load_target(search, atom);
    const int64_t begin = search.row_ptr[atom];
    if (e >= count) {
        write_padding(search, out, begin + e, target.first_atom, atom);
        return;
    }
    const PreparedCrystal& crystal = search.crystals[target.crystal];
    const Images images = images_of(crystal, target.n_atoms, search.radii[atom]);
    int32_t shift[3];
    const int32_t source = atom_and_shift(images, search.kept[place], shift);
    const double distance = measure(crystal.lattice, target, search.positions + 3 * (target.first_atom + source), shift);
    write_edge(search, out, begin + e, target, source, shift, distance, weight_of(search, atom, distance));
}

// A row that comes in its order already.
__device__ __forceinline__ void write_in_order(const SearchData& search, const NeighborArrays& out, const Target& target,
                                               const Images& images, double radius, int64_t begin) {
    const int lane = lane_index();
    visit_candidates<ImagePieces>(search, target, images, radius, [&](bool valid, const Candidate& candidate) {
        const bool hit = valid && candidate.distance <= radius;
        const unsigned hits = ballot(hit);
        if (hit) {
            const int64_t e = begin + count_bits(hits & lanes_below(lane));
            write_edge(search, out, e, target, candidate.atom, candidate.shift, candidate.distance, 1.0);
        }
        begin += count_bits(hits);
        return true;
    });
}

// Collects the keys of a row, sorts them and writes the edges.
template <class Pieces>
__device__ __forceinline__ void write_sorted(const SearchData& search, const NeighborArrays& out, const Target& target,
                                             const Images& images, double radius, int64_t begin, int32_t count,
                                             uint64_t* shared_keys) {
    const int lane = lane_index();
    const int64_t atom = target.first_atom + target.self;
    const bool by_distance = search.options.sort == Sort::distance;
    uint64_t* keys = count <= keys_on_chip ? shared_keys : reinterpret_cast<uint64_t*>(out.source + begin);
    const RowLimit limit = row_limit(search, atom, radius);
    int32_t n = 0;
    visit_candidates<Pieces>(search, target, images, radius, [&](bool valid, const Candidate& candidate) {
        const bool hit = valid && limit.includes(search, target, candidate);
        const unsigned hits = ballot(hit);
        if (hit) {
            const uint32_t number = number_of(images, candidate.atom, candidate.shift);
            keys[n + count_bits(hits & lanes_below(lane))] =
                by_distance ? canonical_key(candidate.distance, number) : number;
        }
        n += count_bits(hits);
        return true;
    });
    sync_warp();
    const Lattice& lattice = search.crystals[target.crystal].lattice;
    sort_keys<int64_t>(keys, count, RowOrder(lattice, images));
    for (int32_t e = lane; e < count; e += warp_size) {
        int32_t shift[3];
        const int32_t source = atom_and_shift(images, number_in(keys[e]), shift);
        const double distance = measure(lattice, target, search.positions + 3 * (target.first_atom + source), shift);
        write_edge(search, out, begin + e, target, source, shift, distance, weight_of(search, atom, distance));
    }
}

template <class Pieces>
__device__ __forceinline__ void write_row(const SearchData& search, const NeighborArrays& out, int64_t atom,
                                          uint64_t* keys) {
    const Target target = load_target(search, atom);
    const PreparedCrystal& crystal = search.crystals[target.crystal];
    if (Pieces::boxed != (crystal.n_boxes[0] > 0)) return;
    const int64_t begin = search.row_ptr[atom];
    const int32_t count = search.counts[atom];
    const bool nearest = search.options.max_neighbors > 0;
    const double radius = nearest ? search.radii[atom] : crystal.largest_radius;
    const Images images = images_of(crystal, target.n_atoms, radius);
    if (!Pieces::boxed && !nearest && search.options.sort == Sort::source && !crystal.lattice.reduced) {
        write_in_order(search, out, target, images, radius, begin);
        return;
    }
    write_sorted<Pieces>(search, out, target, images, radius, begin, count, keys);
    for (int64_t e = count + lane_index(); e < search.lengths[atom]; e += warp_size) {
        write_padding(search, out, begin + e, target.first_atom, atom);
    }
}

// One warp for each row: all of them, or those in `again`.
template <class Pieces>
__global__ void __launch_bounds__(threads_of_rows)
    write_searched_rows(const SearchData search, const NeighborArrays out) {
    const bool all_rows = !search.on_chip;
    const int64_t n_rows = all_rows ? search.n_atoms : search.status->n_searched_again;
    const int64_t r = row_of_warp();
    if (r >= n_rows) return;
    uint64_t* keys = reinterpret_cast<uint64_t*>(shared_memory()) + static_cast<int64_t>(warp_index()) * keys_on_chip;
    write_row<Pieces>(search, out, all_rows ? r : search.again[r], keys);
}

template <class Pieces>
__global__ void __launch_bounds__(threads_of_rows) count_rows(const SearchData search) {
    const int64_t atom = row_of_warp();
    if (any(failed(search)) || atom >= search.n_atoms) return;
    const Target target = load_target(search, atom);
    const PreparedCrystal& crystal = search.crystals[target.crystal];
    if (Pieces::boxed != (crystal.n_boxes[0] > 0)) return;
    const double radius = crystal.largest_radius;
    const bool reduced = crystal.lattice.reduced;
    bool fits = true;
    int32_t n = 0;
    visit_candidates<Pieces>(search, target, crystal.first_images, radius, [&](bool valid, const Candidate& candidate) {
        const bool hit = valid && candidate.distance <= radius;
        if (reduced && hit) {
            int32_t shift[3];
            fits = fits && edge_shift(search, target, candidate.atom, candidate.shift, shift);
        }
        n += count_bits(ballot(hit));
        return true;
    });
    if (!all(fits)) report_crystal(search, target.crystal);
    finish_row_counts(search, atom, target.crystal, n);
}

template <class Pieces>
void launch_write_searched(const SearchData& search, const NeighborArrays& out, int64_t n_rows, Stream stream) {
    const RowWarps warps = row_warps(n_rows, keys_on_chip * sizeof(uint64_t));
    launch("write_searched_rows", write_searched_rows<Pieces>, warps.blocks, warps.threads, warps.shared_bytes, stream,
           search, out);
}

}  // namespace

void count_radius_rows(const SearchData& search, bool with_boxes, Stream stream) {
    const RowWarps warps = row_warps(search.n_atoms, 0);
    launch("count_rows", count_rows<ImagePieces>, warps.blocks, warps.threads, 0, stream, search);
    if (with_boxes) launch("count_rows", count_rows<BoxPieces>, warps.blocks, warps.threads, 0, stream, search);
}

void write_rows(const SearchData& search, const NeighborArrays& out, int64_t n_searched_again, bool with_boxes,
                Stream stream) {
    if (search.on_chip) {
        launch("write_kept_rows", write_kept_rows, (search.n_atoms * search.slots + threads - 1) / threads, threads, 0,
               stream, search, out);
    }
    const int64_t n_rows = search.on_chip ? n_searched_again : search.n_atoms;
    launch_write_searched<ImagePieces>(search, out, n_rows, stream);
    if (with_boxes) launch_write_searched<BoxPieces>(search, out, n_rows, stream);
}

}  // namespace cuda
}  // namespace cgfast
