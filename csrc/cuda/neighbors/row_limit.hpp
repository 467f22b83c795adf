// What belongs to a row that is searched again: everything up to a distance, or up to a key.
#pragma once

#include "candidates.hpp"
#include "row_order.hpp"

namespace cgfast {
namespace cuda {

// The canonical order as words: rounded distance, source, shift in the input's cell. Comparing words one after the other
// is comparing edges, in reduced lattices too.
__device__ __forceinline__ void canonical_words(const SearchData& search, const Target& target,
                                                const Candidate& candidate, uint32_t* words) {
    const uint64_t rounded = rounded_distance(candidate.distance);
    words[0] = static_cast<uint32_t>(rounded >> 16);
    words[1] = static_cast<uint32_t>(rounded) & 0xffffu;
    words[2] = static_cast<uint32_t>(candidate.atom);
    int32_t shift[3];
    edge_shift(search, target, candidate.atom, candidate.shift, shift);
    for (int a = 0; a < 3; ++a) words[3 + a] = static_cast<uint32_t>(shift[a]) ^ 0x80000000u;
}

struct RowLimit {
    double distance;        // Å, inclusive
    const uint32_t* words;  // inclusive; null: none

    __device__ __forceinline__ bool includes(const SearchData& search, const Target& target,
                                             const Candidate& candidate) const {
        if (!(candidate.distance <= distance)) return false;
        if (words == nullptr) return true;
        uint32_t own[row_key_words];
        canonical_words(search, target, candidate, own);
        for (int w = 0; w < row_key_words; ++w) {
            if (own[w] != words[w]) return own[w] < words[w];
        }
        return true;
    }
};

// Of a row that has been found within `radius`.
__device__ __forceinline__ RowLimit row_limit(const SearchData& search, int64_t atom, double radius) {
    const NeighborOptions& options = search.options;
    if (options.max_neighbors == 0) return {radius, nullptr};
    if (!options.shell) return {radius, search.kept + atom * search.slots + 1};
    return {fmin(radius, search.last[atom] + options.tolerance), nullptr};
}

}  // namespace cuda
}  // namespace cgfast
