#include "long_rows.hpp"

#include "row_limit.hpp"
#include "row_warps.hpp"

namespace cgfast {
namespace cuda {
namespace {

constexpr int n_bins = 256;
constexpr int64_t most_blocks = 2048;  // each warp takes row after row

// One row and what is searched for it.
struct LongRow {
    const SearchData& search;
    const Target& target;
    Images images;
    double radius;
    int32_t* bins;  // of this warp, in shared memory
};

// How many candidates within the radius satisfy `condition`.
template <class Pieces, class Condition>
__device__ __forceinline__ int64_t count_if(const LongRow& row, const Condition& condition) {
    int64_t n = 0;
    visit_candidates<Pieces>(row.search, row.target, row.images, row.radius, [&](bool valid, const Candidate& candidate) {
        n += count_bits(ballot(valid && candidate.distance <= row.radius && condition(candidate)));
        return true;
    });
    return n;
}

struct Bin {
    int32_t number;
    int32_t before;  // what bins before it hold
    int32_t count;
};

// The bin that holds the k-th, counted from 1.
__device__ __forceinline__ Bin find_bin(const int32_t* bins, int32_t k) {
    constexpr int per_lane = n_bins / warp_size;
    const int lane = lane_index();
    int32_t sum = 0;
    for (int i = 0; i < per_lane; ++i) sum += bins[lane * per_lane + i];
    int32_t upto = sum;
    CGFAST_CUDA_UNROLL
    for (int d = 1; d < warp_size; d *= 2) {
        const int32_t other = shuffle(upto, lane - d);
        if (lane >= d) upto += other;
    }
    const int owner = first_bit(ballot(upto >= k));
    Bin bin = {owner * per_lane, shuffle(upto - sum, owner), 0};
    for (bin.count = bins[bin.number]; bin.before + bin.count < k; bin.count = bins[bin.number]) {
        bin.before += bin.count;
        ++bin.number;
    }
    return bin;
}

// The k-th smallest of the words of all candidates within the radius, of which there are at least k: eight bits at a
// time, from the first word's upper ones. `exact` false: any words between the k-th and the next will do.
template <class Pieces, int n_words, class MakeWords>
__device__ __forceinline__ void select(const LongRow& row, int32_t k, bool exact, const MakeWords& make_words,
                                       uint32_t* found) {
    const int lane = lane_index();
    for (int w = 0; w < n_words; ++w) found[w] = 0xffffffffu;
    for (int digit = 0; digit < 4 * n_words; ++digit) {
        const int word = digit / 4;
        const int low_bit = 24 - 8 * (digit % 4);
        for (int b = lane; b < n_bins; b += warp_size) row.bins[b] = 0;
        sync_warp();
        visit_candidates<Pieces>(row.search, row.target, row.images, row.radius,
                                 [&](bool valid, const Candidate& candidate) {
                                     if (!valid || !(candidate.distance <= row.radius)) return true;
                                     uint32_t words[n_words];
                                     make_words(candidate, words);
                                     bool same = true;  // in all digits so far
                                     for (int w = 0; w < word; ++w) same = same && words[w] == found[w];
                                     const uint32_t above = low_bit == 24 ? 0u : ~0u << (low_bit + 8);
                                     same = same && (words[word] & above) == (found[word] & above);
                                     if (same) atomic_add(row.bins + (words[word] >> low_bit & 0xffu), 1);
                                     return true;
                                 });
        sync_warp();
        const Bin bin = find_bin(row.bins, k);
        sync_warp();  // all have read before the next digit is counted
        found[word] = (found[word] & ~(0xffu << low_bit)) | static_cast<uint32_t>(bin.number) << low_bit;
        k -= bin.before;
        if (!exact && bin.count == k) return;
    }
}

// Reports the crystal if a shift of the row does not fit.
template <class Pieces>
__device__ __forceinline__ void check_shifts(const LongRow& row, const RowLimit& limit) {
    if (!row.search.crystals[row.target.crystal].lattice.reduced) return;
    const int64_t too_large = count_if<Pieces>(row, [&](const Candidate& candidate) {
        int32_t shift[3];
        return limit.includes(row.search, row.target, candidate) &&
               !edge_shift(row.search, row.target, candidate.atom, candidate.shift, shift);
    });
    if (too_large > 0 && lane_index() == 0) report_crystal(row.search, row.target.crystal);
}

// Of at least k candidates. Returns how many belong to the row, or -1 if a larger radius could change that.
template <class Pieces>
__device__ __forceinline__ int64_t find_shell(const LongRow& row, int64_t atom, bool final) {
    const int32_t k = static_cast<int32_t>(row.search.options.max_neighbors);
    const double tolerance = row.search.options.tolerance;
    uint32_t words[2];
    select<Pieces, 2>(
        row, k, true,
        [](const Candidate& candidate, uint32_t* out) {
            uint64_t bits;
            memcpy(&bits, &candidate.distance, sizeof bits);
            out[0] = static_cast<uint32_t>(bits >> 32);
            out[1] = static_cast<uint32_t>(bits);
        },
        words);
    const uint64_t bits = static_cast<uint64_t>(words[0]) << 32 | words[1];
    double last;
    memcpy(&last, &bits, sizeof last);
    if (!final && last + tolerance > row.radius) return -1;
    const int64_t kept =
        count_if<Pieces>(row, [&](const Candidate& candidate) { return candidate.distance <= last + tolerance; });
    const int64_t closer =
        count_if<Pieces>(row, [&](const Candidate& candidate) { return candidate.distance < last - tolerance; });
    if (lane_index() == 0) {
        row.search.last[atom] = last;
        row.search.share[atom] = static_cast<double>(k - closer) / static_cast<double>(kept - closer);
    }
    return kept;
}

template <class Pieces>
__device__ __forceinline__ int64_t find_canonical(const LongRow& row, int64_t atom, bool final) {
    const int32_t k = static_cast<int32_t>(row.search.options.max_neighbors);
    uint32_t words[row_key_words];
    select<Pieces, row_key_words>(
        row, k, false,
        [&](const Candidate& candidate, uint32_t* out) { canonical_words(row.search, row.target, candidate, out); },
        words);
    const double steps = static_cast<double>(words[0]) * 65536.0 + static_cast<double>(words[1]);
    // What is within the resolution of the last must be known too.
    if (!final && !((steps + 2.0) * distance_resolution <= row.radius)) return -1;
    if (lane_index() == 0) {
        uint32_t* limit = row.search.kept + atom * row.search.slots + 1;
        for (int w = 0; w < row_key_words; ++w) limit[w] = words[w];
    }
    return k;
}

template <class Pieces, bool shell>
__device__ __forceinline__ void find_row(const SearchData& search, int64_t atom, int32_t* bins) {
    const Target target = load_target(search, atom);
    const PreparedCrystal& crystal = search.crystals[target.crystal];
    if (Pieces::boxed != (crystal.n_boxes[0] > 0)) return;
    LongRow row = {search, target, crystal.first_images, crystal.first_radius, bins};
    for (;;) {
        const bool final = row.radius >= crystal.largest_radius;
        const int64_t within = count_if<Pieces>(row, [](const Candidate&) { return true; });
        int64_t count = -1;
        if (within >= search.options.max_neighbors) {
            count = shell ? find_shell<Pieces>(row, atom, final) : find_canonical<Pieces>(row, atom, final);
        } else if (final) {
            count = within;
            if (shell && lane_index() == 0) {
                search.last[atom] = INFINITY;
                search.share[atom] = 1.0;
            }
            if (lane_index() < row_key_words) search.kept[atom * search.slots + 1 + lane_index()] = 0xffffffffu;
        }
        if (count >= 0) {
            sync_warp();  // row_limit() reads what lane 0 has written
            if (lane_index() == 0) search.radii[atom] = row.radius;
            finish_row_counts(search, atom, target.crystal, static_cast<int32_t>(count));
            check_shifts<Pieces>(row, row_limit(search, atom, row.radius));
            return;
        }
        row.radius = next_radius(row.radius, crystal.largest_radius);
        row.images = make_images(crystal, target.n_atoms, row.radius);
        if (row.images.n == 0) {
            if (lane_index() == 0) report_crystal(search, target.crystal);
            return;
        }
    }
}

template <class Pieces, bool shell>
__global__ void __launch_bounds__(threads_of_rows) long_nearest_rows(const SearchData search) {
    if (any(failed(search))) return;
    const bool all_rows = !search.on_chip;
    const int64_t n_rows = all_rows ? search.n_atoms : search.status->n_searched_again;
    int32_t* bins = reinterpret_cast<int32_t*>(shared_memory()) + warp_index() * n_bins;
    const int64_t n_warps = static_cast<int64_t>(gridDim.x) * warps_per_block();
    for (int64_t r = row_of_warp(); r < n_rows; r += n_warps) {
        const int64_t atom = all_rows ? r : search.again[r];
        if (!all_rows && search.counts[atom] != not_found_yet) continue;
        find_row<Pieces, shell>(search, atom, bins);
    }
}

template <class Pieces>
void launch_long(const SearchData& search, Stream stream) {
    const bool shell = search.options.shell;
    const RowWarps warps = row_warps(search.n_atoms, n_bins * sizeof(int32_t));
    const int64_t blocks = warps.blocks < most_blocks ? warps.blocks : most_blocks;
    launch("long_nearest_rows", shell ? long_nearest_rows<Pieces, true> : long_nearest_rows<Pieces, false>, blocks,
           warps.threads, warps.shared_bytes, stream, search);
}

}  // namespace

void find_long_nearest(const SearchData& search, bool with_boxes, Stream stream) {
    launch_long<ImagePieces>(search, stream);
    if (with_boxes) launch_long<BoxPieces>(search, stream);
}

}  // namespace cuda
}  // namespace cgfast
