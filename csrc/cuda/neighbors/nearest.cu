#include "nearest.hpp"

#include "candidates.hpp"
#include "long_rows.hpp"
#include "row_order.hpp"
#include "row_warps.hpp"

namespace cgfast {
namespace cuda {
namespace {

constexpr int most_turns = 40;  // of searching, before a row is left to the kernel for long rows

// The nearest that a warp has found so far, in shared memory.
struct Nearest {
    const SearchData& search;
    const Target& target;
    Images images;
    uint64_t* keys;
    double* distances;  // shell: room for as many
    int32_t n;
};

struct Cut {
    double bound;  // Å: nothing beyond it can be among the nearest
    double last;   // shell: the k-th smallest distance ...
    double share;  // ... and the weight of those tied with it
};

// Sorts, and keeps exactly the first k.
__device__ __forceinline__ Cut cut_canonical(Nearest& row, const RowOrder& order) {
    const int32_t k = static_cast<int32_t>(row.search.options.max_neighbors);
    sync_warp();
    sort_keys(row.keys, row.n, order);
    if (row.n < k) return {INFINITY, 0.0, 0.0};
    row.n = k;
    // What is within the resolution of the last could go before it.
    return {(static_cast<double>(row.keys[k - 1] >> number_bits) + 2.0) * distance_resolution, 0.0, 0.0};
}

// The k-th smallest distance of a sorted row of at least k. It has the rounded distance of the k-th key, but inside one
// step of the resolution the order is another.
__device__ __forceinline__ double kth_distance(const Nearest& row, int32_t k) {
    const uint64_t step = row.keys[k - 1] >> number_bits;
    int32_t begin = k - 1;
    while (begin > 0 && row.keys[begin - 1] >> number_bits == step) --begin;
    int32_t end = k;
    while (end < row.n && row.keys[end] >> number_bits == step) ++end;
    double found = 0.0;
    for (int32_t first = begin; first < end; first += warp_size) {
        const int32_t own = first + lane_index();
        int32_t place = begin;
        for (int32_t m = begin; m < end && own < end; ++m) {
            const double other = row.distances[m];
            if (other < row.distances[own] || (other == row.distances[own] && m < own)) ++place;
        }
        const unsigned winner = ballot(own < end && place == k - 1);
        if (winner != 0) found = row.distances[first + first_bit(winner)];
    }
    return found;
}

// Sorts, and keeps all within the tolerance of the k-th.
__device__ __forceinline__ Cut cut_shell(Nearest& row, const RowOrder& order) {
    const int32_t k = static_cast<int32_t>(row.search.options.max_neighbors);
    const double tolerance = row.search.options.tolerance;
    sync_warp();
    sort_keys(row.keys, row.n, order);
    if (row.n < k) return {INFINITY, INFINITY, 1.0};
    const int lane = lane_index();
    for (int32_t e = lane; e < row.n; e += warp_size) {
        row.distances[e] = distance_of(row.search, row.target, row.images, number_in(row.keys[e]));
    }
    sync_warp();
    const double last = kth_distance(row, k);
    int32_t kept = 0;
    int32_t closer = 0;
    for (int32_t first = 0; first < row.n; first += warp_size) {
        const int32_t e = first + lane;
        const uint64_t key = e < row.n ? row.keys[e] : 0;
        const double distance = e < row.n ? row.distances[e] : INFINITY;
        const unsigned keep = ballot(distance <= last + tolerance);
        closer += count_bits(ballot(distance < last - tolerance));
        sync_warp();  // all have read theirs before any writes
        if (distance <= last + tolerance) row.keys[kept + count_bits(keep & lanes_below(lane))] = key;
        kept += count_bits(keep);
    }
    sync_warp();
    row.n = kept;
    return {last + tolerance, last, static_cast<double>(k - closer) / static_cast<double>(kept - closer)};
}

// All within `reach`. False if they do not fit.
template <class Pieces>
__device__ __forceinline__ bool collect(Nearest& row, double reach) {
    row.n = 0;
    return visit_candidates<Pieces>(
        row.search, row.target, row.images, reach, [&](bool valid, const Candidate& candidate) {
            const bool hit = valid && candidate.distance <= reach;
            const unsigned hits = ballot(hit);
            if (row.n + count_bits(hits) > row.search.capacity) return false;
            if (hit) {
                const uint32_t number = number_of(row.images, candidate.atom, candidate.shift);
                row.keys[row.n + count_bits(hits & lanes_below(lane_index()))] =
                    canonical_key(candidate.distance, number);
            }
            row.n += count_bits(hits);
            return true;
        });
}

__device__ __forceinline__ void leave_to_long_rows(const SearchData& search, int64_t atom, int32_t count) {
    if (lane_index() != 0) return;
    search.counts[atom] = count;
    search.kept[atom * search.slots] = searched_again;
    search.again[atomic_add(&search.status->n_searched_again, int64_t(1))] = static_cast<int32_t>(atom);
}

// Keeps a finished row, in the order that was asked for.
__device__ __forceinline__ void keep_row(const Nearest& row, const RowOrder& order, int64_t atom, double radius,
                                         const Cut& cut) {
    const SearchData& search = row.search;
    const int lane = lane_index();
    bool fits = true;
    for (int32_t e = lane; e < row.n; e += warp_size) {
        if (order.reduced) {
            int32_t shift[3];
            const int32_t source = atom_and_shift(row.images, number_in(row.keys[e]), shift);
            fits = fits && edge_shift(search, row.target, source, shift, shift);
        }
        if (search.options.sort == Sort::source) row.keys[e] = number_in(row.keys[e]);
    }
    if (!all(fits)) report_crystal(search, row.target.crystal);
    if (lane == 0) {
        search.radii[atom] = radius;
        if (search.options.shell) {
            search.last[atom] = cut.last;
            search.share[atom] = cut.share;
        }
    }
    finish_row_counts(search, atom, row.target.crystal, row.n);
    if (row.n > search.slots) {
        leave_to_long_rows(search, atom, row.n);
        return;
    }
    if (search.options.sort == Sort::source) {
        sync_warp();
        sort_keys(row.keys, row.n, order);
    }
    for (int32_t e = lane; e < row.n; e += warp_size) search.kept[atom * search.slots + e] = number_in(row.keys[e]);
}

// One warp for each atom.
template <class Pieces, bool shell>
__global__ void __launch_bounds__(threads_of_rows, Pieces::boxed || shell ? 5 : 6) nearest_rows(const SearchData search) {
    const int64_t atom = row_of_warp();
    if (any(failed(search)) || atom >= search.n_atoms) return;
    const Target target = load_target(search, atom);
    const PreparedCrystal& crystal = search.crystals[target.crystal];
    if (Pieces::boxed != (crystal.n_boxes[0] > 0)) return;
    uint64_t* keys = reinterpret_cast<uint64_t*>(shared_memory()) +
                     static_cast<int64_t>(warp_index()) * search.capacity * (shell ? 2 : 1);
    Nearest row = {search, target, crystal.first_images, keys, reinterpret_cast<double*>(keys + search.capacity), 0};
    double radius = crystal.first_radius;  // of row.images
    double reach = radius;                 // of the search: less once that many are known to be nearer
    for (int turn = 0;; ++turn) {
        const RowOrder order(crystal.lattice, row.images);
        const bool all_fit = collect<Pieces>(row, reach);
        const Cut cut = shell ? cut_shell(row, order) : cut_canonical(row, order);
        // Complete: a larger radius could not change the row.
        if (all_fit && (cut.bound <= reach || reach >= crystal.largest_radius)) {
            keep_row(row, order, atom, radius, cut);
            return;
        }
        sync_warp();  // before the next turn writes where this one still reads
        if (!all_fit) {
            // Those that did fit bound the nearest; what is left of the sphere holds fewer, unless they tie.
            if (!(cut.bound < reach) || turn > most_turns) {
                leave_to_long_rows(search, atom, not_found_yet);
                return;
            }
            reach = cut.bound;
            continue;
        }
        radius = next_radius(radius, crystal.largest_radius);
        reach = radius;
        row.images = make_images(crystal, target.n_atoms, radius);
        if (row.images.n == 0) {
            if (lane_index() == 0) report_crystal(search, target.crystal);
            return;
        }
    }
}

template <class Pieces>
void launch_nearest(const SearchData& search, Stream stream) {
    const bool shell = search.options.shell;
    const RowWarps warps = row_warps(search.n_atoms, search.capacity * static_cast<int64_t>(shell ? 16 : 8));
    launch("nearest_rows", shell ? nearest_rows<Pieces, true> : nearest_rows<Pieces, false>, warps.blocks, warps.threads,
           warps.shared_bytes, stream, search);
}

}  // namespace

void plan_nearest(SearchData& search) {
    const int64_t k = search.options.max_neighbors;
    search.on_chip = k <= nearest_on_chip;
    search.slots = row_key_words + 1;
    search.capacity = 128;
    if (!search.on_chip) return;
    // Room for the shells of symmetric crystals; a row with a longer one is searched twice.
    const int64_t wanted = search.options.shell ? 2 * k + 8 : k;
    if (search.slots < wanted) search.slots = wanted;
    while (search.capacity < 2 * k + 2 * warp_size) search.capacity *= 2;
}

void find_nearest(const SearchData& search, bool with_boxes, Stream stream) {
    if (search.on_chip) {
        launch_nearest<ImagePieces>(search, stream);
        if (with_boxes) launch_nearest<BoxPieces>(search, stream);
    }
    find_long_nearest(search, with_boxes, stream);
}

}  // namespace cuda
}  // namespace cgfast
