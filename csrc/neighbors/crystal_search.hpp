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
    std::vector<Run> runs;  // candidates, of which the hits are those within the radius
    std::vector<int32_t> hits, spare;
    Row row;
};

class CrystalSearch {
public:
    void set_crystal(const double* positions, const double* cell, const uint8_t* pbc, int64_t n_atoms, int64_t crystal);

    // Lists the ghosts within the radius to begin with, sorted into a grid if there are many. That radius is the largest
    // that could be needed, or for k-nearest that of a sphere that by the crystal's density should hold them.
    void prepare(const NeighborOptions& options) { prepare_for(options, first_radius(options)); }

    // The same for the next radius to try, at most the largest.
    void prepare_larger(const NeighborOptions& options);

    // Leaves the edges of atom `target` in scratch.row; false if the radius was too small for a k-nearest row.
    bool find_row(int64_t target, const NeighborOptions& options, RowScratch& scratch) const;

    // How many neighbours find_row() would find in a radius list, without measuring more than a few of them.
    int64_t count_row(int64_t target, RowScratch& scratch) const;

    void shift(int64_t ghost, int64_t target, int32_t* out) const {
        input_shift(lattice_, atoms_, ghosts_, ghost, target, out);
    }
    int32_t source(int64_t ghost) const { return ghosts_.atom[ghost]; }

    // Atoms in an order in which each is near the one before: their own, where it is like that already (rows are then
    // written one after the other), or else that of the grid.
    std::vector<int32_t> local_order() const;

private:
    double largest_radius(const NeighborOptions& options) const;
    double first_radius(const NeighborOptions& options) const;
    void prepare_for(const NeighborOptions& options, double radius);
    Points find_candidates(const float* target, RowScratch& scratch) const;
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
