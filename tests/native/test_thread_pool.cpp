// parallel_for: every task once, exceptions, nesting, several callers, fork; and the floating-point mode that kernels
// leave.
#include <array>
#include <atomic>
#include <chrono>
#include <mutex>
#include <set>
#include <thread>

#include "denormals.hpp"
#include "message/gated_message.hpp"
#include "testing.hpp"
#include "thread_pool.hpp"

#if defined(__unix__) || defined(__APPLE__)
#include <sys/wait.h>
#include <unistd.h>
#endif
#if defined(__SSE2__)
#include <xmmintrin.h>
#endif

using cgfast::parallel_for;

namespace {

int64_t sum_of_squares(int64_t n, int threads) {
    std::atomic<int64_t> sum{0};
    parallel_for(n, threads, [&](int64_t i) { sum += i * i; });
    return sum;
}

int64_t squares(int64_t n) { return (n - 1) * n * (2 * n - 1) / 6; }

// Two tasks that each wait for the other: true if two threads ran them at the same time.
bool two_threads_meet() {
    std::atomic<int> arrived{0};
    std::atomic<int> met{0};
    parallel_for(2, 2, [&](int64_t) {
        ++arrived;
        const auto deadline = std::chrono::steady_clock::now() + std::chrono::seconds(20);
        while (arrived < 2 && std::chrono::steady_clock::now() < deadline) std::this_thread::yield();
        met += arrived == 2 ? 1 : 0;
    });
    return met == 2;
}

}  // namespace

TEST(pool_runs_every_task_once) {
    for (const int threads : {1, 2, 3, 8}) {
        for (const int64_t n : {0, 1, 2, 7, 1000}) {
            std::vector<std::atomic<int>> runs(n);
            parallel_for(n, threads, [&](int64_t i) { ++runs[i]; });
            for (int64_t i = 0; i < n; ++i) {
                CHECK(runs[i] == 1, "task " << i << " of " << n << " ran " << runs[i] << " times on " << threads);
            }
        }
    }
}

TEST(pool_takes_counts_that_make_no_sense_as_one_thread) {
    for (const int threads : {0, -3}) CHECK(sum_of_squares(10, threads) == squares(10), threads);
    CHECK(sum_of_squares(-5, 4) == 0, "negative number of tasks");
}

TEST(pool_runs_tasks_at_the_same_time) { CHECK(two_threads_meet(), "the tasks ran one after the other"); }

TEST(pool_uses_no_more_threads_than_asked) {
    parallel_for(100, 8, [](int64_t) {});  // grows the pool
    std::mutex mutex;
    std::set<std::thread::id> seen;
    parallel_for(200, 2, [&](int64_t) {
        std::this_thread::sleep_for(std::chrono::microseconds(100));
        const std::lock_guard<std::mutex> lock(mutex);
        seen.insert(std::this_thread::get_id());
    });
    CHECK(seen.size() <= 2, seen.size() << " threads");
}

TEST(pool_rethrows_and_goes_on) {
    for (const int threads : {1, 4}) {
        for (const int64_t culprit : {0, 57, 99}) {
            std::string message;
            try {
                parallel_for(100, threads, [&](int64_t i) {
                    if (i == culprit) throw std::out_of_range("task " + std::to_string(i));
                });
            } catch (const std::out_of_range& error) {
                message = error.what();
            }
            CHECK(message == "task " + std::to_string(culprit), "got \"" << message << "\" on " << threads);
            CHECK(sum_of_squares(100, threads) == squares(100), "after the exception");
        }
    }
}

TEST(pool_when_every_task_throws) {
    int caught = 0;
    try {
        parallel_for(1000, 4, [](int64_t i) { throw static_cast<int>(i); });
    } catch (int) {
        ++caught;
    }
    CHECK(caught == 1, caught);
}

TEST(pool_nested_calls_run_on_the_caller) {
    std::atomic<int64_t> sum{0};
    std::atomic<int> strangers{0};
    parallel_for(16, 3, [&](int64_t) {
        const std::thread::id outer = std::this_thread::get_id();
        parallel_for(50, 3, [&](int64_t i) {
            strangers += std::this_thread::get_id() == outer ? 0 : 1;
            parallel_for(2, 2, [&](int64_t) { sum += i; });
        });
    });
    CHECK(sum == 16 * 2 * 49 * 50 / 2, sum);
    CHECK(strangers == 0, strangers << " inner tasks left their thread");
    CHECK(two_threads_meet(), "the pool stayed marked as busy");
}

