// A caller's workspace cut into arrays. With no memory behind it, it only counts: the same code says how much is wanted
// and hands it out.
#pragma once

#include <cstdint>

namespace cgfast {
namespace cuda {

class Arena {
public:
    explicit Arena(void* memory) : memory_(static_cast<unsigned char*>(memory)) {}

    // n elements, aligned to 256 bytes; null if nothing is behind the arena.
    template <class T>
    T* take(int64_t n) {
        const int64_t begin = bytes_;
        bytes_ += (n * static_cast<int64_t>(sizeof(T)) + 255) / 256 * 256;
        return memory_ == nullptr ? nullptr : reinterpret_cast<T*>(memory_ + begin);
    }
    int64_t bytes() const { return bytes_; }

private:
    unsigned char* memory_;
    int64_t bytes_ = 0;
};

}  // namespace cuda
}  // namespace cgfast
