// What a thread needs to know about the row of one atom: who it is, how neighbours are numbered, how errors are reported.
#pragma once

#include <cstring>

#include "../../neighbors/search_math.hpp"
#include "../launch.hpp"
#include "search_data.hpp"

namespace cgfast {
namespace cuda {

// Sorts as the number does.
__device__ __forceinline__ uint64_t ordered_bits(double value) {
    uint64_t bits;
    memcpy(&bits, &value, sizeof bits);
    return (bits >> 63) != 0 ? ~bits : bits | (uint64_t(1) << 63);
}
__device__ __forceinline__ double from_ordered_bits(uint64_t bits) {
    bits = (bits >> 63) != 0 ? bits & ~(uint64_t(1) << 63) : ~bits;
    double value;
    memcpy(&value, &bits, sizeof value);
    return value;
}

__device__ __forceinline__ bool failed(const SearchData& search) {
    return search.status->bad_crystal != 0 || search.status->bad_graph_ptr != 0;
}

__device__ __forceinline__ void report_crystal(const SearchData& search, int64_t crystal) {
    atomic_max(&search.status->bad_crystal, search.batch.n_crystals - crystal);
}

__device__ __forceinline__ Images make_images(const PreparedCrystal& crystal, int64_t n_atoms, double radius) {
    Images images = {{0, 0, 0}, 1};
    double ranges[3] = {0.0, 0.0, 0.0};
    double n = 1.0;
    for (int a = 0; a < 3; ++a) {
        if (!crystal.lattice.periodic[a]) continue;
        ranges[a] = image_range(crystal.extent[a], radius, crystal.lattice.face_distance[a]);
        n *= 2.0 * ranges[a] + 1.0;
    }
    if (too_many_images(n, n_atoms)) return {{0, 0, 0}, 0};
    for (int a = 0; a < 3; ++a) images.range[a] = static_cast<int32_t>(ranges[a]);
    images.n = static_cast<int32_t>(n);
    return images;
}

// Those of first_radius, nearly always, are there already.
__device__ __forceinline__ Images images_of(const PreparedCrystal& crystal, int64_t n_atoms, double radius) {
    return radius == crystal.first_radius ? crystal.first_images : make_images(crystal, n_atoms, radius);
}

// A neighbour's number orders it by (atom, lattice shift), as ghosts are numbered on the CPU; in a reduced lattice the
// shifts are in the order of that lattice, not of the input's (see RowOrder).
__device__ __forceinline__ uint32_t number_of(const Images& images, int32_t atom, const int32_t* shift) {
    int32_t image = shift[0] + images.range[0];
    image = image * (2 * images.range[1] + 1) + shift[1] + images.range[1];
    image = image * (2 * images.range[2] + 1) + shift[2] + images.range[2];
    return static_cast<uint32_t>(atom) * static_cast<uint32_t>(images.n) + static_cast<uint32_t>(image);
}

__device__ __forceinline__ int32_t atom_and_shift(const Images& images, uint32_t number, int32_t* shift) {
    const uint32_t atom = number / static_cast<uint32_t>(images.n);
    uint32_t image = number - atom * static_cast<uint32_t>(images.n);
    for (int a = 2; a > 0; --a) {
        const uint32_t width = 2u * static_cast<uint32_t>(images.range[a]) + 1u;
        const uint32_t rest = image / width;
        shift[a] = static_cast<int32_t>(image - rest * width) - images.range[a];
        image = rest;
    }
    shift[0] = static_cast<int32_t>(image) - images.range[0];
    return static_cast<int32_t>(atom);
}

struct Target {
    int64_t crystal;
    int64_t first_atom;  // of the crystal
    int32_t n_atoms;     // of the crystal
    int32_t self;        // which atom of the crystal this is
    double position[3];
};

__device__ __forceinline__ Target load_target(const SearchData& search, int64_t atom) {
    Target target;
    target.crystal = search.crystal_of[atom];
    target.first_atom = search.batch.graph_ptr[target.crystal];
    target.n_atoms = static_cast<int32_t>(search.batch.graph_ptr[target.crystal + 1] - target.first_atom);
    target.self = static_cast<int32_t>(atom - target.first_atom);
    for (int c = 0; c < 3; ++c) target.position[c] = search.positions[3 * atom + c];
    return target;
}

// The lattice shift, in the input's cell, of the edge from `source` (an atom of the target's crystal) by `shift`. False
// if it does not fit 32 bits.
__device__ __forceinline__ bool edge_shift(const SearchData& search, const Target& target, int32_t source,
                                           const int32_t* shift, int32_t* out) {
    const int32_t* source_wrap = search.wraps + 3 * (target.first_atom + source);
    const int32_t* target_wrap = search.wraps + 3 * (target.first_atom + target.self);
    int64_t total[3];
    for (int a = 0; a < 3; ++a) total[a] = static_cast<int64_t>(shift[a]) - source_wrap[a] + target_wrap[a];
    const Lattice& lattice = search.crystals[target.crystal].lattice;
    bool fits = true;
    for (int b = 0; b < 3; ++b) {
        const int64_t s = lattice.reduced ? lattice.input_shift(total, b) : total[b];
        fits = fits && fits_32_bits(s);
        out[b] = static_cast<int32_t>(s < INT32_MIN ? INT32_MIN : s > INT32_MAX ? INT32_MAX : s);
    }
    return fits;
}

// The distance of neighbour `number`, with the bits that visit_candidates() gave it.
__device__ __forceinline__ double distance_of(const SearchData& search, const Target& target, const Images& images,
                                              uint32_t number) {
    int32_t shift[3];
    const int32_t source = atom_and_shift(images, number, shift);
    double translation[3];
    search.crystals[target.crystal].lattice.translation(shift, translation);
    return pair_distance(search.positions + 3 * (target.first_atom + source), target.position, translation);
}

}  // namespace cuda
}  // namespace cgfast
