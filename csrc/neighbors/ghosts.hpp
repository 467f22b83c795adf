// Ghosts: every periodic image of the atoms of one crystal that can lie within `radius` of an atom in its cell. Both
// search paths (scan all of them; look them up in a grid) work on this one list.
//
// A ghost's number orders it by (atom, lattice shift in the input's cell), so comparing numbers is comparing (source,
// shift): the canonical order of edges needs no other key.
#pragma once

#include <cstdint>
#include <vector>

#include "lattice.hpp"

namespace cgfast {

// The atoms of one crystal moved into the (reduced) cell.
struct WrappedAtoms {
    int64_t n = 0;
    std::vector<double> positions;   // (n, 3) Å
    std::vector<double> fractional;  // (n, 3)
    std::vector<int64_t> wraps;      // (n, 3): positions = input - wraps @ rows
    double low[3], high[3];          // bounding box of positions
};

void wrap_atoms(const Lattice& lattice, const double* positions, int64_t n, int64_t crystal, WrappedAtoms& atoms);

struct Ghosts {
    double radius = 0;
    // Coordinates in float32 relative to `center`: enough to discard nearly all candidates; the survivors are measured in
    // float64. In float32, everything within `radius` is within `loose_radius`, and what is within the root of `tight2`
    // is within `radius`: they lie further from it than all rounding errors. Negative: nothing is certain to be inside.
    std::vector<float> x, y, z;  // longer than size() by scan_padding
    float loose_radius = 0;
    float tight2 = -1;
    double center[3];
    std::vector<int32_t> atom;        // which atom
    std::vector<int32_t> image;       // which row of the two tables below
    std::vector<double> translation;  // (n_images, 3) Å
    std::vector<int64_t> shift;       // (n_images, 3) in the reduced cell
    std::vector<int32_t> self;        // (n,) number of the ghost that is the atom itself

    int64_t size() const { return static_cast<int64_t>(atom.size()); }

    // Empties the list and keeps its memory: one object serves crystal after crystal.
    void clear() {
        x.clear();
        y.clear();
        z.clear();
        atom.clear();
        image.clear();
        self.clear();
        translation.clear();
        shift.clear();
    }
};

// Throws std::invalid_argument if the list would have 2^31 members or more.
void find_ghosts(const Lattice& lattice, const WrappedAtoms& atoms, double radius, int64_t crystal, Ghosts& ghosts);

// The lattice shift S, in the input's cell, of a shift in the reduced cell. Throws if it does not fit 32 bits.
void reduced_to_input(const Lattice& lattice, const int64_t* shift, int32_t* out);

// The lattice shift S, in the input's cell, of the edge from ghost `ghost` to `target`:
// r = x_source - x_target + S @ cell.
inline void input_shift(const Lattice& lattice, const WrappedAtoms& atoms, const Ghosts& ghosts, int64_t ghost,
                        int64_t target, int32_t* out) {
    const int64_t* shift = &ghosts.shift[3 * static_cast<int64_t>(ghosts.image[ghost])];
    const int64_t* source_wrap = &atoms.wraps[3 * static_cast<int64_t>(ghosts.atom[ghost])];
    const int64_t* target_wrap = &atoms.wraps[3 * target];
    int64_t total[3];
    for (int a = 0; a < 3; ++a) total[a] = shift[a] - source_wrap[a] + target_wrap[a];
    if (lattice.reduced) {
        reduced_to_input(lattice, total, out);
    } else {  // then wraps and images bound it: |total| < 2^31
        for (int a = 0; a < 3; ++a) out[a] = static_cast<int32_t>(total[a]);
    }
}

}  // namespace cgfast
