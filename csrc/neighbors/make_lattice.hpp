// From a cell to its Lattice, on the CPU and on the GPU with the same bits (no contraction of floating-point operations).
#pragma once

#include <cmath>
#include <cstdint>

#include "lattice.hpp"

namespace cgfast {
namespace make_lattice_detail {

CGFAST_HOST_DEVICE double dot(const double* a, const double* b) { return a[0] * b[0] + a[1] * b[1] + a[2] * b[2]; }

CGFAST_HOST_DEVICE void cross(const double* a, const double* b, double* out) {
    out[0] = a[1] * b[2] - a[2] * b[1];
    out[1] = a[2] * b[0] - a[0] * b[2];
    out[2] = a[0] * b[1] - a[1] * b[0];
}

CGFAST_HOST_DEVICE void normalize(double* v) {
    const double length = std::sqrt(dot(v, v));
    for (int c = 0; c < 3; ++c) v[c] /= length;
}

// Replaces row `a` by row `a` + sum_b n[b] * row b if that is clearly shorter. Clearly: a mere rounding difference must
// not trigger a change, and cells that are nearly reduced are better left as the user wrote them.
CGFAST_HOST_DEVICE bool shorten(Lattice& lattice, int a, const int64_t* n) {
    double candidate[3];
    for (int c = 0; c < 3; ++c) {
        candidate[c] = lattice.rows[a][c];
        for (int b = 0; b < 3; ++b) candidate[c] += static_cast<double>(n[b]) * lattice.rows[b][c];
    }
    if (!(dot(candidate, candidate) < 0.9 * dot(lattice.rows[a], lattice.rows[a]))) return false;
    for (int c = 0; c < 3; ++c) {
        lattice.rows[a][c] = candidate[c];
        for (int b = 0; b < 3; ++b) lattice.to_input[a][c] += n[b] * lattice.to_input[b][c];
    }
    return true;
}

// By a multiple of one other row.
CGFAST_HOST_DEVICE bool shorten_by(Lattice& lattice, int a, int other) {
    if (!lattice.periodic[other]) return false;
    const double n =
        -std::rint(dot(lattice.rows[a], lattice.rows[other]) / dot(lattice.rows[other], lattice.rows[other]));
    if (n == 0 || !(std::fabs(n) < 1e9)) return false;
    int64_t combination[3] = {0, 0, 0};
    combination[other] = static_cast<int64_t>(n);
    return shorten(lattice, a, combination);
}

CGFAST_HOST_DEVICE bool reduce_once(Lattice& lattice) {
    bool changed = false;
    for (int a = 0; a < 3; ++a) {
        if (!lattice.periodic[a]) continue;
        const int b = (a + 1) % 3;
        const int c = (a + 2) % 3;
        changed |= shorten_by(lattice, a, b);
        changed |= shorten_by(lattice, a, c);
        if (!lattice.periodic[b] || !lattice.periodic[c]) continue;
        for (int64_t nb = -1; nb <= 1; nb += 2) {
            for (int64_t nc = -1; nc <= 1; nc += 2) {
                int64_t combination[3] = {0, 0, 0};
                combination[b] = nb;
                combination[c] = nc;
                changed |= shorten(lattice, a, combination);
            }
        }
    }
    return changed;
}

CGFAST_HOST_DEVICE void reduce(Lattice& lattice, const double* cell) {
    lattice.reduced = false;
    while (reduce_once(lattice)) lattice.reduced = true;
    if (!lattice.reduced) return;
    // Once more from the input, so that the rounding errors of the steps do not pile up.
    for (int a = 0; a < 3; ++a) {
        if (!lattice.periodic[a]) continue;
        for (int c = 0; c < 3; ++c) {
            lattice.rows[a][c] = 0.0;
            for (int b = 0; b < 3; ++b) {  // 0 * NaN is NaN: rows of open axes stay out of the sum
                if (lattice.periodic[b])
                    lattice.rows[a][c] += static_cast<double>(lattice.to_input[a][b]) * cell[3 * b + c];
            }
        }
    }
}

CGFAST_HOST_DEVICE void complete_open_axes(Lattice& lattice) {
    int n_periodic = 0;
    for (int a = 0; a < 3; ++a) n_periodic += lattice.periodic[a] ? 1 : 0;
    if (n_periodic == 3) return;
    if (n_periodic == 0) {
        for (int a = 0; a < 3; ++a) {
            for (int c = 0; c < 3; ++c) lattice.rows[a][c] = a == c ? 1.0 : 0.0;
        }
        return;
    }
    for (int a = 0; a < 3; ++a) {
        double* next = lattice.rows[(a + 1) % 3];
        double* last = lattice.rows[(a + 2) % 3];
        if (n_periodic == 2 && !lattice.periodic[a]) {
            cross(next, last, lattice.rows[a]);
            normalize(lattice.rows[a]);
        }
        if (n_periodic == 1 && lattice.periodic[a]) {
            int smallest = 0;
            for (int c = 1; c < 3; ++c) {
                if (std::fabs(lattice.rows[a][c]) < std::fabs(lattice.rows[a][smallest])) smallest = c;
            }
            const double axis[3] = {smallest == 0 ? 1.0 : 0.0, smallest == 1 ? 1.0 : 0.0, smallest == 2 ? 1.0 : 0.0};
            cross(lattice.rows[a], axis, next);
            normalize(next);
            cross(lattice.rows[a], next, last);
            normalize(last);
        }
    }
}

}  // namespace make_lattice_detail

// make_lattice() without exceptions: unless the fault is `none`, `lattice` is of no use.
CGFAST_HOST_DEVICE CellFault try_make_lattice(const double* cell, const uint8_t* pbc, Lattice& lattice) {
    using namespace make_lattice_detail;
    double scale = 1.0;
    for (int a = 0; a < 3; ++a) {
        lattice.periodic[a] = pbc[a] != 0;
        for (int b = 0; b < 3; ++b) {
            lattice.rows[a][b] = 0.0;
            lattice.to_input[a][b] = a == b ? 1 : 0;
        }
        if (!lattice.periodic[a]) continue;
        for (int c = 0; c < 3; ++c) {
            lattice.rows[a][c] = cell[3 * a + c];
            if (!std::isfinite(lattice.rows[a][c])) return {CellFault::not_finite, a, lattice.rows[a][c], 0.0};
        }
        scale *= std::sqrt(dot(lattice.rows[a], lattice.rows[a]));
    }
    // Open axes get unit normals, so the determinant below is the length, area or volume of the periodic rows.
    Lattice plain = lattice;
    complete_open_axes(plain);
    double normal[3];
    cross(plain.rows[1], plain.rows[2], normal);
    const double volume = std::fabs(dot(plain.rows[0], normal));
    if (!(scale > 1e-12 && volume > 1e-9 * scale)) return {CellFault::no_volume, 0, volume, scale};
    reduce(lattice, cell);
    complete_open_axes(lattice);

    cross(lattice.rows[1], lattice.rows[2], normal);
    const double determinant = dot(lattice.rows[0], normal);
    lattice.volume = std::fabs(determinant);
    for (int a = 0; a < 3; ++a) {
        cross(lattice.rows[(a + 1) % 3], lattice.rows[(a + 2) % 3], normal);
        for (int c = 0; c < 3; ++c) lattice.inverse[c][a] = normal[c] / determinant;
        lattice.face_distance[a] = std::fabs(determinant) / std::sqrt(dot(normal, normal));
    }
    return {CellFault::none, 0, 0.0, 0.0};
}

}  // namespace cgfast
