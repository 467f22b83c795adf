// One warp, one atom: the candidates that may be its neighbours, however small or large the crystal is.
//
// Candidates come in pieces, one for each lane: the images of one atom inside a box of lattice shifts around the target
// (ImagePieces, for small crystals), or a run of boxes of one image of the cell list (BoxPieces, for large ones). The
// candidates of 32 pieces are dealt to the lanes evenly, so that neither a cell of one atom nor an uneven one leaves
// lanes idle.
#pragma once

#include <cmath>

#include "row_data.hpp"

namespace cgfast {
namespace cuda {

// What one lane brings to the candidates of a warp.
struct Piece {
    int32_t count;     // candidates
    int32_t start;     // the atom, or the first of a run of boxed atoms
    int32_t shift[3];  // the first lattice shift, or that of the run
    int32_t width[2];  // of the box of shifts, along the last two axes
};

struct Candidate {
    int32_t atom;  // of the crystal
    int32_t shift[3];
    double distance;
};

// How far, in fractional coordinates, a neighbour within `radius` can be along an axis; looser than all rounding errors.
__device__ __forceinline__ double fractional_reach(const PreparedCrystal& crystal, double radius, int axis) {
    const double reach = radius * crystal.reach[axis];
    return reach + 1e-9 * (1.0 + reach) + crystal.blur[axis];
}

__device__ __forceinline__ double measure(const Lattice& lattice, const Target& target, const double* source,
                                          const int32_t* shift) {
    double translation[3];
    lattice.translation(shift, translation);
    return pair_distance(source, target.position, translation);
}

// Piece j: all images of atom j within reach of the target along each axis.
struct ImagePieces {
    static constexpr bool boxed = false;

    const double* positions;  // of the crystal's atoms
    const float* fractional;
    float target[3];
    float reach[3];
    int32_t range[3];
    int32_t n;  // pieces

    __device__ __forceinline__ ImagePieces(const SearchData& search, const PreparedCrystal& crystal, const Target& from,
                                           const Images& images, double radius)
        : positions(search.positions + 3 * from.first_atom),
          fractional(search.fractional + 3 * from.first_atom),
          n(from.n_atoms) {
        CGFAST_CUDA_UNROLL
        for (int a = 0; a < 3; ++a) {
            target[a] = fractional[3 * static_cast<int64_t>(from.self) + a];
            range[a] = images.range[a];
            // In float32, with room for its rounding. A range is less than 2^30.
            const float wide = static_cast<float>(fractional_reach(crystal, radius, a)) * (1.0f + 1e-6f) + 2e-6f;
            reach[a] = crystal.lattice.periodic[a] ? fminf(wide, 1.5e9f) : 0.0f;
        }
    }

    __device__ __forceinline__ Piece get(int32_t atom) const {
        Piece piece = {1, atom, {0, 0, 0}, {1, 1}};
        CGFAST_CUDA_UNROLL
        for (int a = 0; a < 3; ++a) {
            const float between = target[a] - fractional[3 * static_cast<int64_t>(atom) + a];
            int32_t low = static_cast<int32_t>(ceilf(between - reach[a]));
            int32_t high = static_cast<int32_t>(floorf(between + reach[a]));
            low = low < -range[a] ? -range[a] : low;
            high = high > range[a] ? range[a] : high;
            const int32_t width = high < low ? 0 : high - low + 1;
            piece.shift[a] = low;
            piece.count *= width;
            if (a > 0) piece.width[a - 1] = width;
        }
        return piece;
    }

    // The index-th candidate of the piece of lane `owner`.
    __device__ __forceinline__ Candidate candidate(const Lattice& lattice, const Target& from, const Piece& own,
                                                   int owner, int32_t index) const {
        Candidate out;
        out.atom = shuffle(own.start, owner);
        const uint32_t width1 = static_cast<uint32_t>(shuffle(own.width[0], owner));
        const uint32_t width2 = static_cast<uint32_t>(shuffle(own.width[1], owner));
        const uint32_t row = static_cast<uint32_t>(index) / width2;
        const uint32_t plane = row / width1;
        out.shift[0] = shuffle(own.shift[0], owner) + static_cast<int32_t>(plane);
        out.shift[1] = shuffle(own.shift[1], owner) + static_cast<int32_t>(row - plane * width1);
        out.shift[2] = shuffle(own.shift[2], owner) + static_cast<int32_t>(static_cast<uint32_t>(index) - row * width2);
        out.distance = measure(lattice, from, positions + 3 * static_cast<int64_t>(out.atom), out.shift);
        return out;
    }
};

// Pieces are rows of boxes along the last axis, cut where one image ends and the next begins.
struct BoxPieces {
    static constexpr bool boxed = true;

    const int64_t* box_ptr;     // of the crystal
    const int32_t* boxed_atom;  // of the crystal
    const double* boxed_positions;
    int32_t n_boxes[3];
    int32_t low[3], high[3];  // boxes of all images, counted on from those of the home cell
    int32_t n_rows;           // along axis 1
    int32_t n_segments;       // images along axis 2
    int32_t n;                // pieces

