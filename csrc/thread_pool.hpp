// A small pool of std::threads. Work is a fixed list of tasks that does not depend on the number of threads, so results
// cannot depend on it either; only which thread runs which task varies.
#pragma once

#include <cstdint>
#include <functional>

namespace cgfast {

// Runs task(0) ... task(n_tasks - 1) on at most `n_threads` threads, the caller included, and returns when all are done.
// The first exception of a task is rethrown here. The pool is made at first need, grows on demand and is forgotten after
// fork. A call made while another thread holds the pool, or from inside a task, runs on the caller alone.
void parallel_for(int64_t n_tasks, int n_threads, const std::function<void(int64_t)>& task);

}  // namespace cgfast
