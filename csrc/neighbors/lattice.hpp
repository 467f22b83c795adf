// The cell of one crystal, prepared for a neighbour search: periodic rows reduced to short vectors (so that the cost of a
// search does not depend on which cell a user happened to choose), open axes completed with unit normals.
#pragma once

#include <cstdint>

#include "../host_device.hpp"

namespace cgfast {

struct Lattice {
    double rows[3][3];        // reduced lattice vectors, Å; unit normals on open axes
    double inverse[3][3];     // fractional = cartesian * inverse
    double face_distance[3];  // Å between opposite faces
    int64_t to_input[3][3];   // rows[a] = sum_b to_input[a][b] * (row b of the input cell)
    double volume;            // Å^3; with unit lengths along open axes
    bool periodic[3];
    bool reduced;  // false: rows are the input's own

    CGFAST_HOST_DEVICE void to_fractional(const double* cartesian, double* fractional) const {
        for (int a = 0; a < 3; ++a) {
            fractional[a] = cartesian[0] * inverse[0][a] + cartesian[1] * inverse[1][a] + cartesian[2] * inverse[2][a];
        }
    }

    // The translation shift @ rows, summed in a fixed order so that translation(-s) == -translation(s) in every bit.
    template <class Integer>
    CGFAST_HOST_DEVICE void translation(const Integer* shift, double* out) const {
        for (int c = 0; c < 3; ++c) {
            out[c] = static_cast<double>(shift[0]) * rows[0][c] + static_cast<double>(shift[1]) * rows[1][c] +
                     static_cast<double>(shift[2]) * rows[2][c];
        }
    }

    // Component `b` of the input's lattice shift that is `shift` in these rows.
    template <class Integer>
    CGFAST_HOST_DEVICE int64_t input_shift(const Integer* shift, int b) const {
        return shift[0] * to_input[0][b] + shift[1] * to_input[1][b] + shift[2] * to_input[2][b];
    }
};

// Why a cell has no lattice.
struct CellFault {
    enum Kind { none, not_finite, no_volume } kind;
    int row;         // not_finite: where
    double value;    // not_finite: the number there; no_volume: the volume of the rows ...
    double lengths;  // ... and their lengths multiplied
};

// `cell`: 9 doubles, rows are lattice vectors; `pbc`: 3 flags. Rows of open axes are not read. Throws
// std::invalid_argument for values that are not finite or periodic rows that span no volume; `crystal` names the culprit.
Lattice make_lattice(const double* cell, const uint8_t* pbc, int64_t crystal);

}  // namespace cgfast
