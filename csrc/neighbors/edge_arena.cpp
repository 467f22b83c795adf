#include "edge_arena.hpp"

#include <algorithm>
#include <cstdlib>
#include <new>

#if defined(__linux__)
#include <sys/mman.h>
#endif

namespace cgfast {
namespace {

constexpr int64_t first_block = 2048;       // edges: one small crystal must not pay for a large block
constexpr int64_t largest_block = 1 << 19;  // 12 MiB
constexpr size_t huge_page = size_t{1} << 21;

Edge* allocate_block(int64_t n_edges) {
    const size_t bytes = (static_cast<size_t>(n_edges) * sizeof(Edge) + huge_page - 1) / huge_page * huge_page;
    if (bytes < 2 * huge_page) return static_cast<Edge*>(std::malloc(static_cast<size_t>(n_edges) * sizeof(Edge)));
    void* block = std::aligned_alloc(huge_page, bytes);
#if defined(__linux__)
    // Fetching fresh 4 KiB pages costs more than filling them: ask for large ones. Only a wish, so the answer is ignored.
    if (block != nullptr) (void)madvise(block, bytes, MADV_HUGEPAGE);
#endif
    return static_cast<Edge*>(block);
}

}  // namespace

void EdgeArena::Free::operator()(Edge* block) const { std::free(block); }

Edge* EdgeArena::allocate(int64_t n) {
    if (n > left_) {
        block_size_ = std::min(std::max(4 * block_size_, first_block), largest_block);
        left_ = std::max(block_size_, n);
        next_ = allocate_block(left_);
        if (next_ == nullptr) throw std::bad_alloc();
        blocks_.emplace_back(next_);
    }
    Edge* edges = next_;
    next_ += n;
    left_ -= n;
    return edges;
}

EdgeArena* EdgeArenas::take() {
    const std::lock_guard<std::mutex> lock(mutex_);
    if (idle_.empty()) {
        arenas_.push_back(std::make_unique<EdgeArena>());
        return arenas_.back().get();
    }
    EdgeArena* arena = idle_.back();
    idle_.pop_back();
    return arena;
}

void EdgeArenas::give_back(EdgeArena* arena) {
    const std::lock_guard<std::mutex> lock(mutex_);
    idle_.push_back(arena);
}

void EdgeArenas::clear() {
    arenas_.clear();
    idle_.clear();
}

}  // namespace cgfast
