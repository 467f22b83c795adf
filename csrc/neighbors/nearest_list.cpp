#include "nearest_list.hpp"

#include <algorithm>
#include <memory>

#include "../thread_pool.hpp"

namespace cgfast {
namespace {

constexpr int64_t rows_per_task = 512;

}  // namespace

NearestList::NearestList(const CrystalBatch& batch, const NeighborOptions& options)
    : options_(options), graph_ptr_(batch.graph_ptr, batch.graph_ptr + batch.n_crystals + 1), rows_(graph_ptr_.back()) {
    BatchSearch batch_search(batch, options);
    const auto make_task = [this]() -> RowTask {
        const auto arena = std::make_shared<EdgeArenas::Loan>(arenas_);
        return [this, arena](const CrystalSearch& search, int64_t first_atom, int64_t target, RowScratch& scratch) {
            if (!search.find_row(target, options_, scratch)) return false;
            rows_[first_atom + target] = keep_row(search, target, scratch.row, **arena);
            return true;
        };
    };
    batch_search.run(make_task, false);
    for (const FoundRow& row : rows_) n_edges_ += row.count + padding(row.count);
}

NearestList::FoundRow NearestList::keep_row(const CrystalSearch& search, int64_t target, const Row& row,
                                            EdgeArena& arena) {
    const int64_t count = static_cast<int64_t>(row.neighbors.size());
    Edge* edge = arena.allocate(count);
    const FoundRow kept = {edge, count, row.tied_from, row.share};
    for (const Neighbor& neighbor : row.neighbors) {
        edge->distance = neighbor.distance;
        edge->source = search.source(neighbor.ghost());
        search.shift(neighbor.ghost(), target, edge->shift);
        ++edge;
    }
    return kept;
}

int64_t NearestList::padding(int64_t count) const {
    return options_.pad_2018 ? std::max<int64_t>(options_.max_neighbors - count, 0) : 0;
}

void NearestList::fill(const NeighborArrays& out) {
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

void NearestList::fill_rows(const NeighborArrays& out, int64_t first, int64_t last) const {
    constexpr int32_t no_shift[3] = {0, 0, 0};
    int64_t b = std::upper_bound(graph_ptr_.begin(), graph_ptr_.end(), first) - graph_ptr_.begin() - 1;
    for (int64_t i = first; i < last; ++i) {
        while (graph_ptr_[b + 1] <= i) ++b;
        const FoundRow& row = rows_[i];
        int64_t e = out.row_ptr[i];
        for (const Edge* edge = row.edges; edge != row.edges + row.count; ++edge) {
            const double weight = edge->distance >= row.tied_from ? row.share : 1.0;
            out.set_edge(e++, graph_ptr_[b] + edge->source, i, edge->shift, edge->distance, weight);
        }
        while (e < out.row_ptr[i + 1]) {
            out.set_edge(e++, graph_ptr_[b], i, no_shift, options_.cutoff + 1.0, 1.0);
        }
    }
}

}  // namespace cgfast
