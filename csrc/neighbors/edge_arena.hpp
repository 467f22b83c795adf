// Memory for edges whose number is not known beforehand: blocks that grow, are never moved and are freed together.
#pragma once

#include <cstdint>
#include <memory>
#include <mutex>
#include <vector>

namespace cgfast {

struct Edge {
    double distance;
    int32_t source;
    int32_t shift[3];
};

class EdgeArena {
public:
    // Room for `n` edges, next to each other.
    Edge* allocate(int64_t n);

private:
    struct Free {
        void operator()(Edge* block) const;
    };

    std::vector<std::unique_ptr<Edge, Free>> blocks_;
    Edge* next_ = nullptr;
    int64_t left_ = 0;
    int64_t block_size_ = 0;
};

// The arenas of one search: a task borrows one while it runs, so there are as many as threads, not as tasks.
class EdgeArenas {
public:
    class Loan {
    public:
        explicit Loan(EdgeArenas& arenas) : arenas_(arenas), arena_(arenas.take()) {}
        ~Loan() { arenas_.give_back(arena_); }
        Loan(const Loan&) = delete;
        Loan& operator=(const Loan&) = delete;

        EdgeArena& operator*() { return *arena_; }

    private:
        EdgeArenas& arenas_;
        EdgeArena* arena_;
    };

    void clear();

private:
    EdgeArena* take();
    void give_back(EdgeArena* arena);

    std::mutex mutex_;
    std::vector<std::unique_ptr<EdgeArena>> arenas_;
    std::vector<EdgeArena*> idle_;
};

}  // namespace cgfast
