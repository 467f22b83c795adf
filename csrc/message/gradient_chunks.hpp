// Edges in chunks of rows whose gradients can be summed independently, so that nothing races and nothing depends on the
// number of threads.
//
// The edges of a crystal touch only its own atoms. A chunk of whole crystals adds its source gradients straight into the
// result. Where no such cut is to be found (one huge crystal), chunks add into rows of their own, which are summed in the
// order of the chunks; their number is then limited so that these rows stay within a few times the result.
#pragma once

#include <cstdint>
#include <vector>

#include "tiles.hpp"

namespace cgfast {

struct RowChunk {
    int64_t first, last;                // rows
    int64_t source_first, source_last;  // sources that its edges touch, as a range
    bool exclusive;                     // no other chunk touches that range
};

// Cuts rows into chunks: a function of the graph alone.
std::vector<RowChunk> row_chunks(const int64_t* row_ptr, int64_t n_rows, const int64_t* source, int64_t n_sources);

template <class T>
class GradientChunks {
public:
    // `gradients` has the given number of features; `n_sums`: how many further sums every chunk keeps.
    GradientChunks(const Tiling<T>& tiling, const EdgeGradients<T>& gradients, int64_t n_sums);

    int64_t size() const { return static_cast<int64_t>(chunks_.size()); }
    // To be called by the task that computes the chunk: clears what it adds to.
    const RowChunk& begin(int64_t c);
    EdgeGradients<T> gradients(int64_t c);
    T* sums(int64_t c) { return sums_.data() + c * n_sums_; }

    // Adds up what the chunks have, once all are done.
    void finish(int n_threads);
    std::vector<T> total_sums() const;

private:
    void clear_gaps();
    void add_shared_sources(int n_threads);

    const Tiling<T>& tiling_;
    EdgeGradients<T> wanted_;
    PaddedOutput<T> p_, q_;
    std::vector<RowChunk> chunks_;
    std::vector<std::vector<T>> own_sources_;  // of chunks that share theirs
    std::vector<T> weight_, sums_;             // of all chunks
    int64_t n_weight_, n_sums_;
};

}  // namespace cgfast
