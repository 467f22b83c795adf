// Tasks of message kernels on the pool: denormals flushed, with scratch memory that a thread keeps.
#pragma once

#include <cstdint>
#include <vector>

#include "../denormals.hpp"
#include "../thread_pool.hpp"
#include "kernels.hpp"

namespace cgfast {

// Calls body(task, scratch) for every task.
template <class T, class Body>
void run_kernel(int64_t n_tasks, int64_t n_basis, int n_threads, const Body& body) {
    parallel_for(n_tasks, n_threads, [&](int64_t task) {
        const FlushDenormals flush;
        thread_local std::vector<T> scratch;
        scratch.resize(message_scratch(n_basis));
        body(task, scratch.data());
    });
}

}  // namespace cgfast
