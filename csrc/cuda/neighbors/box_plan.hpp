// Whether a crystal gets a cell list, and how its boxes are cut: by cost.
#pragma once

#include <cmath>

#include "../../neighbors/search_math.hpp"
#include "../launch.hpp"
#include "search_data.hpp"

namespace cgfast {
namespace cuda {

// Instructions of a warp, counted in the code: to deal out 32 pieces, and to measure 32 candidates. Not measured on a
// GPU.
constexpr double cost_of_pieces = 110.0;
constexpr double cost_of_candidates = 150.0;

// Looking at `pieces` pieces that hold `candidates`: 32 at a time, but each 32 pieces on their own.
__device__ __forceinline__ double row_cost(double pieces, double candidates) {
    const double turns = ceil(pieces / warp_size);
    return turns * cost_of_pieces + fmax(turns, candidates / warp_size) * cost_of_candidates;
}

// `volume`: as for first_nearest_radius(). Sets low, boxes_per_unit and n_boxes if a cell list pays.
__device__ __forceinline__ void plan_boxes(const SearchData& search, int64_t n_atoms, double volume,
                                           PreparedCrystal& crystal) {
    const double radius = crystal.first_radius;
    const double n = static_cast<double>(n_atoms);
    double length[3];  // Å, of what the boxes divide
    double width[3];   // Å, of a box; narrower along the last axis, where boxes that follow one another are one run
    double count[3];
    for (int a = 0; a < 3; ++a) {
        const bool periodic = crystal.lattice.periodic[a];
        length[a] = periodic ? crystal.lattice.face_distance[a] : crystal.extent[a] * crystal.lattice.face_distance[a];
        width[a] = fmax(radius, 1e-3) / (a < 2 ? 3.0 : 6.0);
    }
    // Never more boxes than atoms, however empty the cell is.
    for (;;) {
        for (int a = 0; a < 3; ++a) count[a] = fmax(floor(length[a] / width[a]), 1.0);
        if (count[0] * count[1] * count[2] <= n) break;
        for (int a = 0; a < 3; ++a) width[a] *= 1.26;
    }
    double image_candidates = n;
    double boxed_candidates = n;
    double rows = 1.0;
    for (int a = 0; a < 3; ++a) {
        const bool periodic = crystal.lattice.periodic[a];
        double boxes = 2.0 * radius / fmax(length[a], 1e-3) * count[a] + 1.0;  // along this axis, near an atom
        if (!periodic) boxes = fmin(boxes, count[a]);
        boxed_candidates *= boxes / count[a];
        if (a < 2) rows *= boxes;
        if (periodic) image_candidates *= 2.0 * radius / length[a];
    }
    double boxed_cost = row_cost(rows, boxed_candidates);
    if (search.options.max_neighbors == 0) {  // rows then need sorting
        const double found = n / volume * 4.2 * radius * radius * radius;
        const double log_found = log2(fmax(found, 2.0));
        boxed_cost += found / warp_size * log_found * log_found * 5.0;
    }
    if (search.cell_lists == CellLists::by_cost && !(boxed_cost < row_cost(n, image_candidates))) return;
    for (int a = 0; a < 3; ++a) {
        const double span = crystal.lattice.periodic[a] ? 1.0 : crystal.extent[a];
        if (crystal.lattice.periodic[a]) crystal.low[a] = -0.5;
        crystal.n_boxes[a] = static_cast<int32_t>(count[a]);
        crystal.boxes_per_unit[a] = span > 0.0 ? count[a] / span : 0.0;
    }
}

}  // namespace cuda
}  // namespace cgfast
