#include "crystal_search.hpp"

#include <algorithm>
#include <cmath>
#include <numeric>

#include "../check.hpp"

namespace cgfast {
namespace {

// Above this many ghosts a walk over grid boxes beats a scan of them all (measured: benchmarks/README.md).
constexpr int64_t grid_threshold = 3000;

// How much larger than the sphere of k atoms at the mean density the first search sphere is. Larger: more candidates for
// every atom; smaller: more atoms need a second search.
constexpr double density_margin = 1.15;
constexpr double radius_growth = 1.3;

constexpr double max_ordered_distance = 8000.0;  // Å: in steps of 1e-6 Å it must fit the 33 upper bits of a key

}  // namespace

void CrystalSearch::set_crystal(const double* positions, const double* cell, const uint8_t* pbc, int64_t n_atoms,
                                int64_t crystal) {
    crystal_ = crystal;
    lattice_ = make_lattice(cell, pbc, crystal);
    wrap_atoms(lattice_, positions, n_atoms, crystal, atoms_);
}

double CrystalSearch::first_radius(const NeighborOptions& options) const {
    if (options.max_neighbors == 0 || atoms_.n == 0) return largest_radius(options);
    double volume = lattice_.volume;
    for (int a = 0; a < 3; ++a) {
        if (lattice_.periodic[a]) continue;
        double low = 0.0;
        double high = 0.0;
        for (int64_t i = 0; i < atoms_.n; ++i) {
            const double height = atoms_.fractional[3 * i + a];
            low = i == 0 ? height : std::min(low, height);
            high = i == 0 ? height : std::max(high, height);
        }
        volume *= std::max(high - low, 2.0);
    }
    const double volume_of_k = volume * static_cast<double>(options.max_neighbors) / static_cast<double>(atoms_.n);
    const double radius = density_margin * std::cbrt(volume_of_k * 3.0 / (4.0 * M_PI));
    return std::min(largest_radius(options), std::max(radius, 1e-3));
}

double CrystalSearch::next_radius(const NeighborOptions& options, double radius) const {
    return std::min(largest_radius(options), radius * radius_growth);
}

// The cutoff, or in a crystal without periodic axes the diagonal of its bounding box if that is less.
double CrystalSearch::largest_radius(const NeighborOptions& options) const {
    double radius = options.cutoff;
    if (atoms_.n > 0 && !lattice_.periodic[0] && !lattice_.periodic[1] && !lattice_.periodic[2]) {
        double diagonal2 = 0.0;
        for (int c = 0; c < 3; ++c) diagonal2 += (atoms_.high[c] - atoms_.low[c]) * (atoms_.high[c] - atoms_.low[c]);
        radius = std::min(radius, std::sqrt(diagonal2) * (1.0 + 1e-6) + 1e-6);
    }
    const bool ordered_by_distance = options.max_neighbors > 0 || options.sort == Sort::distance;
    CGFAST_CHECK(!ordered_by_distance || radius < max_ordered_distance,
                 "cutoff must be less than " << max_ordered_distance << " Å for neighbours in order of distance, got "
                                             << options.cutoff);
    return radius;
}

void CrystalSearch::prepare(const NeighborOptions& options, double radius) {
    final_ = radius >= largest_radius(options);
    find_ghosts(lattice_, atoms_, radius, crystal_, ghosts_);
    use_grid_ = ghosts_.size() > grid_threshold;
    if (use_grid_) grid_.build(ghosts_);
}

bool CrystalSearch::find_row(int64_t target, const NeighborOptions& options, RowScratch& scratch) const {
    static const ScanFunction scan = scan_functions(active_isa()).point;
    const int32_t self = ghosts_.self[target];
    const float position[3] = {ghosts_.x[self], ghosts_.y[self], ghosts_.z[self]};
    const float radius = ghosts_.loose_radius;
    int32_t n_hits = 0;
    if (use_grid_) {
        n_hits = grid_.scan(scan, position, radius, scratch.hits);
    } else {
        const int32_t n = static_cast<int32_t>(ghosts_.size());
        scratch.hits.resize(n + scan_padding);
        n_hits = scan({ghosts_.x.data(), ghosts_.y.data(), ghosts_.z.data(), 0, n}, position, position, radius * radius,
                      scratch.hits.data());
    }
    measure(target, n_hits, scratch);
    return finish_row(options, ghosts_.radius, final_, scratch.row);
}

// float64 distances of the hits; keeps those within the radius, without the atom itself.
void CrystalSearch::measure(int64_t target, int32_t n_hits, RowScratch& scratch) const {
    const int32_t self = ghosts_.self[target];
    const double* center = &atoms_.positions[3 * target];
    std::vector<Neighbor>& row = scratch.row.neighbors;
    row.resize(n_hits);
    int32_t n = 0;
    for (int32_t h = 0; h < n_hits; ++h) {
        const int32_t ghost = scratch.hits[h];
        const double* source = &atoms_.positions[3 * static_cast<int64_t>(ghosts_.atom[ghost])];
        const double* translation = &ghosts_.translation[3 * static_cast<int64_t>(ghosts_.image[ghost])];
        // (source - target) + translation: the pair seen from the other end has exactly the opposite sign in every step,
        // so both directions have the same distance to the last bit and a cutoff keeps both or none.
        const double x = (source[0] - center[0]) + translation[0];
        const double y = (source[1] - center[1]) + translation[1];
        const double z = (source[2] - center[2]) + translation[2];
        const double distance = std::sqrt(x * x + y * y + z * z);
        row[n] = {static_cast<uint64_t>(ghost), distance};
        n += (distance <= ghosts_.radius && ghost != self) ? 1 : 0;
    }
    row.resize(n);
}

std::vector<int32_t> CrystalSearch::spatial_order() const {
    std::vector<int32_t> order;
    order.reserve(atoms_.n);
    if (use_grid_) {
        for (int32_t ghost : grid_.order()) {
            if (ghosts_.self[ghosts_.atom[ghost]] == ghost) order.push_back(ghosts_.atom[ghost]);
        }
    } else {
        order.resize(atoms_.n);
        std::iota(order.begin(), order.end(), 0);
    }
    return order;
}

}  // namespace cgfast
