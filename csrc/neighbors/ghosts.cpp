#include "ghosts.hpp"

#include <algorithm>
#include <array>
#include <cmath>
#include <limits>
#include <numeric>
#include <utility>

#include "../check.hpp"
#include "scan.hpp"
#include "search_math.hpp"

namespace cgfast {
namespace {

// Every shift that could bring one atom within `radius` of another, as a range along each axis.
struct ShiftBox {
    int64_t low[3], high[3];
};

ShiftBox make_shift_box(const Lattice& lattice, const WrappedAtoms& atoms, double radius, int64_t crystal) {
    ShiftBox box{};
    double images = 1.0;
    for (int a = 0; a < 3; ++a) {
        if (!lattice.periodic[a]) continue;
        double smallest = std::numeric_limits<double>::infinity();
        double largest = -smallest;
        for (int64_t i = 0; i < atoms.n; ++i) {
            smallest = std::min(smallest, atoms.fractional[3 * i + a]);
            largest = std::max(largest, atoms.fractional[3 * i + a]);
        }
        const double range = image_range(largest - smallest, radius, lattice.face_distance[a]);
        images *= 2.0 * range + 1.0;
        CGFAST_CHECK(!too_many_images(images, atoms.n), "cutoff is too large for the cell of crystal "
                                                            << crystal << ": a search radius of " << radius
                                                            << " Å needs over 2^31 periodic images of its " << atoms.n
                                                            << " atoms");
        box.low[a] = -static_cast<int64_t>(range);
        box.high[a] = static_cast<int64_t>(range);
    }
    return box;
}

// Squared distance between the bounding box of the atoms and that of their image under `translation`.
double image_distance2(const WrappedAtoms& atoms, const double* translation) {
    double sum = 0.0;
    for (int c = 0; c < 3; ++c) {
        const double gap = std::max(std::fabs(translation[c]) - (atoms.high[c] - atoms.low[c]), 0.0);
        sum += gap * gap;
    }
    return sum;
}

// In a reduced cell the order of the shifts is not the order of the input's shifts: sort the images by the latter.
void sort_by_input_shift(const Lattice& lattice, std::vector<int64_t>& shifts) {
    using Shift = std::array<int64_t, 3>;
    std::vector<std::pair<Shift, Shift>> images(shifts.size() / 3);
    for (size_t m = 0; m < images.size(); ++m) {
        std::copy_n(&shifts[3 * m], 3, images[m].second.begin());
        for (int b = 0; b < 3; ++b) images[m].first[b] = lattice.input_shift(&shifts[3 * m], b);
    }
    std::sort(images.begin(), images.end());
    for (size_t m = 0; m < images.size(); ++m) std::copy_n(images[m].second.begin(), 3, &shifts[3 * m]);
}

// The images that come near, in the order of the input's shifts. Returns the number of the atoms' own image.
int32_t find_images(const Lattice& lattice, const WrappedAtoms& atoms, double radius, int64_t crystal, Ghosts& ghosts) {
    const ShiftBox box = make_shift_box(lattice, atoms, radius, crystal);
    const double reach = radius * (1.0 + 1e-6);
    for (int64_t s0 = box.low[0]; s0 <= box.high[0]; ++s0) {
        for (int64_t s1 = box.low[1]; s1 <= box.high[1]; ++s1) {
            for (int64_t s2 = box.low[2]; s2 <= box.high[2]; ++s2) {
                const int64_t shift[3] = {s0, s1, s2};
                double translation[3];
                lattice.translation(shift, translation);
                if (image_distance2(atoms, translation) > reach * reach) continue;
                ghosts.shift.insert(ghosts.shift.end(), shift, shift + 3);
            }
        }
    }
    if (lattice.reduced) sort_by_input_shift(lattice, ghosts.shift);
    const size_t n_images = ghosts.shift.size() / 3;
    ghosts.translation.resize(3 * n_images);
    int32_t home = 0;
    for (size_t m = 0; m < n_images; ++m) {
        const int64_t* shift = &ghosts.shift[3 * m];
        lattice.translation(shift, &ghosts.translation[3 * m]);
        if (shift[0] == 0 && shift[1] == 0 && shift[2] == 0) home = static_cast<int32_t>(m);
    }
    return home;
}

// Working memory of one thread.
struct Scratch {
    std::vector<float> x, y, z;               // the atoms relative to the center
    std::vector<int32_t> hits;                // atoms of one image
    std::vector<int32_t> atom, image, place;  // the ghosts, image by image; where each atom's ghosts go
};

// For each image, the atoms whose image lies within reach of the bounding box of all atoms.
void collect(const WrappedAtoms& atoms, const Ghosts& ghosts, Scratch& scratch) {
    static const ScanFunction scan = scan_functions(active_isa()).box;
    const int32_t n = static_cast<int32_t>(atoms.n);
    for (std::vector<float>* coordinates : {&scratch.x, &scratch.y, &scratch.z}) coordinates->resize(n + scan_padding);
    for (int32_t j = 0; j < n; ++j) {
        scratch.x[j] = static_cast<float>(atoms.positions[3 * j] - ghosts.center[0]);
        scratch.y[j] = static_cast<float>(atoms.positions[3 * j + 1] - ghosts.center[1]);
        scratch.z[j] = static_cast<float>(atoms.positions[3 * j + 2] - ghosts.center[2]);
    }
    scratch.hits.resize(n + scan_padding);
    scratch.atom.clear();
    scratch.image.clear();
    const Run all = {0, n};
    const size_t n_images = ghosts.translation.size() / 3;
    for (size_t m = 0; m < n_images; ++m) {
        float low[3];
        float high[3];
        for (int c = 0; c < 3; ++c) {
            low[c] = static_cast<float>((atoms.low[c] - ghosts.center[c]) - ghosts.translation[3 * m + c]);
            high[c] = static_cast<float>((atoms.high[c] - ghosts.center[c]) - ghosts.translation[3 * m + c]);
        }
        const int32_t n_hits = scan({scratch.x.data(), scratch.y.data(), scratch.z.data()}, &all, 1, low, high,
                                    ghosts.loose_radius * ghosts.loose_radius, scratch.hits.data());
        scratch.atom.insert(scratch.atom.end(), scratch.hits.begin(), scratch.hits.begin() + n_hits);
        scratch.image.resize(scratch.atom.size(), static_cast<int32_t>(m));
    }
}

// Numbers the collected ghosts by (atom, image): a counting sort.
void number_ghosts(const WrappedAtoms& atoms, int32_t home, Scratch& scratch, Ghosts& ghosts) {
    const size_t n = scratch.atom.size();
    CGFAST_CHECK(n < static_cast<size_t>(max_ghosts), "cutoff must leave fewer than 2^31 periodic images, got " << n);
    scratch.place.assign(atoms.n + 1, 0);
    for (int32_t atom : scratch.atom) ++scratch.place[atom + 1];
    std::partial_sum(scratch.place.begin(), scratch.place.end(), scratch.place.begin());
    for (std::vector<float>* coordinates : {&ghosts.x, &ghosts.y, &ghosts.z}) coordinates->resize(n + scan_padding);
    ghosts.atom.resize(n);
    ghosts.image.resize(n);
    ghosts.self.resize(atoms.n);
    for (size_t h = 0; h < n; ++h) {
        const int64_t j = scratch.atom[h];
        const int64_t m = scratch.image[h];
        const int32_t g = scratch.place[j]++;
        // The center goes first: far from the origin the sum with a translation would lose digits.
        ghosts.atom[g] = static_cast<int32_t>(j);
        ghosts.image[g] = static_cast<int32_t>(m);
        ghosts.x[g] = static_cast<float>((atoms.positions[3 * j] - ghosts.center[0]) + ghosts.translation[3 * m]);
        ghosts.y[g] = static_cast<float>((atoms.positions[3 * j + 1] - ghosts.center[1]) + ghosts.translation[3 * m + 1]);
        ghosts.z[g] = static_cast<float>((atoms.positions[3 * j + 2] - ghosts.center[2]) + ghosts.translation[3 * m + 2]);
        if (m == home) ghosts.self[j] = g;
    }
}

void check_atom(const AtomFault& fault, const double* position, int64_t atom, int64_t crystal) {
    CGFAST_CHECK(fault.kind != AtomFault::not_finite, "positions must be finite, got ("
                                                          << position[0] << ", " << position[1] << ", " << position[2]
                                                          << ") for atom " << atom << " of crystal " << crystal);
    CGFAST_CHECK(fault.kind != AtomFault::too_far, "positions must lie within 10^15 Å of the origin, got "
                                                       << fault.value << " for atom " << atom << " of crystal "
                                                       << crystal);
    CGFAST_CHECK(fault.kind != AtomFault::too_many_cells,
                 "positions must lie within 2.5 * 10^8 cells of the origin, got atom "
                     << atom << " of crystal " << crystal << " " << fault.value << " cells away");
}

}  // namespace

void wrap_atoms(const Lattice& lattice, const double* positions, int64_t n, int64_t crystal, WrappedAtoms& atoms) {
    atoms.n = n;
    atoms.positions.resize(3 * n);
    atoms.fractional.resize(3 * n);
    atoms.wraps.resize(3 * n);
    std::fill_n(atoms.low, 3, std::numeric_limits<double>::infinity());
    std::fill_n(atoms.high, 3, -std::numeric_limits<double>::infinity());
    for (int64_t i = 0; i < n; ++i) {
        const double* position = positions + 3 * i;
        const AtomFault fault = wrap_atom(lattice, position, &atoms.wraps[3 * i], &atoms.positions[3 * i]);
        check_atom(fault, position, i, crystal);
        for (int c = 0; c < 3; ++c) {
            const double wrapped = atoms.positions[3 * i + c];
            atoms.low[c] = std::min(atoms.low[c], wrapped);
            atoms.high[c] = std::max(atoms.high[c], wrapped);
        }
        // Not fractional - wrap: far from the origin only this agrees with the wrapped position to rounding.
        lattice.to_fractional(&atoms.positions[3 * i], &atoms.fractional[3 * i]);
    }
}

void find_ghosts(const Lattice& lattice, const WrappedAtoms& atoms, double radius, int64_t crystal, Ghosts& ghosts) {
    thread_local Scratch scratch;
    ghosts.clear();
    ghosts.radius = radius;
    if (atoms.n == 0) return;
    CGFAST_CHECK(atoms.n < max_ghosts, "crystal " << crystal << " must have fewer than 2^31 atoms, got " << atoms.n);
    double extent = 0.0;
    for (int c = 0; c < 3; ++c) {
        ghosts.center[c] = 0.5 * (atoms.low[c] + atoms.high[c]);
        extent = std::max(extent, 0.5 * (atoms.high[c] - atoms.low[c]) + radius);
    }
    ghosts.loose_radius = static_cast<float>(radius * (1.0 + 1e-6) + 1e-6 * extent);
    // Not where squares would leave the range of float32.
    const double tight = radius * (1.0 - 1e-6) - 1e-6 * extent;
    ghosts.tight2 = tight > 1e-12 && tight < 1e12 ? static_cast<float>(tight * tight) : -1.0f;
    const int32_t home = find_images(lattice, atoms, radius, crystal, ghosts);
    collect(atoms, ghosts, scratch);
    number_ghosts(atoms, home, scratch, ghosts);
}

void reduced_to_input(const Lattice& lattice, const int64_t* shift, int32_t* out) {
    for (int b = 0; b < 3; ++b) {
        const int64_t s = lattice.input_shift(shift, b);
        CGFAST_CHECK(fits_32_bits(s),
                     "positions must lie closer to the cell: a lattice shift of " << s << " does not fit 32 bits");
        out[b] = static_cast<int32_t>(s);
    }
}

}  // namespace cgfast
