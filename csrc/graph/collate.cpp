#include "collate.hpp"

#include <algorithm>
#include <cstring>
#include <vector>

#include "../check.hpp"
#include "../thread_pool.hpp"

namespace cgfast {
namespace {

constexpr int64_t crystals_per_task = 16;
constexpr int64_t edges_worth_threads = 1 << 17;  // below, waking a thread costs what it saves

struct Range {
    int64_t first, size;
};

Range range(const char* name, const int64_t* pointers, int64_t crystal, int64_t limit) {
    const int64_t first = pointers[crystal];
    const int64_t last = pointers[crystal + 1];
    CGFAST_CHECK(0 <= first && first <= last && last <= limit, name << " must rise from 0 to " << limit << ", got "
                                                                    << first << " and " << last << " for crystal "
                                                                    << crystal);
    return {first, last - first};
}

void copy_values(const void* from, int64_t first, int64_t size, int64_t value_bytes, void* to, int64_t place) {
    if (from == nullptr || to == nullptr || size == 0) return;
    std::memcpy(static_cast<char*>(to) + place * value_bytes, static_cast<const char*>(from) + first * value_bytes,
                size * value_bytes);
}

void check_degrees(const int32_t* degree, const Range& atoms, const Range& edges, int64_t crystal) {
    int64_t total = 0;
    bool positive = true;
    for (int64_t i = 0; i < atoms.size; ++i) {
        total += degree[atoms.first + i];
        positive = positive && degree[atoms.first + i] >= 0;
    }
    CGFAST_CHECK(positive && total == edges.size,
                 "degree must add up to the " << edges.size << " edges of crystal " << crystal << ", got " << total);
}

// One crystal: its atoms become atom, atom + 1, ... of the batch, its edges edge, edge + 1, ...
void copy_crystal(const StoredGraphs& stored, int64_t crystal, int64_t atom, int64_t edge, const CollatedGraph& out) {
    const Range atoms = range("graph_ptr", stored.graph_ptr, crystal, stored.n_atoms);
    const Range edges = range("edge_ptr", stored.edge_ptr, crystal, stored.n_edges);
    check_degrees(stored.degree, atoms, edges, crystal);
    int64_t next = edge;
    for (int64_t i = 0; i < atoms.size; ++i) {
        const int64_t degree = stored.degree[atoms.first + i];
        out.atomic_numbers[atom + i] = stored.atomic_numbers[atoms.first + i];
        out.row_ptr[atom + i] = next;
        std::fill_n(out.target + next, degree, atom + i);
        next += degree;
    }
    const int32_t* source = stored.source + edges.first;
    for (int64_t e = 0; e < edges.size; ++e) out.source[edge + e] = atom + source[e];
    copy_values(stored.distances, edges.first, edges.size, stored.value_bytes, out.distances, edge);
    copy_values(stored.edge_weight, edges.first, edges.size, stored.value_bytes, out.edge_weight, edge);
}

}  // namespace

void collate(const StoredGraphs& stored, const int64_t* indices, int64_t n_indices, const CollatedGraph& out,
             int n_threads) {
    std::vector<int64_t> edge_ptr(n_indices + 1);
    out.graph_ptr[0] = 0;
    for (int64_t b = 0; b < n_indices; ++b) {
        const int64_t crystal = indices[b];
        CGFAST_CHECK(0 <= crystal && crystal < stored.n_crystals,
                     "indices must lie in [0, " << stored.n_crystals << "), got " << crystal);
        out.graph_ptr[b + 1] = out.graph_ptr[b] + range("graph_ptr", stored.graph_ptr, crystal, stored.n_atoms).size;
        edge_ptr[b + 1] = edge_ptr[b] + range("edge_ptr", stored.edge_ptr, crystal, stored.n_edges).size;
    }
    CGFAST_CHECK(out.graph_ptr[n_indices] == out.n_atoms && edge_ptr[n_indices] == out.n_edges,
                 "the batch must have room for " << out.graph_ptr[n_indices] << " atoms and " << edge_ptr[n_indices]
                                                 << " edges, got " << out.n_atoms << " and " << out.n_edges);
    out.row_ptr[out.n_atoms] = out.n_edges;
    const int64_t n_tasks = (n_indices + crystals_per_task - 1) / crystals_per_task;
    parallel_for(n_tasks, out.n_edges < edges_worth_threads ? 1 : n_threads, [&](int64_t task) {
        const int64_t last = std::min(n_indices, (task + 1) * crystals_per_task);
        for (int64_t b = task * crystals_per_task; b < last; ++b)
            copy_crystal(stored, indices[b], out.graph_ptr[b], edge_ptr[b], out);
    });
}

}  // namespace cgfast
