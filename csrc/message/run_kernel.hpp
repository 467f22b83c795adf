// Tasks of message kernels on the pool: denormals flushed, with scratch memory that a thread keeps.
#pragma once

#include <cstdint>
#include <vector>

#include "../denormals.hpp"
#include "../thread_pool.hpp"
#include "kernels.hpp"

namespace cgfast {

// What a message op costs, per edge and feature: the gate and some rows of weights.
template <class T>
int64_t operations_of(const MessageEdges<T>& edges) {
    return edges.n_edges * edges.n_features * 64;
}

// Below this many operations (some tenths of a millisecond) the caller works alone: to wake a thread takes time, and
// where torch's threads spin on every core it takes a scheduler's slice.
constexpr int64_t operations_worth_a_thread = int64_t(1) << 24;

// Calls body(task, scratch) for every task. operations: roughly how many multiplications all of them make.
template <class T, class Body>
void run_kernel(int64_t n_tasks, int64_t operations, int64_t n_basis, int n_threads, const Body& body) {
    if (operations < operations_worth_a_thread) n_threads = 1;
    parallel_for(n_tasks, n_threads, [&](int64_t task) {
        const FlushDenormals flush;
        thread_local std::vector<T> scratch;
        scratch.resize(message_scratch(n_basis));
        body(task, scratch.data());
    });
}

}  // namespace cgfast
