#include "gradient_chunks.hpp"

#include <algorithm>

#include "../thread_pool.hpp"

namespace cgfast {
namespace {

constexpr int64_t edges_per_chunk = 2048;
constexpr int64_t chunks_at_most = 64;    // each holds a copy of the weight gradient
constexpr int64_t shared_rows_limit = 4;  // rows of chunks that share sources, in multiples of all sources
constexpr int64_t rows_per_task = 256;

// lowest[i]: the smallest source of the edges of rows i, i + 1, ...
std::vector<int64_t> lowest_from(const int64_t* row_ptr, int64_t n_rows, const int64_t* source, int64_t n_sources) {
    std::vector<int64_t> lowest(n_rows + 1, n_sources);
    for (int64_t i = n_rows; i-- > 0;) {
        lowest[i] = lowest[i + 1];
        for (int64_t e = row_ptr[i]; e < row_ptr[i + 1]; ++e) lowest[i] = std::min(lowest[i], source[e]);
    }
    return lowest;
}

// A chunk ends where the rows so far and those to come share no source, once it has `soft` edges; at `hard` edges it ends
// anywhere.
std::vector<RowChunk> cut(const int64_t* row_ptr, int64_t n_rows, const int64_t* source,
                          const std::vector<int64_t>& lowest, int64_t soft, int64_t hard) {
    std::vector<RowChunk> chunks;
    const int64_t none = lowest[n_rows];
    RowChunk chunk = {0, 0, none, 0, true};
    int64_t highest = 0;  // one past the largest source so far
    for (int64_t i = 0; i < n_rows; ++i) {
        for (int64_t e = row_ptr[i]; e < row_ptr[i + 1]; ++e) {
            chunk.source_first = std::min(chunk.source_first, source[e]);
            chunk.source_last = std::max(chunk.source_last, source[e] + 1);
        }
        highest = std::max(highest, chunk.source_last);
        const int64_t n_edges = row_ptr[i + 1] - row_ptr[chunk.first];
        const bool clean = highest <= lowest[i + 1];
        if (i + 1 < n_rows && !(n_edges >= soft && clean) && n_edges < hard) continue;
        chunk.last = i + 1;
        chunks.push_back(chunk);
        chunk = {i + 1, i + 1, none, 0, true};
    }
    return chunks;
}

// Marks the chunks whose range of sources touches another's, and returns how many rows those hold.
int64_t mark_shared(std::vector<RowChunk>& chunks, int64_t n_sources) {
    std::vector<int64_t> depth(n_sources + 1, 0);
    for (const RowChunk& chunk : chunks) {
        if (chunk.source_first >= chunk.source_last) continue;
        ++depth[chunk.source_first];
        --depth[chunk.source_last];
    }
    std::vector<int64_t> shared(n_sources + 1, 0);  // shared[j]: how many of the sources before j have several chunks
    int64_t level = 0;
    for (int64_t j = 0; j < n_sources; ++j) {
        level += depth[j];
        shared[j + 1] = shared[j] + (level > 1 ? 1 : 0);
    }
    int64_t rows = 0;
    for (RowChunk& chunk : chunks) {
        const bool empty = chunk.source_first >= chunk.source_last;
        chunk.exclusive = empty || shared[chunk.source_last] == shared[chunk.source_first];
        if (!chunk.exclusive) rows += chunk.source_last - chunk.source_first;
    }
    return rows;
}

}  // namespace

std::vector<RowChunk> row_chunks(const int64_t* row_ptr, int64_t n_rows, const int64_t* source, int64_t n_sources) {
    const int64_t n_edges = row_ptr[n_rows];
    const std::vector<int64_t> lowest = lowest_from(row_ptr, n_rows, source, n_sources);
    const int64_t soft = std::max(edges_per_chunk, n_edges / chunks_at_most);
    for (int64_t hard = 4 * soft;; hard *= 2) {
        std::vector<RowChunk> chunks = cut(row_ptr, n_rows, source, lowest, soft, hard);
        if (mark_shared(chunks, n_sources) <= shared_rows_limit * n_sources || chunks.size() <= 1) return chunks;
    }
}

template <class T>
GradientChunks<T>::GradientChunks(const Tiling<T>& tiling, const EdgeGradients<T>& gradients, int64_t n_sums)
    : tiling_(tiling),
      wanted_(gradients),
      p_(gradients.p, gradients.p == nullptr ? 0 : tiling.edges().n_rows, tiling.n_given(), tiling.edges().n_features, 2),
      q_(gradients.q, gradients.q == nullptr ? 0 : tiling.edges().n_sources, tiling.n_given(), tiling.edges().n_features,
         2),
      n_weight_(gradients.weight == nullptr ? 0 : tiling.edges().n_basis * tiling.channels()),
      n_sums_(n_sums) {
    const TiledEdges<T>& edges = tiling.edges();
    chunks_ = row_chunks(edges.row_ptr, edges.n_rows, edges.source, edges.n_sources);
    own_sources_.resize(chunks_.size());
    weight_.resize(chunks_.size() * n_weight_);
    sums_.resize(chunks_.size() * n_sums_);
    if (wanted_.q != nullptr) clear_gaps();
}

// Zeros for the sources that no exclusive chunk will clear.
template <class T>
void GradientChunks<T>::clear_gaps() {
    std::vector<const RowChunk*> exclusive;
    for (const RowChunk& chunk : chunks_) {
        if (chunk.exclusive && chunk.source_first < chunk.source_last) exclusive.push_back(&chunk);
    }
    std::sort(exclusive.begin(), exclusive.end(),
              [](const RowChunk* a, const RowChunk* b) { return a->source_first < b->source_first; });
    const int64_t n_channels = tiling_.channels();
    int64_t from = 0;
    for (const RowChunk* chunk : exclusive) {
        std::fill(q_.data() + from * n_channels, q_.data() + chunk->source_first * n_channels, T(0));
        from = chunk->source_last;
    }
    std::fill(q_.data() + from * n_channels, q_.data() + tiling_.edges().n_sources * n_channels, T(0));
}

template <class T>
const RowChunk& GradientChunks<T>::begin(int64_t c) {
    const RowChunk& chunk = chunks_[c];
    if (wanted_.q == nullptr || chunk.source_first >= chunk.source_last) return chunk;
    const int64_t n = (chunk.source_last - chunk.source_first) * tiling_.channels();
    if (chunk.exclusive) {
        std::fill_n(q_.data() + chunk.source_first * tiling_.channels(), n, T(0));
    } else {
        own_sources_[c].assign(n, T(0));
    }
    return chunk;
}

template <class T>
EdgeGradients<T> GradientChunks<T>::gradients(int64_t c) {
    const RowChunk& chunk = chunks_[c];
    EdgeGradients<T> out = wanted_;
    if (wanted_.p != nullptr) out.p = p_.data();
    if (wanted_.weight != nullptr) out.weight = weight_.data() + c * n_weight_;
    if (wanted_.q == nullptr) return out;
    // Kernels index by source: the own rows of a chunk begin at its first one.
    out.q = chunk.exclusive ? q_.data() : own_sources_[c].data();
    out.q_first = chunk.exclusive ? 0 : chunk.source_first;
    return out;
}

template <class T>
void GradientChunks<T>::add_shared_sources(int n_threads) {
    const int64_t n_sources = tiling_.edges().n_sources;
    const int64_t n_channels = tiling_.channels();
    parallel_for((n_sources + rows_per_task - 1) / rows_per_task, n_threads, [&](int64_t task) {
        const int64_t task_first = task * rows_per_task;
        const int64_t task_last = std::min(n_sources, task_first + rows_per_task);
        for (size_t c = 0; c < chunks_.size(); ++c) {
            if (own_sources_[c].empty()) continue;
            const int64_t first = std::max(task_first, chunks_[c].source_first);
            const int64_t last = std::min(task_last, chunks_[c].source_last);
            const T* from = own_sources_[c].data() + (first - chunks_[c].source_first) * n_channels;
            T* to = q_.data() + first * n_channels;
            for (int64_t i = 0; i < (last - first) * n_channels; ++i) to[i] += from[i];
        }
    });
}

template <class T>
void GradientChunks<T>::finish(int n_threads) {
    const bool shared =
        std::any_of(own_sources_.begin(), own_sources_.end(), [](const auto& own) { return !own.empty(); });
    if (shared) add_shared_sources(n_threads);
    if (wanted_.weight != nullptr) {
        std::vector<T> total(n_weight_, T(0));
        for (int64_t c = 0; c < size(); ++c) {
            for (int64_t i = 0; i < n_weight_; ++i) total[i] += weight_[c * n_weight_ + i];
        }
        tiling_.unpack(total.data(), wanted_.weight_layout, wanted_.weight);
    }
    p_.finish();
    q_.finish();
}

template <class T>
std::vector<T> GradientChunks<T>::total_sums() const {
    std::vector<T> total(n_sums_, T(0));
    for (int64_t c = 0; c < size(); ++c) {
        for (int64_t i = 0; i < n_sums_; ++i) total[i] += sums_[c * n_sums_ + i];
    }
    return total;
}

template class GradientChunks<float>;
template class GradientChunks<double>;

}  // namespace cgfast
