#include "neighbor_search.hpp"

#include <algorithm>
#include <cmath>

#include "../check.hpp"
#include "../thread_pool.hpp"
#include "crystal_search.hpp"

namespace cgfast {
namespace {

constexpr int64_t atoms_per_task = 256;      // small crystals are handed out in groups of about this many atoms
constexpr int64_t large_crystal = 1024;      // from here on the atoms of one crystal are shared among threads
constexpr int64_t rows_per_task = 512;


void check_options(const CrystalBatch& batch, const NeighborOptions& options) {
    CGFAST_CHECK(std::isfinite(options.cutoff) && options.cutoff > 0,
                 "cutoff must be a positive number of Å, got " << options.cutoff);
    CGFAST_CHECK(std::isfinite(options.tolerance) && options.tolerance >= 0,
                 "tolerance must be zero or a positive number of Å, got " << options.tolerance);
    CGFAST_CHECK(options.n_threads >= 1, "threads must be at least 1, got " << options.n_threads);
    CGFAST_CHECK(batch.graph_ptr[0] == 0, "graph_ptr must begin with 0, got " << batch.graph_ptr[0]);
    for (int64_t b = 0; b < batch.n_crystals; ++b) {
        CGFAST_CHECK(batch.graph_ptr[b] <= batch.graph_ptr[b + 1],
                     "graph_ptr must not decrease, got " << batch.graph_ptr[b] << " before " << batch.graph_ptr[b + 1]);
    }
}

}  // namespace

NeighborSearch::NeighborSearch(const CrystalBatch& batch, const NeighborOptions& options) : options_(options) {
    check_options(batch, options);
    graph_ptr_.assign(batch.graph_ptr, batch.graph_ptr + batch.n_crystals + 1);
    rows_.resize(graph_ptr_.back());

    // Groups of small crystals; they depend on the batch alone, never on the number of threads.
    std::vector<int64_t> bounds;
    std::vector<int64_t> large;
    int64_t group_atoms = 0;
    for (int64_t b = 0; b < batch.n_crystals; ++b) {
        const int64_t n = graph_ptr_[b + 1] - graph_ptr_[b];
        if (n >= large_crystal) large.push_back(b);
        if (bounds.empty() || group_atoms >= atoms_per_task) {
            bounds.push_back(b);
            group_atoms = 0;
        }
        group_atoms += n >= large_crystal ? 0 : n;
    }
    bounds.push_back(batch.n_crystals);
    parallel_for(static_cast<int64_t>(bounds.size()) - 1, options.n_threads,
                 [&](int64_t g) { search_small(batch, bounds[g], bounds[g + 1]); });
    for (int64_t b : large) search_large(batch, b);
    for (const FoundRow& row : rows_) n_edges_ += row.count + padding(row.count);
}

void NeighborSearch::search_small(const CrystalBatch& batch, int64_t first, int64_t last) {
    thread_local CrystalSearch search;
    thread_local RowScratch scratch;
    thread_local std::vector<int64_t> unfinished;
    EdgeArenas::Loan arena(arenas_);
    for (int64_t b = first; b < last; ++b) {
        const int64_t begin = graph_ptr_[b];
        const int64_t n = graph_ptr_[b + 1] - begin;
        if (n >= large_crystal) continue;
        search.set_crystal(batch.positions + 3 * begin, batch.cells + 9 * b, batch.pbc + 3 * b, n, b);
        unfinished.resize(n);
        for (int64_t i = 0; i < n; ++i) unfinished[i] = i;
        for (double radius = search.first_radius(options_); !unfinished.empty();
             radius = search.next_radius(options_, radius)) {
            search.prepare(options_, radius);
            size_t left = 0;
            for (int64_t target : unfinished) {
                if (search.find_row(target, options_, scratch)) {
                    keep_row(search, target, scratch.row, *arena, rows_[begin + target]);
                } else {
                    unfinished[left++] = target;
                }
            }
            unfinished.resize(left);
        }
    }
}

void NeighborSearch::search_large(const CrystalBatch& batch, int64_t crystal) {
    const int64_t begin = graph_ptr_[crystal];
    CrystalSearch search;
    search.set_crystal(batch.positions + 3 * begin, batch.cells + 9 * crystal, batch.pbc + 3 * crystal,
                       graph_ptr_[crystal + 1] - begin, crystal);
    double radius = search.first_radius(options_);
    search.prepare(options_, radius);
    std::vector<int32_t> unfinished = search.spatial_order();
    while (!unfinished.empty()) {
        const int64_t n_rows = static_cast<int64_t>(unfinished.size());
        std::vector<char> done(n_rows, 0);
        parallel_for((n_rows + rows_per_task - 1) / rows_per_task, options_.n_threads, [&](int64_t task) {
            thread_local RowScratch scratch;
            EdgeArenas::Loan arena(arenas_);
            const int64_t end = std::min(n_rows, (task + 1) * rows_per_task);
            for (int64_t r = task * rows_per_task; r < end; ++r) {
                if (!search.find_row(unfinished[r], options_, scratch)) continue;
                keep_row(search, unfinished[r], scratch.row, *arena, rows_[begin + unfinished[r]]);
                done[r] = 1;
            }
        });
        size_t left = 0;
        for (int64_t r = 0; r < n_rows; ++r) {
            if (!done[r]) unfinished[left++] = unfinished[r];
        }
        unfinished.resize(left);
        if (left == 0) break;
        radius = search.next_radius(options_, radius);
        search.prepare(options_, radius);
    }
}

void NeighborSearch::keep_row(const CrystalSearch& search, int64_t target, const Row& found, EdgeArena& arena,
                              FoundRow& row) {
    const int64_t count = static_cast<int64_t>(found.neighbors.size());
    Edge* edges = arena.allocate(count);
    row = {edges, count, found.tied_from, found.share};
    for (const Neighbor& neighbor : found.neighbors) {
        edges->distance = neighbor.distance;
        edges->source = search.source(neighbor.ghost());
        search.shift(neighbor.ghost(), target, edges->shift);
        ++edges;
    }
}

int64_t NeighborSearch::padding(int64_t count) const {
    return options_.pad_2018 ? std::max<int64_t>(options_.max_neighbors - count, 0) : 0;
}

void NeighborSearch::fill(const NeighborArrays& out) {
    const int64_t n_atoms = static_cast<int64_t>(rows_.size());
    out.row_ptr[0] = 0;
    for (int64_t i = 0; i < n_atoms; ++i) {
        out.row_ptr[i + 1] = out.row_ptr[i] + rows_[i].count + padding(rows_[i].count);
    }
    parallel_for((n_atoms + rows_per_task - 1) / rows_per_task, options_.n_threads, [&](int64_t task) {
        fill_rows(out, task * rows_per_task, std::min(n_atoms, (task + 1) * rows_per_task));
    });
    for (size_t b = 0; b + 1 < graph_ptr_.size(); ++b) {
        out.few[b] = std::count_if(rows_.begin() + graph_ptr_[b], rows_.begin() + graph_ptr_[b + 1],
                                   [&](const FoundRow& row) { return row.count < options_.max_neighbors; });
    }
    arenas_.clear();
    rows_ = {};
}

void NeighborSearch::fill_rows(const NeighborArrays& out, int64_t first, int64_t last) const {
    int64_t b = std::upper_bound(graph_ptr_.begin(), graph_ptr_.end(), first) - graph_ptr_.begin() - 1;
    for (int64_t i = first; i < last; ++i) {
        while (graph_ptr_[b + 1] <= i) ++b;
        const FoundRow& row = rows_[i];
        int64_t e = out.row_ptr[i];
        for (const Edge* edge = row.edges; edge != row.edges + row.count; ++edge, ++e) {
            out.source[e] = graph_ptr_[b] + edge->source;
            out.target[e] = i;
            std::copy_n(edge->shift, 3, out.shifts + 3 * e);
            out.distances[e] = edge->distance;
            if (out.edge_weight != nullptr) out.edge_weight[e] = edge->distance >= row.tied_from ? row.share : 1.0;
        }
        for (; e < out.row_ptr[i + 1]; ++e) {
            out.source[e] = graph_ptr_[b];
            out.target[e] = i;
            std::fill_n(out.shifts + 3 * e, 3, 0);
            out.distances[e] = options_.cutoff + 1.0;
            if (out.edge_weight != nullptr) out.edge_weight[e] = 1.0;
        }
    }
}

}  // namespace cgfast
