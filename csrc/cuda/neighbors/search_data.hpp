// What the kernels of a neighbour search read and write: arrays in one workspace that the caller owns. No CUDA type here.
#pragma once

#include <cstdint>

#include "../../neighbors/batch.hpp"
#include "../../neighbors/lattice.hpp"
#include "../../neighbors/row.hpp"

namespace cgfast {
namespace cuda {

// A box of lattice shifts, -range ... range along each axis of the (reduced) lattice.
struct Images {
    int32_t range[3];
    int32_t n;  // how many shifts; 0: more than a search may have
};

// What the search of every atom of a crystal begins with.
struct PreparedCrystal {
    Lattice lattice;
    double first_radius;    // Å; for k nearest that of a sphere that by the crystal's density should hold them
    double largest_radius;  // Å; the cutoff, or less where no atom is that far
    Images first_images;    // of first_radius
    double extent[3];       // by how much fractional coordinates of the atoms differ
    double reach[3];        // 1 / face distances: how far, in fractional coordinates, 1 Å reaches
    double blur[3];         // more than the errors of fractional coordinates and of the boxes that atoms are in
    // Boxes of the cell list: box = (fractional - low) * boxes_per_unit along each axis.
    double low[3];
    double boxes_per_unit[3];
    int32_t n_boxes[3];  // n_boxes[0] == 0: none, every atom is looked at
};

// Bounds of the fractional coordinates of a crystal's atoms, as integers in the order of the numbers (ordered_bits()).
struct Bounds {
    uint64_t low[3], high[3];
};

// Which crystals get a cell list; by cost, except to compare.
enum class CellLists { by_cost, always, never };

struct SearchStatus {
    int64_t n_edges;
    int64_t bad_crystal;    // n_crystals minus the number of the first crystal that cannot be searched; 0: there is none
    int64_t bad_graph_ptr;  // not 0: graph_ptr is no sequence of pointers to the atoms
    int64_t n_searched_again;  // members of SearchData::again
};

// Everything, passed to kernels by value. Null where an option has no use for an array.
struct SearchData {
    CrystalBatch batch;
    int64_t n_atoms;
    NeighborOptions options;
    CellLists cell_lists;
    SearchStatus* status;

    PreparedCrystal* crystals;  // (B,)
    Bounds* bounds;             // (B,)
    int32_t* crystal_of;        // (N,)
    double* positions;          // (N, 3) Å, wrapped into the reduced cell
    float* fractional;          // (N, 3), zeros along open axes
    int32_t* wraps;             // (N, 3): positions = input - wraps @ rows

    // Cell lists, of large crystals only. Boxes of crystal b begin at graph_ptr[b] + b; the atoms of a box are
    // box_ptr[box] ... box_ptr[box + 1] - 1 of the arrays below.
    int64_t* box_ptr;         // (N + B + 2,)
    int32_t* boxed_atom;      // (N,) which atom of its crystal
    double* boxed_positions;  // (N, 3)

    // Rows. `counts` are neighbours found, `lengths` (the same array without padding) edges.
    int32_t* counts;   // (N,)
    int32_t* lengths;  // (N,)
    int64_t* sums;     // of exclusive_scan()

    // k nearest.
    bool on_chip;      // k is small enough for shared memory; else every row is searched again to be written
    int64_t slots;     // neighbours that are kept for each row, at least row_key_words + 1
    uint32_t* kept;    // (N, slots) numbers of neighbours (Images), in order; or searched_again and the row's last key
    double* radii;     // (N,) whose images number the neighbours of each row
    double* last;      // (N,) shell: distance of the k-th neighbour
    double* share;     // (N,) shell: weight of those tied with it
    int32_t* again;    // (N,) rows that are searched again
    int32_t capacity;  // keys that a warp can hold

    int64_t* row_ptr;  // (N + 1,)
    int64_t* few;      // (B,)
};

constexpr int32_t not_found_yet = -1;             // in counts: left to the kernel for long rows
constexpr uint32_t searched_again = 0xffffffffu;  // in kept: a member of `again`
constexpr int row_key_words = 6;

// Up to this many neighbours are found by sorting in shared memory; more by counting.
constexpr int64_t nearest_on_chip = 512;

}  // namespace cuda
}  // namespace cgfast
