#include "ghosts.hpp"

#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>

#include "../check.hpp"

namespace cgfast {
namespace {

constexpr int64_t max_ghosts = std::numeric_limits<int32_t>::max();

// The images that can matter, as a box of shifts along each axis.
struct ShiftBox {
    int64_t low[3], high[3];
    double margin_low[3], margin_high[3];  // fractional range that a ghost must fall into

    int64_t count(int axis) const { return high[axis] - low[axis] + 1; }
    int64_t index(int64_t s0, int64_t s1, int64_t s2) const {
        return ((s0 - low[0]) * count(1) + (s1 - low[1])) * count(2) + (s2 - low[2]);
    }
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
        const double reach = radius / lattice.face_distance[a];
        const double slack = 1e-9 * (1.0 + reach);
        box.margin_low[a] = smallest - reach - slack;
        box.margin_high[a] = largest + reach + slack;
        const double low = std::ceil(box.margin_low[a] - largest);
        const double high = std::floor(box.margin_high[a] - smallest);
        images *= high - low + 1.0;
        CGFAST_CHECK(images * static_cast<double>(std::max<int64_t>(atoms.n, 1)) < static_cast<double>(max_ghosts),
                     "cutoff is too large for the cell of crystal "
                         << crystal << ": a search radius of " << radius << " Å needs over 2^31 periodic images of its "
                         << atoms.n << " atoms");
        box.low[a] = static_cast<int64_t>(low);
        box.high[a] = static_cast<int64_t>(high);
    }
    return box;
}

void fill_image_tables(const Lattice& lattice, const ShiftBox& box, Ghosts& ghosts) {
    const int64_t n_images = box.count(0) * box.count(1) * box.count(2);
    ghosts.translation.resize(3 * n_images);
    ghosts.shift.resize(3 * n_images);
    int64_t m = 0;
    for (int64_t s0 = box.low[0]; s0 <= box.high[0]; ++s0) {
        for (int64_t s1 = box.low[1]; s1 <= box.high[1]; ++s1) {
            for (int64_t s2 = box.low[2]; s2 <= box.high[2]; ++s2, ++m) {
                const int64_t shift[3] = {s0, s1, s2};
                std::copy(shift, shift + 3, &ghosts.shift[3 * m]);
                lattice.translation(shift, &ghosts.translation[3 * m]);
            }
        }
    }
}

// Appends the images of atom `j` that lie within `reach` of the bounding box of all atoms.
void append_images(const Lattice& lattice, const WrappedAtoms& atoms, const ShiftBox& box, int64_t j, double reach,
                   Ghosts& ghosts) {
    int64_t first[3] = {0, 0, 0};
    int64_t last[3] = {0, 0, 0};
    for (int a = 0; a < 3; ++a) {
        if (!lattice.periodic[a]) continue;
        const double fractional = atoms.fractional[3 * j + a];
        first[a] = std::max(box.low[a], static_cast<int64_t>(std::ceil(box.margin_low[a] - fractional)));
        last[a] = std::min(box.high[a], static_cast<int64_t>(std::floor(box.margin_high[a] - fractional)));
    }
    for (int64_t s0 = first[0]; s0 <= last[0]; ++s0) {
        for (int64_t s1 = first[1]; s1 <= last[1]; ++s1) {
            int64_t m = box.index(s0, s1, first[2]);
            for (int64_t s2 = first[2]; s2 <= last[2]; ++s2, ++m) {
                double outside = 0.0;  // squared distance from the bounding box
                double relative[3];
                for (int c = 0; c < 3; ++c) {
                    const double g = atoms.positions[3 * j + c] + ghosts.translation[3 * m + c];
                    const double beyond = std::max(std::max(atoms.low[c] - g, g - atoms.high[c]), 0.0);
                    outside += beyond * beyond;
                    relative[c] = g - ghosts.center[c];
                }
                if (outside > reach * reach) continue;
                ghosts.x.push_back(static_cast<float>(relative[0]));
                ghosts.y.push_back(static_cast<float>(relative[1]));
                ghosts.z.push_back(static_cast<float>(relative[2]));
                ghosts.atom.push_back(static_cast<int32_t>(j));
                ghosts.image.push_back(static_cast<int32_t>(m));
            }
        }
    }
}

// In a reduced cell the loop order over shifts is not the order of the input's shifts: renumber.
void order_by_input_shift(const Lattice& lattice, Ghosts& ghosts) {
    const int64_t n_images = static_cast<int64_t>(ghosts.shift.size()) / 3;
    std::vector<int64_t> input(3 * n_images);
    for (int64_t m = 0; m < n_images; ++m) {
        for (int b = 0; b < 3; ++b) {
            for (int a = 0; a < 3; ++a) input[3 * m + b] += ghosts.shift[3 * m + a] * lattice.to_input[a][b];
        }
    }
    std::vector<int32_t> order(ghosts.atom.size());
    std::iota(order.begin(), order.end(), 0);
    std::sort(order.begin(), order.end(), [&](int32_t g, int32_t h) {
        if (ghosts.atom[g] != ghosts.atom[h]) return ghosts.atom[g] < ghosts.atom[h];
        const int64_t* first = &input[3 * static_cast<int64_t>(ghosts.image[g])];
        const int64_t* second = &input[3 * static_cast<int64_t>(ghosts.image[h])];
        return std::lexicographical_compare(first, first + 3, second, second + 3);
    });
    const auto permute = [&order](auto& values) {
        auto old = values;
        for (size_t g = 0; g < order.size(); ++g) values[g] = old[order[g]];
    };
    permute(ghosts.x);
    permute(ghosts.y);
    permute(ghosts.z);
    permute(ghosts.image);  // `atom` is sorted already and stays as it is
}

void find_selves(const ShiftBox& box, Ghosts& ghosts, int64_t n) {
    const int64_t home = box.index(0, 0, 0);
    ghosts.self.assign(n, -1);
    for (int64_t g = 0; g < ghosts.size(); ++g) {
        if (ghosts.image[g] == home) ghosts.self[ghosts.atom[g]] = static_cast<int32_t>(g);
    }
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
        CGFAST_CHECK(std::isfinite(position[0]) && std::isfinite(position[1]) && std::isfinite(position[2]),
                     "positions must be finite, got (" << position[0] << ", " << position[1] << ", " << position[2]
                                                       << ") for atom " << i << " of crystal " << crystal);
        for (int c = 0; c < 3; ++c) {
            CGFAST_CHECK(std::fabs(position[c]) < 1e15, "positions must lie within 10^15 Å of the origin, got "
                                                            << position[c] << " for atom " << i << " of crystal " << crystal);
        }
        double fractional[3];
        double translation[3];
        lattice.to_fractional(position, fractional);
        for (int a = 0; a < 3; ++a) {
            const double wrap = lattice.periodic[a] ? std::floor(fractional[a]) : 0.0;
            CGFAST_CHECK(std::fabs(wrap) < 1e9, "positions must lie within 10^9 cells of the origin, got atom "
                                                    << i << " of crystal " << crystal << " " << wrap << " cells away");
            atoms.wraps[3 * i + a] = static_cast<int64_t>(wrap);
        }
        lattice.translation(&atoms.wraps[3 * i], translation);
        for (int c = 0; c < 3; ++c) {
            const double wrapped = position[c] - translation[c];
            atoms.positions[3 * i + c] = wrapped;
            atoms.low[c] = std::min(atoms.low[c], wrapped);
            atoms.high[c] = std::max(atoms.high[c], wrapped);
        }
        // Not fractional - wrap: far from the origin only this agrees with the wrapped position to rounding.
        lattice.to_fractional(&atoms.positions[3 * i], &atoms.fractional[3 * i]);
    }
}

