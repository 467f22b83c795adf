#include "crystal_search.hpp"

#include <algorithm>
#include <cmath>
#include <numeric>

#include "../check.hpp"
#include "search_math.hpp"

namespace cgfast {
namespace {

// Above this many ghosts a walk over grid boxes beats a scan of them all (tried: 800, 1500, 3000 on MOFs and on 8 Å
// lists).
constexpr int64_t grid_threshold = 2000;

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
        volume *= open_length(high - low);
    }
    return first_nearest_radius(volume, options.max_neighbors, atoms_.n, largest_radius(options));
}

// The cutoff, or in a crystal without periodic axes the diagonal of its bounding box if that is less.
double CrystalSearch::largest_radius(const NeighborOptions& options) const {
    double radius = options.cutoff;
    if (atoms_.n > 0 && !lattice_.periodic[0] && !lattice_.periodic[1] && !lattice_.periodic[2]) {
        double extent[3];
        for (int c = 0; c < 3; ++c) extent[c] = atoms_.high[c] - atoms_.low[c];
        radius = largest_open_radius(extent, radius);
    }
    const bool ordered_by_distance = options.max_neighbors > 0 || options.sort == Sort::distance;
    CGFAST_CHECK(!ordered_by_distance || radius < max_ordered_distance,
                 "cutoff must be less than " << max_ordered_distance << " Å for neighbours in order of distance, got "
                                             << options.cutoff);
    return radius;
}

void CrystalSearch::prepare_for(const NeighborOptions& options, double radius) {
    final_ = radius >= largest_radius(options);
    find_ghosts(lattice_, atoms_, radius, crystal_, ghosts_);
    use_grid_ = ghosts_.size() > grid_threshold;
    if (use_grid_) grid_.build(ghosts_);
}

void CrystalSearch::prepare_larger(const NeighborOptions& options) {
    prepare_for(options, next_radius(ghosts_.radius, largest_radius(options)));
}

// Makes room for that many hits.
Points CrystalSearch::find_candidates(const float* target, RowScratch& scratch) const {
    int32_t n = static_cast<int32_t>(ghosts_.size());
    if (use_grid_) {
        n = grid_.find_runs(target, ghosts_.loose_radius, scratch.runs);
    } else {
        scratch.runs.assign(1, {0, n});
    }
    if (static_cast<int64_t>(scratch.hits.size()) < static_cast<int64_t>(n) + scan_padding) {
        scratch.hits.resize(static_cast<int64_t>(n) + scan_padding);
        scratch.spare.resize(n);
    }
    return use_grid_ ? grid_.points() : Points{ghosts_.x.data(), ghosts_.y.data(), ghosts_.z.data()};
}

bool CrystalSearch::find_row(int64_t target, const NeighborOptions& options, RowScratch& scratch) const {
    static const ScanFunctions functions = scan_functions(active_isa());
    const int32_t self = ghosts_.self[target];
    const float position[3] = {ghosts_.x[self], ghosts_.y[self], ghosts_.z[self]};
    const float radius = ghosts_.loose_radius;
    const Points points = find_candidates(position, scratch);
    int32_t* hits = scratch.hits.data();
    const int32_t n_hits = functions.point(points, scratch.runs.data(), static_cast<int64_t>(scratch.runs.size()),
                                           position, position, radius * radius, hits);
    if (use_grid_) {
        grid_.to_ghosts(hits, n_hits);
        // Sorting numbers now is cheaper than sorting neighbours later.
        if (options.max_neighbors == 0 && options.sort == Sort::source)
            functions.sort(hits, n_hits, scratch.spare.data());
    }
    measure(target, n_hits, scratch);
    return finish_row(options, ghosts_.radius, final_, scratch.row);
}

int64_t CrystalSearch::count_row(int64_t target, RowScratch& scratch) const {
    static const CountFunction count = scan_functions(active_isa()).count;
    const int32_t self = ghosts_.self[target];
    const float position[3] = {ghosts_.x[self], ghosts_.y[self], ghosts_.z[self]};
    const float radius = ghosts_.loose_radius;
    const Points points = find_candidates(position, scratch);
    const Counted counted = count(points, scratch.runs.data(), static_cast<int64_t>(scratch.runs.size()), position,
                                  ghosts_.tight2, radius * radius, scratch.hits.data());
    if (use_grid_) grid_.to_ghosts(scratch.hits.data(), counted.borderline);
    measure(target, counted.borderline, scratch);
    // The atom itself lies at distance 0: counted as inside unless nothing is. measure() leaves it out by its number.
    const int64_t itself = ghosts_.tight2 >= 0.0f ? 1 : 0;
    return counted.inside - itself + static_cast<int64_t>(scratch.row.neighbors.size());
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
        const double distance = pair_distance(source, center, translation);
        row[n] = {static_cast<uint64_t>(ghost), distance};
        n += (distance <= ghosts_.radius && ghost != self) ? 1 : 0;
    }
    row.resize(n);
}

std::vector<int32_t> CrystalSearch::local_order() const {
    std::vector<int32_t> order(atoms_.n);
    std::iota(order.begin(), order.end(), 0);
    if (!use_grid_) return order;
    double path = 0.0;
    for (int64_t i = 1; i < atoms_.n; ++i) {
        double step2 = 0.0;
        for (int c = 0; c < 3; ++c) {
            const double step = atoms_.positions[3 * i + c] - atoms_.positions[3 * (i - 1) + c];
            step2 += step * step;
        }
        path += std::sqrt(step2);
    }
    if (path <= ghosts_.radius * static_cast<double>(atoms_.n)) return order;
    order.clear();
    for (int32_t ghost : grid_.order()) {
        if (ghosts_.self[ghosts_.atom[ghost]] == ghost) order.push_back(ghosts_.atom[ghost]);
    }
    return order;
}

}  // namespace cgfast
