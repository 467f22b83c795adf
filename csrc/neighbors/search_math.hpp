// The arithmetic that decides which edges a neighbour search finds and in which order: one text for the CPU and the GPU,
// so that both find the same edges with the same bits (compiled without contraction of floating-point operations).
#pragma once

#include <cmath>
#include <cstdint>

#include "lattice.hpp"

namespace cgfast {

// Images of atoms are numbered in 31 bits.
constexpr int64_t max_ghosts = INT32_MAX;

// Distances that agree to this, in Å, are ordered by (source, shift): their last bits depend on rounding, the order must
// not.
constexpr double distance_resolution = 1e-6;
constexpr double max_ordered_distance = 8000.0;  // Å: in steps of 1e-6 Å it must fit the 33 upper bits of a key

// How much larger than the sphere of k atoms at the mean density the first search sphere is. Larger: more candidates for
// every atom; smaller: more atoms need a second search.
constexpr double density_margin = 1.15;
constexpr double radius_growth = 1.3;

// Why an atom cannot be wrapped into the cell.
struct AtomFault {
    enum Kind { none, not_finite, too_far, too_many_cells } kind;
    double value;  // too_far: the coordinate; too_many_cells: how many
};

// Moves an atom into the (reduced) cell: wrapped = position - wraps @ rows. To the nearest cell: positions close to the
// origin, of either sign, keep every digit.
template <class Integer>
CGFAST_HOST_DEVICE AtomFault wrap_atom(const Lattice& lattice, const double* position, Integer* wraps, double* wrapped) {
    if (!(std::isfinite(position[0]) && std::isfinite(position[1]) && std::isfinite(position[2]))) {
        return {AtomFault::not_finite, 0.0};
    }
    for (int c = 0; c < 3; ++c) {
        if (!(std::fabs(position[c]) < 1e15)) return {AtomFault::too_far, position[c]};
    }
    double fractional[3];
    double translation[3];
    lattice.to_fractional(position, fractional);
    for (int a = 0; a < 3; ++a) {
        const double wrap = lattice.periodic[a] ? std::rint(fractional[a]) : 0.0;
        if (!(std::fabs(wrap) < 2.5e8)) return {AtomFault::too_many_cells, wrap};
        wraps[a] = static_cast<Integer>(wrap);
    }
    lattice.translation(wraps, translation);
    for (int c = 0; c < 3; ++c) wrapped[c] = position[c] - translation[c];
    return {AtomFault::none, 0.0};
}

// The largest lattice shift along a periodic axis that can bring one atom of a crystal within `radius` of another.
// `extent`: by how much their fractional coordinates differ at most.
CGFAST_HOST_DEVICE double image_range(double extent, double radius, double face_distance) {
    const double reach = radius / face_distance;
    return std::floor(extent + reach + 1e-9 * (1.0 + reach));
}

CGFAST_HOST_DEVICE bool too_many_images(double images, int64_t n_atoms) {
    return !(images * static_cast<double>(n_atoms) < static_cast<double>(max_ghosts));
}

// The radius to begin a search for k neighbours with, if none is larger than `largest`. `volume`: of the cell, an open
// axis counting with its open_length().
CGFAST_HOST_DEVICE double first_nearest_radius(double volume, int64_t k, int64_t n_atoms, double largest) {
    const double volume_of_k = volume * static_cast<double>(k) / static_cast<double>(n_atoms);
    double radius = density_margin * std::cbrt(volume_of_k * 3.0 / (4.0 * 3.14159265358979323846));
    radius = radius < 1e-3 ? 1e-3 : radius;
    return largest < radius ? largest : radius;
}

// Å; `extent`: of the atoms along an open axis.
CGFAST_HOST_DEVICE double open_length(double extent) { return extent < 2.0 ? 2.0 : extent; }

CGFAST_HOST_DEVICE double next_radius(double radius, double largest) {
    const double larger = radius * radius_growth;
    return larger < largest ? larger : largest;
}

// No neighbour in a crystal without periodic axes is farther, whatever the cutoff. `extent`: of its bounding box.
CGFAST_HOST_DEVICE double largest_open_radius(const double* extent, double cutoff) {
    const double diagonal = std::sqrt(extent[0] * extent[0] + extent[1] * extent[1] + extent[2] * extent[2]);
    const double radius = diagonal * (1.0 + 1e-6) + 1e-6;
    return radius < cutoff ? radius : cutoff;
}

// (source - target) + translation: the pair seen from the other end has exactly the opposite sign in every step, so both
// directions have the same distance to the last bit and a cutoff keeps both or none.
CGFAST_HOST_DEVICE double pair_distance(const double* source, const double* target, const double* translation) {
    const double x = (source[0] - target[0]) + translation[0];
    const double y = (source[1] - target[1]) + translation[1];
    const double z = (source[2] - target[2]) + translation[2];
    return std::sqrt(x * x + y * y + z * z);
}

CGFAST_HOST_DEVICE uint64_t rounded_distance(double distance) {
    return static_cast<uint64_t>(std::rint(distance / distance_resolution));
}

CGFAST_HOST_DEVICE bool fits_32_bits(int64_t shift) { return shift >= INT32_MIN && shift <= INT32_MAX; }

}  // namespace cgfast
