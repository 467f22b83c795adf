#include "batch_search.hpp"

#include <algorithm>

#include "../thread_pool.hpp"

namespace cgfast {
namespace {

constexpr int64_t atoms_per_group = 256;
constexpr int64_t large_crystal = 1024;  // atoms
constexpr int64_t rows_per_task = 512;   // of a large crystal

}  // namespace

BatchSearch::BatchSearch(const CrystalBatch& batch, const NeighborOptions& options)
    : batch_(batch), options_(options), graph_ptr_(batch.graph_ptr, batch.graph_ptr + batch.n_crystals + 1) {
    int64_t group_atoms = 0;
    for (int64_t b = 0; b < batch.n_crystals; ++b) {
        if (size(b) >= large_crystal) large_.push_back({b, nullptr});
        if (groups_.empty() || group_atoms >= atoms_per_group) {
            groups_.push_back(b);
            group_atoms = 0;
        }
        group_atoms += size(b) >= large_crystal ? 0 : size(b);
    }
    groups_.push_back(batch.n_crystals);
}

void BatchSearch::run(const MakeRowTask& make_task, bool keep) {
    parallel_for(static_cast<int64_t>(groups_.size()) - 1, options_.n_threads,
                 [&](int64_t g) { run_group(groups_[g], groups_[g + 1], make_task()); });
    for (Large& large : large_) {
        run_large(make_task, large);
        if (!keep) large.search.reset();
    }
}

void BatchSearch::set_crystal(int64_t crystal, CrystalSearch& search) const {
    search.set_crystal(batch_.positions + 3 * graph_ptr_[crystal], batch_.cells + 9 * crystal, batch_.pbc + 3 * crystal,
                       size(crystal), batch_.first_crystal + crystal);
    search.prepare(options_);
}

void BatchSearch::run_group(int64_t first, int64_t last, const RowTask& task) const {
    thread_local CrystalSearch search;
    thread_local RowScratch scratch;
    thread_local std::vector<int64_t> unfinished;
    for (int64_t b = first; b < last; ++b) {
        const int64_t n = size(b);
        if (n >= large_crystal) continue;
        set_crystal(b, search);
        unfinished.resize(n);
        for (int64_t i = 0; i < n; ++i) unfinished[i] = i;
        for (;;) {
            size_t left = 0;
            for (int64_t target : unfinished) {
                if (!task(search, graph_ptr_[b], target, scratch)) unfinished[left++] = target;
            }
            unfinished.resize(left);
            if (left == 0) break;
            search.prepare_larger(options_);
        }
    }
}

void BatchSearch::run_large(const MakeRowTask& make_task, Large& large) const {
    if (!large.search) {
        large.search = std::make_unique<CrystalSearch>();
        set_crystal(large.crystal, *large.search);
    }
    std::vector<int32_t> unfinished = large.search->local_order();
    for (;;) {
        const int64_t n_rows = static_cast<int64_t>(unfinished.size());
        std::vector<char> done(n_rows, 0);
        parallel_for((n_rows + rows_per_task - 1) / rows_per_task, options_.n_threads, [&](int64_t part) {
            thread_local RowScratch scratch;
            const RowTask task = make_task();
            const int64_t end = std::min(n_rows, (part + 1) * rows_per_task);
            for (int64_t r = part * rows_per_task; r < end; ++r) {
                done[r] = task(*large.search, graph_ptr_[large.crystal], unfinished[r], scratch) ? 1 : 0;
            }
        });
        size_t left = 0;
        for (int64_t r = 0; r < n_rows; ++r) {
            if (done[r] == 0) unfinished[left++] = unfinished[r];
        }
        unfinished.resize(left);
        if (left == 0) break;
        large.search->prepare_larger(options_);
    }
}

}  // namespace cgfast
