// The neighbour search of one crystal: prepare() for a radius, then any row, from any thread.
#pragma once

#include <cstdint>
#include <vector>

#include "cell_grid.hpp"
#include "ghosts.hpp"
#include "row.hpp"

namespace cgfast {

// What one thread needs to build rows; kept from row to row so that nothing is allocated in the loop.
struct RowScratch {
    std::vector<int32_t> hits;
    Row row;
};

class CrystalSearch {
public:
    void set_crystal(const double* positions, const double* cell, const uint8_t* pbc, int64_t n_atoms, int64_t crystal);

    // The radius to begin with: the largest, or for k-nearest a sphere that by the crystal's density should hold them.
    double first_radius(const NeighborOptions& options) const;

    // The next one to try, at most largest_radius().
    double next_radius(const NeighborOptions& options, double radius) const;

    // Lists the ghosts within `radius`, sorted into a grid if there are many.
    void prepare(const NeighborOptions& options, double radius);

    // Leaves the edges of atom `target` in scratch.row; false if `radius` was too small for a k-nearest row.
    bool find_row(int64_t target, const NeighborOptions& options, RowScratch& scratch) const;

    void shift(int64_t ghost, int64_t target, int32_t* out) const {
        input_shift(lattice_, atoms_, ghosts_, ghost, target, out);
    }
    int32_t source(int64_t ghost) const { return ghosts_.atom[ghost]; }

    // Atoms in an order that keeps neighbours together: that of the grid, if there is one.
    std::vector<int32_t> spatial_order() const;

private:
    double largest_radius(const NeighborOptions& options) const;
    void measure(int64_t target, int32_t n_hits, RowScratch& scratch) const;

    int64_t crystal_ = 0;
    Lattice lattice_{};
    WrappedAtoms atoms_;
    Ghosts ghosts_;
    CellGrid grid_;
    bool use_grid_ = false;
    bool final_ = false;  // prepared for the largest radius
};

}  // namespace cgfast