TEST(pool_with_several_callers_at_once) {
    std::array<std::atomic<int>, 3> wrong{};
    std::vector<std::thread> callers;
    for (std::atomic<int>& mine : wrong) {
        callers.emplace_back([&mine] {
            for (int round = 0; round < 300; ++round) mine += sum_of_squares(64, 3) == squares(64) ? 0 : 1;
        });
    }
    for (std::thread& caller : callers) caller.join();
    for (const std::atomic<int>& count : wrong) CHECK(count == 0, count);
}

#if defined(__unix__) || defined(__APPLE__)
// The child's own exit status; no destructors run in it.
static int in_child(int (*work)()) {
    const pid_t child = fork();
    if (child == 0) {
        alarm(60);  // a deadlock must end
        _exit(work());
    }
    int status = 0;
    CHECK(child > 0 && waitpid(child, &status, 0) == child, "fork or waitpid failed");
    return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

static int work_in_child() {
    if (sum_of_squares(500, 4) != squares(500)) return 1;
    return two_threads_meet() ? 0 : 2;
}

TEST(pool_after_fork) {
    CHECK(sum_of_squares(500, 4) == squares(500), "before the fork");
    for (int round = 0; round < 3; ++round) {
        const int status = in_child(work_in_child);
        CHECK(status == 0, "the child ended with " << status);
    }
    const int grandchild = in_child([] { return work_in_child() + in_child(work_in_child); });
    CHECK(grandchild == 0, "the grandchild ended with " << grandchild);
    CHECK(two_threads_meet(), "the parent's pool suffered");
}

TEST(pool_after_fork_while_busy) {
    std::atomic<bool> stop{false};
    std::thread busy([&] {
        while (!stop) sum_of_squares(64, 3);
    });
    int status = 0;
    for (int round = 0; round < 5 && status == 0; ++round) status = in_child(work_in_child);
    stop = true;
    busy.join();
    CHECK(status == 0, "the child ended with " << status);
}
#endif

#if defined(__SSE2__)
namespace {

// The control bits of MXCSR (the six low bits are sticky exception flags) on every thread of the pool.
std::set<unsigned> modes() {
    std::mutex mutex;
    std::set<unsigned> seen;
    parallel_for(64, 3, [&](int64_t) {
        std::this_thread::sleep_for(std::chrono::microseconds(100));
        const std::lock_guard<std::mutex> lock(mutex);
        seen.insert(_mm_getcsr() & ~0x3fu);
    });
    seen.insert(_mm_getcsr() & ~0x3fu);
    return seen;
}

void run_message() {
    constexpr int64_t n = 256;
    std::vector<float> p(2 * n, 0.5f);
    std::vector<float> out(n, 0.0f);
    std::vector<int64_t> row_ptr;
    std::vector<int64_t> source(n);
    for (int64_t i = 0; i <= n; ++i) row_ptr.push_back(i);
    for (int64_t i = 0; i < n; ++i) source[i] = n - 1 - i;
    cgfast::MessageEdges<float> edges = {};
    edges.p = edges.q = p.data();
    edges.p_stride = edges.q_stride = 2;
    edges.n_rows = edges.n_sources = edges.n_edges = n;
    edges.n_features = 1;
    edges.row_ptr = row_ptr.data();
    edges.source = source.data();
    cgfast::gated_message<float>(edges, {}, out.data(), 3);
}

}  // namespace

TEST(pool_denormal_mode_is_restored) {
    const std::set<unsigned> before = modes();
    CHECK(before.size() == 1 && (*before.begin() & 0x8040u) == 0, "the test must begin in the default mode");
    run_message();
    CHECK(modes() == before, "a message changed the mode of a thread");
    _mm_setcsr(_mm_getcsr() | 0x8040u);  // a user who has flushing on keeps it
    run_message();
    const unsigned kept = _mm_getcsr() & 0x8040u;
    _mm_setcsr(_mm_getcsr() & ~0x8040u);
    CHECK(kept == 0x8040u, kept);
    try {
        parallel_for(64, 3, [](int64_t) {
            const cgfast::FlushDenormals flush;
            throw 1;
        });
    } catch (int) {
        CHECK(modes() == before, "an exception left a thread flushing");
    }
}
#endif