void find_ghosts(const Lattice& lattice, const WrappedAtoms& atoms, double radius, int64_t crystal, Ghosts& ghosts) {
    ghosts.clear();
    ghosts.radius = radius;
    if (atoms.n == 0) return;
    CGFAST_CHECK(atoms.n < max_ghosts, "crystal " << crystal << " must have fewer than 2^31 atoms, got " << atoms.n);
    const ShiftBox box = make_shift_box(lattice, atoms, radius, crystal);
    fill_image_tables(lattice, box, ghosts);
    double extent = 0.0;
    for (int c = 0; c < 3; ++c) {
        ghosts.center[c] = 0.5 * (atoms.low[c] + atoms.high[c]);
        extent = std::max(extent, 0.5 * (atoms.high[c] - atoms.low[c]) + radius);
    }
    ghosts.loose_radius = static_cast<float>(radius * (1.0 + 1e-6) + 1e-6 * extent);
    const double reach = radius * (1.0 + 1e-9) + 1e-9 * extent;
    for (int64_t j = 0; j < atoms.n; ++j) append_images(lattice, atoms, box, j, reach, ghosts);
    if (lattice.reduced) order_by_input_shift(lattice, ghosts);
    find_selves(box, ghosts, atoms.n);
}

void input_shift(const Lattice& lattice, const WrappedAtoms& atoms, const Ghosts& ghosts, int64_t ghost, int64_t target,
                 int32_t* out) {
    const int64_t* shift = &ghosts.shift[3 * static_cast<int64_t>(ghosts.image[ghost])];
    const int64_t* source_wrap = &atoms.wraps[3 * static_cast<int64_t>(ghosts.atom[ghost])];
    const int64_t* target_wrap = &atoms.wraps[3 * target];
    int64_t total[3];
    for (int a = 0; a < 3; ++a) total[a] = shift[a] - source_wrap[a] + target_wrap[a];
    for (int b = 0; b < 3; ++b) {
        int64_t s = total[b];
        if (lattice.reduced) {
            s = 0;
            for (int a = 0; a < 3; ++a) s += total[a] * lattice.to_input[a][b];
        }
        CGFAST_CHECK(s >= std::numeric_limits<int32_t>::min() && s <= std::numeric_limits<int32_t>::max(),
                     "a lattice shift of " << s << " does not fit 32 bits: wrap the positions into the cell first");
        out[b] = static_cast<int32_t>(s);
    }
}

}  // namespace cgfast
