#include "prepare.hpp"

#include <cmath>

#include "../../neighbors/make_lattice.hpp"
#include "../scan.hpp"
#include "box_plan.hpp"
#include "row_data.hpp"

namespace cgfast {
namespace cuda {
namespace {

constexpr int threads = 128;

int64_t blocks_for(int64_t n) { return (n + threads - 1) / threads; }

__device__ __forceinline__ int64_t thread_number() { return static_cast<int64_t>(blockIdx.x) * blockDim.x + threadIdx.x; }

// One thread for each crystal, and one more that looks at both ends of graph_ptr.
__global__ void __launch_bounds__(threads) make_lattices(const SearchData search) {
    const int64_t b = thread_number();
    const int64_t n_crystals = search.batch.n_crystals;
    const int64_t* graph_ptr = search.batch.graph_ptr;
    if (b == n_crystals && (graph_ptr[0] != 0 || graph_ptr[n_crystals] != search.n_atoms)) {
        search.status->bad_graph_ptr = 1;
    }
    if (b >= n_crystals) return;
    if (graph_ptr[b] > graph_ptr[b + 1]) search.status->bad_graph_ptr = 1;
    const CellFault fault =
        try_make_lattice(search.batch.cells + 9 * b, search.batch.pbc + 3 * b, search.crystals[b].lattice);
    if (fault.kind != CellFault::none) report_crystal(search, b);
    for (int a = 0; a < 3; ++a) {
        search.bounds[b].low[a] = ~uint64_t(0);
        search.bounds[b].high[a] = 0;
    }
}

__device__ __forceinline__ int64_t find_crystal(const SearchData& search, int64_t atom) {
    const int64_t* graph_ptr = search.batch.graph_ptr;
    int64_t low = 0;  // graph_ptr[low] <= atom < graph_ptr[high]
    int64_t high = search.batch.n_crystals;
    while (high - low > 1) {
        const int64_t middle = low + (high - low) / 2;
        if (graph_ptr[middle] <= atom) {
            low = middle;
        } else {
            high = middle;
        }
    }
    return low;
}

// Widens the bounds of crystals by the atoms of a warp, which follow one another: the last lane of each crystal brings
// what those before it have. crystal < 0: no atom. Minima and maxima do not depend on the order.
__device__ __forceinline__ void widen_bounds(const SearchData& search, int32_t crystal, const double* fractional) {
    const int lane = lane_index();
    const int32_t next = shuffle(crystal, lane + 1);
    const bool last = lane == warp_size - 1 || next != crystal;
    CGFAST_CUDA_UNROLL
    for (int a = 0; a < 3; ++a) {
        uint64_t low = ordered_bits(fractional[a]);
        uint64_t high = low;
        CGFAST_CUDA_UNROLL
        for (int d = 1; d < warp_size; d *= 2) {
            const int32_t other = shuffle(crystal, lane - d);
            const uint64_t other_low = shuffle(low, lane - d);
            const uint64_t other_high = shuffle(high, lane - d);
            if (lane < d || other != crystal) continue;
            low = other_low < low ? other_low : low;
            high = other_high > high ? other_high : high;
        }
        if (!last || crystal < 0) continue;
        atomic_min(&search.bounds[crystal].low[a], low);
        atomic_max(&search.bounds[crystal].high[a], high);
    }
}

// One thread for each atom.
__global__ void __launch_bounds__(threads) wrap_atoms(const SearchData search) {
    if (any(failed(search))) return;
    const int64_t i = thread_number();
    double fractional[3] = {0.0, 0.0, 0.0};
    int32_t crystal = -1;
    if (i < search.n_atoms) {
        const int64_t b = find_crystal(search, i);
        const Lattice& lattice = search.crystals[b].lattice;
        double wrapped[3] = {0.0, 0.0, 0.0};
        int32_t wraps[3] = {0, 0, 0};
        const AtomFault fault = wrap_atom(lattice, search.batch.positions + 3 * i, wraps, wrapped);
        if (fault.kind != AtomFault::none) report_crystal(search, b);
        lattice.to_fractional(wrapped, fractional);
        crystal = static_cast<int32_t>(b);
        search.crystal_of[i] = crystal;
        for (int c = 0; c < 3; ++c) {
            search.positions[3 * i + c] = wrapped[c];
            search.wraps[3 * i + c] = wraps[c];
            search.fractional[3 * i + c] = lattice.periodic[c] ? static_cast<float>(fractional[c]) : 0.0f;
        }
    }
    widen_bounds(search, crystal, fractional);
}

// One thread for each crystal: what its atoms' bounds decide.
__global__ void __launch_bounds__(threads) plan_crystals(const SearchData search, bool with_boxes) {
    const int64_t b = thread_number();
    if (b >= search.batch.n_crystals || failed(search)) return;
    PreparedCrystal& crystal = search.crystals[b];
    const Lattice& lattice = crystal.lattice;
    const int64_t n = search.batch.graph_ptr[b + 1] - search.batch.graph_ptr[b];
    double volume = lattice.volume;
    double size[3] = {0.0, 0.0, 0.0};  // bounds of any Cartesian coordinate
    bool open = true;
    for (int a = 0; a < 3; ++a) {
        const double low = n > 0 ? from_ordered_bits(search.bounds[b].low[a]) : 0.0;
        const double high = n > 0 ? from_ordered_bits(search.bounds[b].high[a]) : 0.0;
        crystal.low[a] = low;
        crystal.extent[a] = high - low;
        crystal.reach[a] = 1.0 / lattice.face_distance[a];
        crystal.n_boxes[a] = 0;
        if (!lattice.periodic[a]) volume *= open_length(high - low);
        open = open && !lattice.periodic[a];
        for (int c = 0; c < 3; ++c) size[c] += fmax(fabs(low), fabs(high)) * fabs(lattice.rows[a][c]);
    }
    const NeighborOptions& options = search.options;
    // Without periodic axes the rows are those of the unit matrix: fractional coordinates are Cartesian ones.
    const double cutoff = options.cutoff;
    crystal.largest_radius = open && n > 0 ? largest_open_radius(crystal.extent, cutoff) : cutoff;
    const bool ordered = options.max_neighbors > 0 || options.sort == Sort::distance;
    crystal.first_radius = crystal.largest_radius;
    if (options.max_neighbors > 0 && n > 0) {
        crystal.first_radius = first_nearest_radius(volume, options.max_neighbors, n, crystal.largest_radius);
    }
    for (int a = 0; a < 3; ++a) {
        const double error = size[0] * fabs(lattice.inverse[0][a]) + size[1] * fabs(lattice.inverse[1][a]) +
                             size[2] * fabs(lattice.inverse[2][a]);
        crystal.blur[a] = 4e-15 * error;
        // Far from the origin, wrapping leaves atoms beyond the faces of the cell, but boxes end there.
        if (n > 0 && lattice.periodic[a]) {
            crystal.blur[a] += fmax(fmax(-0.5 - crystal.low[a], crystal.low[a] + crystal.extent[a] - 0.5), 0.0);
        }
    }
    crystal.first_images = make_images(crystal, n, crystal.first_radius);
    const bool too_many = n > 0 && (crystal.first_images.n == 0 || n >= max_ghosts);
    if ((ordered && !(crystal.largest_radius < max_ordered_distance)) || too_many) {
        report_crystal(search, b);
    } else if (with_boxes && n > 0 && (n >= fewest_boxed_atoms || search.cell_lists == CellLists::always)) {
        plan_boxes(search, n, volume, crystal);
    }
}

// Which box an atom is in, or -1 if its crystal has none. One thread for each atom.
__device__ __forceinline__ int64_t box_of(const SearchData& search, int64_t atom) {
    const int64_t b = search.crystal_of[atom];
    const PreparedCrystal& crystal = search.crystals[b];
    if (crystal.n_boxes[0] == 0) return -1;
    double fractional[3];
    crystal.lattice.to_fractional(search.positions + 3 * atom, fractional);
    int64_t box = 0;
    for (int a = 0; a < 3; ++a) {
        const double place = floor((fractional[a] - crystal.low[a]) * crystal.boxes_per_unit[a]);
        box = box * crystal.n_boxes[a] + static_cast<int64_t>(fmin(fmax(place, 0.0), crystal.n_boxes[a] - 1.0));
    }
    return search.batch.graph_ptr[b] + b + box;
}

__global__ void __launch_bounds__(threads) count_boxed_atoms(const SearchData search) {
    const int64_t i = thread_number();
    if (i >= search.n_atoms || failed(search)) return;
    const int64_t box = box_of(search, i);
    if (box >= 0) atomic_add(search.box_ptr + box + 1, int64_t(1));
}

// Moves box_ptr[box + 1] from the begin of the box to its end. The order of atoms inside a box is left open: rows are
// sorted by keys that all differ.
__global__ void __launch_bounds__(threads) place_boxed_atoms(const SearchData search) {
    const int64_t i = thread_number();
    if (i >= search.n_atoms || failed(search)) return;
    const int64_t box = box_of(search, i);
    if (box < 0) return;
    const int64_t place = atomic_add(search.box_ptr + box + 1, int64_t(1));
    search.boxed_atom[place] = static_cast<int32_t>(i - search.batch.graph_ptr[search.crystal_of[i]]);
    for (int c = 0; c < 3; ++c) search.boxed_positions[3 * place + c] = search.positions[3 * i + c];
}

}  // namespace

void prepare_crystals(const SearchData& search, bool with_boxes, Stream stream) {
    const int64_t n_crystals = search.batch.n_crystals;
    const int64_t atom_blocks = blocks_for(search.n_atoms);
    launch("make_lattices", make_lattices, blocks_for(n_crystals + 1), threads, 0, stream, search);
    launch("wrap_atoms", wrap_atoms, atom_blocks, threads, 0, stream, search);
    launch("plan_crystals", plan_crystals, blocks_for(n_crystals), threads, 0, stream, search, with_boxes);
    if (!with_boxes) return;
    const int64_t n_boxes = search.n_atoms + n_crystals;
    CGFAST_CUDA_CHECK(cudaMemsetAsync(search.box_ptr, 0, static_cast<size_t>(n_boxes + 2) * sizeof(int64_t),
                                      static_cast<cudaStream_t>(stream)));
    launch("count_boxed_atoms", count_boxed_atoms, atom_blocks, threads, 0, stream, search);
    exclusive_scan(search.box_ptr + 1, n_boxes, search.box_ptr + 1, search.sums, stream);
    launch("place_boxed_atoms", place_boxed_atoms, atom_blocks, threads, 0, stream, search);
}

}  // namespace cuda
}  // namespace cgfast
