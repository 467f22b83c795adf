// Crystals to search, and how a test asks for their neighbours: for NeighborSearch on the CPU and on the GPU.
#pragma once

#include <cmath>
#include <limits>
#include <utility>
#include <vector>

#include "brute_force.hpp"
#include "neighbors/neighbor_search.hpp"
#include "testing.hpp"

namespace neighbor_samples {

using cgfast::NeighborOptions;
using cgfast::Sort;
using oracle::Crystal;
using testing::Random;

constexpr double not_a_number = std::numeric_limits<double>::quiet_NaN();
constexpr double infinity = std::numeric_limits<double>::infinity();

inline NeighborOptions options(double cutoff, int64_t k = 0, bool shell = false, int threads = 1) {
    NeighborOptions result;
    result.cutoff = cutoff;
    result.max_neighbors = k;
    result.shell = shell;
    result.tolerance = 1e-3;
    result.sort = k > 0 ? Sort::distance : Sort::source;
    result.n_threads = threads;
    return result;
}

// Arrays of exactly the size that fill() may write, so that the address sanitizer sees one element too many.
struct Lists {
    std::vector<int64_t> source, target, row_ptr, few;
    std::vector<int32_t> shifts;
    std::vector<double> distances, weights;

    Lists(int64_t n_edges, int64_t n_atoms, int64_t n_crystals)
        : source(n_edges, -1),
          target(n_edges, -1),
          row_ptr(n_atoms + 1, -1),
          few(n_crystals, -1),
          shifts(3 * n_edges, -1000000),
          distances(n_edges, not_a_number),
          weights(n_edges, not_a_number) {}
    Lists() = default;

    cgfast::NeighborArrays arrays() {
        return {source.data(),  target.data(),  shifts.data(), distances.data(),
                weights.data(), row_ptr.data(), few.data()};
    }

    bool operator==(const Lists& other) const {
        return source == other.source && target == other.target && row_ptr == other.row_ptr && few == other.few &&
               shifts == other.shifts && distances == other.distances && weights == other.weights;
    }
};

// Crystals one after the other, as a search wants them.
struct Batch {
    std::vector<double> positions, cells;
    std::vector<uint8_t> pbc;
    std::vector<int64_t> graph_ptr = {0};

    explicit Batch(const std::vector<Crystal>& crystals) {
        for (const Crystal& crystal : crystals) {
            positions.insert(positions.end(), crystal.positions.begin(), crystal.positions.end());
            cells.insert(cells.end(), crystal.cell.begin(), crystal.cell.end());
            pbc.insert(pbc.end(), crystal.pbc.begin(), crystal.pbc.end());
            graph_ptr.push_back(graph_ptr.back() + crystal.n());
        }
    }

    int64_t n_crystals() const { return static_cast<int64_t>(graph_ptr.size()) - 1; }
    int64_t n_atoms() const { return graph_ptr.back(); }
    cgfast::CrystalBatch arrays() const {
        return {positions.data(), cells.data(), pbc.data(), graph_ptr.data(), n_crystals()};
    }
};

inline Lists search(const std::vector<Crystal>& crystals, const NeighborOptions& wanted) {
    const Batch batch(crystals);
    cgfast::NeighborSearch found(batch.arrays(), wanted);
    Lists out(found.n_edges(), batch.n_atoms(), batch.n_crystals());
    found.fill(out.arrays());
    return out;
}

inline double determinant(const std::array<double, 9>& m) {
    return m[0] * (m[4] * m[8] - m[5] * m[7]) - m[1] * (m[3] * m[8] - m[5] * m[6]) + m[2] * (m[3] * m[7] - m[4] * m[6]);
}

// A cell with rows of the given lengths whose volume is at least a fifth of a box's.
inline std::array<double, 9> random_cell(Random& random, double a, double b, double c) {
    const double lengths[3] = {a, b, c};
    for (;;) {
        std::array<double, 9> cell{};
        for (int row = 0; row < 3; ++row) {
            double norm = 0.0;
            for (int i = 0; i < 3; ++i) {
                cell[3 * row + i] = random.uniform(-1.0, 1.0);
                norm += cell[3 * row + i] * cell[3 * row + i];
            }
            for (int i = 0; i < 3; ++i) cell[3 * row + i] *= lengths[row] / std::sqrt(norm);
        }
        if (std::fabs(determinant(cell)) > 0.2 * a * b * c) return cell;
    }
}

inline void place_atoms(Random& random, int64_t n, double spread, Crystal& crystal) {
    for (int64_t i = 0; i < n; ++i) {
        double fractional[3];
        for (double& f : fractional) f = random.uniform(-spread, spread);
        for (int c = 0; c < 3; ++c) {
            double x = 0.0;
            for (int a = 0; a < 3; ++a) x += fractional[a] * crystal.cell[3 * a + c];
            crystal.positions.push_back(x);
        }
    }
}

// The rows of open axes hold a number that would matter if it were read.
inline void open_axes(unsigned open, Crystal& crystal, double left_over = 0.37) {
    for (int a = 0; a < 3; ++a) {
        crystal.pbc[a] = (open >> a & 1u) == 0 ? 1 : 0;
        for (int c = 0; c < 3 && crystal.pbc[a] == 0; ++c) crystal.cell[3 * a + c] = left_over;
    }
}

inline Crystal random_crystal(Random& random, int64_t n, const double* lengths, double spread, unsigned open) {
    Crystal crystal;
    crystal.cell = random_cell(random, lengths[0], lengths[1], lengths[2]);
    place_atoms(random, n, spread, crystal);
    open_axes(open, crystal);
    return crystal;
}

}  // namespace neighbor_samples
