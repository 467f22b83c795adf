// Runs what launches emulated kernels under several orders of threads and blocks, which must not matter.
#pragma once

#include <cstdint>
#include <memory>

#include "cuda_emulator.hpp"

namespace emulated {

// Calls run(schedule) for threads forward, backward and at random.
template <class Run>
void under_every_schedule(const Run& run) {
    for (uint64_t schedule = 0; schedule < 4; ++schedule) {
        cuda_emulator::schedule = schedule;
        run(schedule);
    }
    cuda_emulator::schedule = 0;
}

// Calls run() under an order that is not the usual one, another with each call.
template <class Run>
void under_another_schedule(const Run& run) {
    static uint64_t next = 0;
    cuda_emulator::schedule = 1 + next++ % 7;
    run();
    cuda_emulator::schedule = 0;
}

// Memory of exactly `bytes`, which holds NaN.
class Workspace {
public:
    explicit Workspace(int64_t bytes)
        : memory_(bytes == 0 ? nullptr : std::malloc(static_cast<size_t>(bytes)), &std::free) {
        if (bytes > 0) std::memset(memory_.get(), 0xff, static_cast<size_t>(bytes));
    }
    void* data() const { return memory_.get(); }

private:
    std::unique_ptr<void, decltype(&std::free)> memory_;
};

}  // namespace emulated
