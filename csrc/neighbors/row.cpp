#include "row.hpp"

#include <algorithm>
#include <cmath>

#include "search_math.hpp"

namespace cgfast {
namespace {

constexpr int ghost_bits = 31;

// Objects, not functions: the sorts then compare without a call.
constexpr auto by_key = [](const Neighbor& a, const Neighbor& b) { return a.key < b.key; };
constexpr auto by_distance = [](const Neighbor& a, const Neighbor& b) { return a.distance < b.distance; };

void add_distance_to_keys(std::vector<Neighbor>& neighbors) {
    for (Neighbor& neighbor : neighbors) {
        neighbor.key |= rounded_distance(neighbor.distance) << ghost_bits;
    }
}

void remove_distance_from_keys(std::vector<Neighbor>& neighbors) {
    for (Neighbor& neighbor : neighbors) neighbor.key = static_cast<uint64_t>(neighbor.ghost());
}

// Exactly the k first in canonical order.
bool cut_canonical(int64_t k, double radius, bool final, std::vector<Neighbor>& row) {
    std::nth_element(row.begin(), row.begin() + (k - 1), row.end(), by_key);
    row.resize(k);
    double largest = 0.0;
    for (const Neighbor& neighbor : row) largest = std::max(largest, neighbor.distance);
    return final || largest + distance_resolution <= radius;
}

// All within the tolerance of the k-th; those tied with it share the places that the closer ones leave.
bool cut_shell(int64_t k, const NeighborOptions& options, double radius, bool final, Row& row) {
    std::vector<Neighbor>& neighbors = row.neighbors;
    std::nth_element(neighbors.begin(), neighbors.begin() + (k - 1), neighbors.end(), by_distance);
    const double last = neighbors[k - 1].distance;
    if (!final && last + options.tolerance > radius) return false;
    const auto beyond = [&](const Neighbor& n) { return n.distance > last + options.tolerance; };
    neighbors.erase(std::remove_if(neighbors.begin(), neighbors.end(), beyond), neighbors.end());
    row.tied_from = last - options.tolerance;
    const int64_t closer =
        std::count_if(neighbors.begin(), neighbors.end(), [&](const Neighbor& n) { return n.distance < row.tied_from; });
    row.share = static_cast<double>(k - closer) / static_cast<double>(static_cast<int64_t>(neighbors.size()) - closer);
    return true;
}

}  // namespace

bool finish_row(const NeighborOptions& options, double radius, bool final, Row& row) {
    const int64_t k = options.max_neighbors;
    const bool enough = static_cast<int64_t>(row.neighbors.size()) >= k;
    row.share = 1.0;
    if (k > 0 && !enough && !final) return false;
    const bool by_place = options.sort == Sort::source;
    if (k > 0 || !by_place) add_distance_to_keys(row.neighbors);
    if (k > 0 && enough) {
        const bool complete =
            options.shell ? cut_shell(k, options, radius, final, row) : cut_canonical(k, radius, final, row.neighbors);
        if (!complete) return false;
    }
    if (k > 0 && by_place) remove_distance_from_keys(row.neighbors);
    if (!std::is_sorted(row.neighbors.begin(), row.neighbors.end(), by_key)) {
        std::sort(row.neighbors.begin(), row.neighbors.end(), by_key);
    }
    return true;
}

}  // namespace cgfast
