#include "thread_pool.hpp"

#include <algorithm>
#include <atomic>
#include <condition_variable>
#include <exception>
#include <mutex>
#include <new>
#include <system_error>
#include <thread>
#include <vector>

#include "denormals.hpp"

#if defined(__unix__) || defined(__APPLE__)
#include <pthread.h>
#endif

namespace cgfast {
namespace {

struct Job {
    const std::function<void(int64_t)>* task = nullptr;
    int64_t n_tasks = 0;
    FloatMode::Register mode = FloatMode::get();  // the caller's: a thread with another one would give other bits
    std::atomic<int64_t> next{0};
    std::mutex error_mutex;
    std::exception_ptr error;

    void work() {
        for (int64_t i = next++; i < n_tasks; i = next++) {
            try {
                (*task)(i);
            } catch (...) {
                const std::lock_guard<std::mutex> lock(error_mutex);
                if (!error) error = std::current_exception();
                next = n_tasks;
            }
        }
    }
};

class ThreadPool {
public:
    ~ThreadPool() {
        {
            const std::lock_guard<std::mutex> lock(mutex_);
            stopping_ = true;
        }
        wake_.notify_all();
        for (std::thread& worker : workers_) worker.join();
    }

    std::mutex& owner() { return owner_; }

    // The caller holds owner().
    void run(Job& job, int helpers) {
        helpers = grow_to(helpers);
        {
            const std::lock_guard<std::mutex> lock(mutex_);
            job_ = &job;
            helpers_ = helpers;
            running_ = helpers;
            ++generation_;
        }
        wake_.notify_all();
        job.work();
        std::unique_lock<std::mutex> lock(mutex_);
        done_.wait(lock, [this] { return running_ == 0; });
        job_ = nullptr;
    }

private:
    // How many helpers there are: fewer than wanted where the system grants no more threads.
    int grow_to(int helpers) {
        try {
            while (static_cast<int>(workers_.size()) < helpers) {
                const int index = static_cast<int>(workers_.size());
                workers_.emplace_back([this, index, seen = generation_] { loop(index, seen); });
            }
        } catch (const std::system_error&) {
            helpers = static_cast<int>(workers_.size());
        }
        return helpers;
    }

    void loop(int index, uint64_t seen) {
        std::unique_lock<std::mutex> lock(mutex_);
        for (;;) {
            wake_.wait(lock, [&] { return stopping_ || generation_ != seen; });
            if (stopping_) return;
            seen = generation_;
            if (index >= helpers_) continue;
            Job* job = job_;
            lock.unlock();
            FloatMode::set(job->mode);
            job->work();
            lock.lock();
            if (--running_ == 0) done_.notify_one();
        }
    }

    std::mutex owner_;
    std::mutex mutex_;
    std::condition_variable wake_;
    std::condition_variable done_;
    std::vector<std::thread> workers_;
    Job* job_ = nullptr;
    int helpers_ = 0;
    int running_ = 0;
    uint64_t generation_ = 0;
    bool stopping_ = false;
};

std::mutex pool_mutex;
ThreadPool* pool = nullptr;

// The threads do not exist in a forked child and its locks may be held by nobody: drop the pool there, never join it.
void forget_pool_after_fork() {
    new (&pool_mutex) std::mutex;
    pool = nullptr;
}

ThreadPool& shared_pool() {
    const std::lock_guard<std::mutex> lock(pool_mutex);
    if (pool == nullptr) {
#if defined(__unix__) || defined(__APPLE__)
        static const int registered = pthread_atfork(nullptr, nullptr, forget_pool_after_fork);
        (void)registered;
#endif
        // Never destroyed: a worker must not be joined while the interpreter unloads the module.
        pool = new ThreadPool;
    }
    return *pool;
}

thread_local bool inside_task = false;

}  // namespace

void parallel_for(int64_t n_tasks, int n_threads, const std::function<void(int64_t)>& task) {
    const int helpers = static_cast<int>(std::min<int64_t>(n_threads, n_tasks)) - 1;
    if (helpers > 0 && !inside_task) {
        ThreadPool& threads = shared_pool();
        const std::unique_lock<std::mutex> lock(threads.owner(), std::try_to_lock);
        if (lock.owns_lock()) {
            const std::function<void(int64_t)> marked = [&task](int64_t i) {
                inside_task = true;
                try {
                    task(i);
                } catch (...) {
                    inside_task = false;
                    throw;
                }
                inside_task = false;
            };
            Job job;
            job.task = &marked;
            job.n_tasks = n_tasks;
            threads.run(job, helpers);
            if (job.error) std::rethrow_exception(job.error);
            return;
        }
    }
    for (int64_t i = 0; i < n_tasks; ++i) task(i);
}

}  // namespace cgfast