    __device__ __forceinline__ BoxPieces(const SearchData& search, const PreparedCrystal& crystal, const Target& from,
                                         const Images& images, double radius)
        : box_ptr(search.box_ptr + from.first_atom + from.crystal),
          boxed_atom(search.boxed_atom + box_ptr[0]),
          boxed_positions(search.boxed_positions + 3 * box_ptr[0]) {
        double fractional[3];
        crystal.lattice.to_fractional(from.position, fractional);
        CGFAST_CUDA_UNROLL
        for (int a = 0; a < 3; ++a) {
            n_boxes[a] = crystal.n_boxes[a];
            const double reach = fractional_reach(crystal, radius, a);
            const double first = -static_cast<double>(images.range[a]) * n_boxes[a];
            const double last = (static_cast<double>(images.range[a]) + 1.0) * n_boxes[a] - 1.0;
            const double below = floor((fractional[a] - reach - crystal.low[a]) * crystal.boxes_per_unit[a]);
            const double above = floor((fractional[a] + reach - crystal.low[a]) * crystal.boxes_per_unit[a]);
            low[a] = static_cast<int32_t>(fmin(fmax(below, first), last));
            high[a] = static_cast<int32_t>(fmax(fmin(above, last), first));
        }
        int32_t first_box = low[2];
        int32_t last_box = high[2];
        n_rows = high[1] - low[1] + 1;
        n_segments = wrap_box(last_box, n_boxes[2]) - wrap_box(first_box, n_boxes[2]) + 1;
        n = (high[0] - low[0] + 1) * n_rows * n_segments;
    }

    // `box` of all images becomes a box of the cell; returns the image.
    __device__ __forceinline__ static int32_t wrap_box(int32_t& box, int32_t n_boxes) {
        int32_t image = box / n_boxes;
        if (box % n_boxes < 0) --image;
        box -= image * n_boxes;
        return image;
    }

    __device__ __forceinline__ Piece get(int32_t number) const {
        Piece piece = {0, 0, {0, 0, 0}, {1, 1}};
        const int32_t row = number / n_segments;
        int32_t box0 = low[0] + row / n_rows;
        int32_t box1 = low[1] + row % n_rows;
        int32_t box2 = low[2];
        piece.shift[0] = wrap_box(box0, n_boxes[0]);
        piece.shift[1] = wrap_box(box1, n_boxes[1]);
        piece.shift[2] = wrap_box(box2, n_boxes[2]) + number % n_segments;
        const int64_t origin = static_cast<int64_t>(piece.shift[2]) * n_boxes[2];
        const int64_t begin = low[2] > origin ? low[2] - origin : 0;
        const int64_t end = high[2] < origin + n_boxes[2] ? high[2] - origin + 1 : n_boxes[2];
        const int64_t boxes = (static_cast<int64_t>(box0) * n_boxes[1] + box1) * n_boxes[2];
        piece.start = static_cast<int32_t>(box_ptr[boxes + begin] - box_ptr[0]);
        piece.count = static_cast<int32_t>(box_ptr[boxes + end] - box_ptr[boxes + begin]);
        return piece;
    }

    __device__ __forceinline__ Candidate candidate(const Lattice& lattice, const Target& from, const Piece& own,
                                                   int owner, int32_t index) const {
        Candidate out;
        const int64_t place = static_cast<int64_t>(shuffle(own.start, owner)) + index;
        CGFAST_CUDA_UNROLL
        for (int a = 0; a < 3; ++a) out.shift[a] = shuffle(own.shift[a], owner);
        out.atom = boxed_atom[place];
        out.distance = measure(lattice, from, boxed_positions + 3 * place, out.shift);
        return out;
    }
};

// visit(bool valid, const Candidate&) for up to 32 candidates at a time, one a lane, until it returns false or all have
// been visited; returns whether they have. All lanes of the warp take part in every call. The target itself is not among
// the valid ones. ImagePieces come in the order of their numbers (number_of).
template <class Pieces, class Visit>
__device__ __forceinline__ bool visit_candidates(const SearchData& search, const Target& target, const Images& images,
                                                 double radius, const Visit& visit) {
    const PreparedCrystal& crystal = search.crystals[target.crystal];
    const Pieces pieces(search, crystal, target, images, radius);
    const int lane = lane_index();
    for (int64_t first = 0; first < pieces.n; first += warp_size) {
        Piece own = {0, 0, {0, 0, 0}, {1, 1}};
        if (first + lane < pieces.n) own = pieces.get(static_cast<int32_t>(first) + lane);
        int32_t before = own.count;  // in the pieces of lower lanes
        CGFAST_CUDA_UNROLL
        for (int d = 1; d < warp_size; d *= 2) {
            const int32_t other = shuffle(before, lane - d);
            if (lane >= d) before += other;
        }
        const int32_t total = shuffle(before, warp_size - 1);
        before -= own.count;
        for (int32_t done = 0; done < total; done += warp_size) {
            const bool valid = lane < total - done;
            const int32_t t = valid ? done + lane : total - 1;
            int owner = 0;  // the last lane whose piece begins at or before t
            CGFAST_CUDA_UNROLL
            for (int step = warp_size / 2; step > 0; step /= 2) {
                if (shuffle(before, owner + step) <= t) owner += step;
            }
            const int32_t index = t - shuffle(before, owner);
            const Candidate candidate = pieces.candidate(crystal.lattice, target, own, owner, index);
            const bool itself = candidate.atom == target.self && candidate.shift[0] == 0 && candidate.shift[1] == 0 &&
                                candidate.shift[2] == 0;
            if (!visit(valid && !itself, candidate)) return false;
            if (total - done <= warp_size) break;  // done could overflow
        }
    }
    return true;
}

}  // namespace cuda
}  // namespace cgfast
