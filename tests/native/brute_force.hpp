// The oracle of the neighbour tests: every pair and every image, measured one by one in long double, with no cell
// reduction, no wrapping and no float32. Shares no code with csrc/.
#pragma once

#include <algorithm>
#include <array>
#include <cmath>
#include <cstdint>
#include <vector>

namespace oracle {

struct Crystal {
    std::array<double, 9> cell{};  // rows are lattice vectors; rows of open axes are never read
    std::array<uint8_t, 3> pbc{};
    std::vector<double> positions;  // (n, 3)

    int64_t n() const { return static_cast<int64_t>(positions.size()) / 3; }
};

struct Edge {
    int64_t target = 0;
    int64_t source = 0;
    std::array<int64_t, 3> shift{};
    double distance = 0;
    double weight = 1;
};

inline bool by_source(const Edge& a, const Edge& b) {
    if (a.source != b.source) return a.source < b.source;
    return a.shift < b.shift;
}

inline bool by_distance(const Edge& a, const Edge& b) {
    const double bin_a = std::rint(a.distance / 1e-6);
    const double bin_b = std::rint(b.distance / 1e-6);
    return bin_a != bin_b ? bin_a < bin_b : by_source(a, b);
}

using Vector = std::array<long double, 3>;

inline long double dot(const Vector& a, const Vector& b) { return a[0] * b[0] + a[1] * b[1] + a[2] * b[2]; }

inline Vector cross(const Vector& a, const Vector& b) {
    return {a[1] * b[2] - a[2] * b[1], a[2] * b[0] - a[0] * b[2], a[0] * b[1] - a[1] * b[0]};
}

// The dual vectors of the periodic rows inside the space that they span (zero for open axes): the coefficient of a vector
// along row a is its dot product with dual a, and is at most |vector| |dual a|.
inline std::array<Vector, 3> duals(const std::array<Vector, 3>& rows, const std::array<uint8_t, 3>& pbc) {
    std::array<Vector, 3> dual{};
    for (int a = 0; a < 3; ++a) {
        if (!pbc[a]) continue;
        const int b = (a + 1) % 3;
        const int c = (a + 2) % 3;
        Vector direction = rows[a];  // the part of row a that is normal to the other periodic rows
        if (pbc[b] && pbc[c]) {
            direction = cross(rows[b], rows[c]);
        } else if (pbc[b] || pbc[c]) {
            const Vector& other = pbc[b] ? rows[b] : rows[c];
            const long double share = dot(rows[a], other) / dot(other, other);
            for (int i = 0; i < 3; ++i) direction[i] -= share * other[i];
        }
        const long double scale = dot(rows[a], direction);
        for (int i = 0; i < 3; ++i) dual[a][i] = direction[i] / scale;
    }
    return dual;
}

// Appends the edges source -> target with distance <= cutoff, in order of shifts.
inline void append_pair(const Crystal& crystal, const std::array<Vector, 3>& rows, const std::array<Vector, 3>& dual,
                        int64_t target, int64_t source, double cutoff, std::vector<Edge>& out) {
    Vector between{};
    for (int c = 0; c < 3; ++c) {
        between[c] = static_cast<long double>(crystal.positions[3 * source + c]) - crystal.positions[3 * target + c];
    }
    int64_t low[3] = {0, 0, 0};
    int64_t high[3] = {0, 0, 0};
    for (int a = 0; a < 3; ++a) {
        if (!crystal.pbc[a]) continue;
        const long double middle = -dot(between, dual[a]);
        const long double reach = cutoff * std::sqrt(dot(dual[a], dual[a])) + 1e-6L;
        low[a] = static_cast<int64_t>(std::ceil(middle - reach));
        high[a] = static_cast<int64_t>(std::floor(middle + reach));
    }
    for (int64_t s0 = low[0]; s0 <= high[0]; ++s0) {
        for (int64_t s1 = low[1]; s1 <= high[1]; ++s1) {
            for (int64_t s2 = low[2]; s2 <= high[2]; ++s2) {
                if (source == target && s0 == 0 && s1 == 0 && s2 == 0) continue;
                Vector r{};
                for (int c = 0; c < 3; ++c) r[c] = between[c] + (s0 * rows[0][c] + s1 * rows[1][c] + s2 * rows[2][c]);
                const long double distance = std::sqrt(dot(r, r));
                if (distance <= cutoff) out.push_back({target, source, {s0, s1, s2}, static_cast<double>(distance), 1.0});
            }
        }
    }
}

// One vector of edges for each atom, in (source, shift) order.
inline std::vector<std::vector<Edge>> radius_rows(const Crystal& crystal, double cutoff) {
    std::array<Vector, 3> rows{};
    for (int a = 0; a < 3; ++a) {
        for (int c = 0; c < 3 && crystal.pbc[a]; ++c) rows[a][c] = crystal.cell[3 * a + c];
    }
    const std::array<Vector, 3> dual = duals(rows, crystal.pbc);
    std::vector<std::vector<Edge>> result(crystal.n());
    for (int64_t i = 0; i < crystal.n(); ++i) {
        for (int64_t j = 0; j < crystal.n(); ++j) append_pair(crystal, rows, dual, i, j, cutoff, result[i]);
    }
    return result;
}

// The k nearest of a row in canonical order; with `shell` all that tie with the last, sharing the places left.
inline std::vector<Edge> nearest(std::vector<Edge> row, int64_t k, bool shell, double tolerance) {
    std::sort(row.begin(), row.end(), by_distance);
    if (static_cast<int64_t>(row.size()) < k) return row;
    if (!shell) {
        row.resize(k);
        return row;
    }
    std::vector<double> distances;
    for (const Edge& edge : row) distances.push_back(edge.distance);
    std::nth_element(distances.begin(), distances.begin() + (k - 1), distances.end());
    const double last = distances[k - 1];
    row.erase(std::remove_if(row.begin(), row.end(), [&](const Edge& e) { return e.distance > last + tolerance; }),
              row.end());
    const auto tied = [&](const Edge& e) { return std::fabs(e.distance - last) <= tolerance; };
    const int64_t n_tied = std::count_if(row.begin(), row.end(), tied);
    const int64_t closer = static_cast<int64_t>(row.size()) - n_tied;
    for (Edge& edge : row) {
        if (tied(edge)) edge.weight = static_cast<double>(k - closer) / static_cast<double>(n_tied);
    }
    return row;
}

}  // namespace oracle
