// CUDA kernels on the CPU, for tests: a block's threads are fibers that take turns at warp and block operations, blocks
// run one after the other. It stands in for <cuda_runtime.h> where CGFAST_EMULATE_CUDA is defined
// (csrc/cuda/runtime.hpp).
//
// It shows what tests of results alone would miss: lanes that never meet (a barrier in a branch, an early return), lanes
// in different operations, threads that count on an order which nothing enforces (`schedule`), shared memory read before
// it is written (it begins as NaN) or past its end (the address sanitizer), kernels launched with what no device has. It
// does not show races between blocks that touch the same memory, nor how fast anything is.
#pragma once

#include <algorithm>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <exception>
#include <functional>
#include <memory>
#include <numeric>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

#if defined(__SANITIZE_ADDRESS__)
#define CGFAST_FIBER_ASAN 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define CGFAST_FIBER_ASAN 1
#endif
#endif
#ifdef CGFAST_FIBER_ASAN
#include <sanitizer/common_interface_defs.h>
#endif

#ifndef __x86_64__
#include <ucontext.h>
#endif

#define __global__
#define __device__
#define __host__
#define __forceinline__ inline
#define __launch_bounds__(...)

struct dim3 {
    unsigned x, y, z;
    constexpr dim3(unsigned x = 1, unsigned y = 1, unsigned z = 1) : x(x), y(y), z(z) {}
};

// --- the runtime: as much as is used --------------------------------------------------------------------------------

using cudaStream_t = void*;

enum cudaError_t { cudaSuccess = 0, cudaErrorInvalidValue = 1, cudaErrorInvalidConfiguration = 9 };
enum cudaMemcpyKind { cudaMemcpyHostToHost, cudaMemcpyHostToDevice, cudaMemcpyDeviceToHost, cudaMemcpyDeviceToDevice };
enum cudaFuncAttribute { cudaFuncAttributeMaxDynamicSharedMemorySize = 8 };
enum cudaDeviceAttr { cudaDevAttrMultiProcessorCount = 16, cudaDevAttrMaxSharedMemoryPerBlockOptin = 97 };

namespace cuda_emulator {

// The device that is emulated; tests may change it.
struct Device {
    int shared_bytes = 227 << 10;  // per block
    int multiprocessors = 4;
};
inline Device device;
inline cudaError_t last_error = cudaSuccess;
inline int64_t launches = 0;
inline int64_t synchronisations = 0;

// In which order threads run between barriers, and blocks altogether: 0 forward, 1 backward, others at random.
inline uint64_t schedule = 0;

}  // namespace cuda_emulator

inline const char* cudaGetErrorName(cudaError_t error) {
    return error == cudaSuccess             ? "cudaSuccess"
           : error == cudaErrorInvalidValue ? "cudaErrorInvalidValue"
                                            : "cudaErrorInvalidConfiguration";
}
inline const char* cudaGetErrorString(cudaError_t error) {
    return error == cudaSuccess             ? "no error"
           : error == cudaErrorInvalidValue ? "invalid argument"
                                            : "invalid configuration argument";
}
inline cudaError_t cudaGetLastError() { return std::exchange(cuda_emulator::last_error, cudaSuccess); }
inline cudaError_t cudaGetDevice(int* device) {
    *device = 0;
    return cudaSuccess;
}
inline cudaError_t cudaDeviceGetAttribute(int* value, cudaDeviceAttr attribute, int) {
    *value = attribute == cudaDevAttrMultiProcessorCount ? cuda_emulator::device.multiprocessors
                                                         : cuda_emulator::device.shared_bytes;
    return cudaSuccess;
}
inline cudaError_t cudaFuncSetAttribute(const void*, cudaFuncAttribute, int bytes) {
    return bytes <= cuda_emulator::device.shared_bytes ? cudaSuccess : cudaErrorInvalidValue;
}
inline cudaError_t cudaMemsetAsync(void* memory, int value, size_t bytes, cudaStream_t) {
    if (bytes > 0) std::memset(memory, value, bytes);
    return cudaSuccess;
}
inline cudaError_t cudaMemcpyAsync(void* to, const void* from, size_t bytes, cudaMemcpyKind, cudaStream_t) {
    if (bytes > 0) std::memcpy(to, from, bytes);
    return cudaSuccess;
}
inline cudaError_t cudaStreamSynchronize(cudaStream_t) {
    ++cuda_emulator::synchronisations;
    return cudaSuccess;
}

// --- the machine ----------------------------------------------------------------------------------------------------

namespace cuda_emulator {

constexpr int lanes_per_warp = 32;
constexpr size_t stack_bytes = size_t(256) << 10;

struct Barrier {
    int arrived = 0;
    int64_t generation = 0;
    const char* what = nullptr;  // the operation that those who arrived are in
    int bytes = 0;
};

struct Warp {
    Barrier barrier;
    // Values of the lanes; two sets, since a fast lane may begin the next operation while a slow one still reads.
    unsigned char slots[2][lanes_per_warp][16];
};

// Where a fiber stands while another runs.
#ifdef __x86_64__
using Context = void*;  // its stack pointer

// Much faster than swapcontext(), which enters the kernel and, under the address sanitizer, wipes the whole stack.
__attribute__((naked, noinline)) inline void switch_context(Context*, const Context*) {
    asm("pushq %rbp; pushq %rbx; pushq %r12; pushq %r13; pushq %r14; pushq %r15\n"
        "movq %rsp, (%rdi); movq (%rsi), %rsp\n"
        "popq %r15; popq %r14; popq %r13; popq %r12; popq %rbx; popq %rbp; ret");
}
inline void make_context(Context& context, char* stack, size_t bytes, void (*entry)()) {
    const uintptr_t top = (reinterpret_cast<uintptr_t>(stack) + bytes) / 16 * 16;
    void** at = reinterpret_cast<void**>(top) - 2;  // the address to go to; above it, one to return to: none
    at[0] = reinterpret_cast<void*>(entry);
    at[1] = nullptr;
    context = at - 6;  // the registers
}
#else
using Context = ucontext_t;

inline void switch_context(Context* from, const Context* to) { swapcontext(from, to); }
inline void make_context(Context& context, char* stack, size_t bytes, void (*entry)()) {
    getcontext(&context);
    context.uc_stack.ss_sp = stack;
    context.uc_stack.ss_size = bytes;
    context.uc_link = nullptr;
    makecontext(&context, entry, 0);
}
#endif

struct Fiber {
    Context context{};
    std::unique_ptr<char[]> stack;
    void* fake_stack = nullptr;
    const void* bottom = nullptr;
    size_t bytes = 0;
    dim3 thread;
    int64_t waits_for = -1;  // a generation that must pass
    const Barrier* waits_at = nullptr;
    bool done = false;
};

struct Machine {
    std::vector<std::unique_ptr<Fiber>> fibers;
    std::vector<Warp> warps;
    Barrier block_barrier;
    std::unique_ptr<unsigned char, decltype(&std::free)> shared{nullptr, &std::free};
    Fiber scheduler;
    Fiber* current = nullptr;
    const std::function<void()>* kernel = nullptr;
    std::exception_ptr failure;
    dim3 grid, block, block_index;
};

inline Machine machine;

inline void switch_fiber(Fiber& from, Fiber& to) {
#ifdef CGFAST_FIBER_ASAN
    __sanitizer_start_switch_fiber(&from.fake_stack, to.bottom, to.bytes);
#endif
    switch_context(&from.context, &to.context);
#ifdef CGFAST_FIBER_ASAN
    __sanitizer_finish_switch_fiber(from.fake_stack, nullptr, nullptr);
#endif
}

// A fiber serves block after block: to make one is what takes time under the sanitizer.
inline void fiber_main() {
    Machine& m = machine;
#ifdef CGFAST_FIBER_ASAN
    __sanitizer_finish_switch_fiber(nullptr, &m.scheduler.bottom, &m.scheduler.bytes);
#endif
    Fiber& self = *m.current;
    for (;;) {
        try {
            (*m.kernel)();
        } catch (...) {
            m.failure = std::current_exception();
        }
        self.done = true;
        switch_fiber(self, m.scheduler);
    }
}

inline Warp& own_warp() { return machine.warps[machine.current->thread.x / lanes_per_warp]; }
inline int own_lane() { return static_cast<int>(machine.current->thread.x % lanes_per_warp); }

inline std::string where() {
    const Machine& m = machine;
    return "block " + std::to_string(m.block_index.x) + "," + std::to_string(m.block_index.y) + " thread " +
           std::to_string(m.current->thread.x) + ": ";
}

inline void arrive(Barrier& barrier, int n, const char* what, int bytes) {
    if (barrier.arrived > 0 && (std::strcmp(barrier.what, what) != 0 || barrier.bytes != bytes)) {
        throw std::logic_error(where() + what + " while others of its warp or block are in " + barrier.what);
    }
    barrier.what = what;
    barrier.bytes = bytes;
    if (++barrier.arrived == n) {
        barrier.arrived = 0;
        ++barrier.generation;
        return;
    }
    Fiber& self = *machine.current;
    self.waits_at = &barrier;
    self.waits_for = barrier.generation;
    switch_fiber(self, machine.scheduler);
    self.waits_at = nullptr;
}

// What each lane of the warp brings to the operation `what`.
template <class T>
const unsigned char (*gather(const T& value, const char* what))[16] {
    static_assert(sizeof(T) <= 16, "a lane's value has at most 16 bytes");
    Warp& warp = own_warp();
    auto& slots = warp.slots[warp.barrier.generation % 2];
    std::memcpy(slots[own_lane()], &value, sizeof value);
    arrive(warp.barrier, lanes_per_warp, what, sizeof value);
    return slots;
}

inline void sync_block() { arrive(machine.block_barrier, static_cast<int>(machine.block.x), "sync_block", 0); }
inline void sync_warp() { gather(0, "sync_warp"); }

template <class T>
T shuffle(T value, int lane) {
    T out;
    std::memcpy(&out, gather(value, "shuffle")[(lane + lanes_per_warp) % lanes_per_warp], sizeof out);
    return out;
}

inline unsigned ballot(bool value) {
    const unsigned char (*slots)[16] = gather(static_cast<unsigned char>(value), "ballot");
    unsigned mask = 0;
    for (int lane = 0; lane < lanes_per_warp; ++lane) mask |= static_cast<unsigned>(slots[lane][0] != 0) << lane;
    return mask;
}

inline unsigned char* shared_memory() { return machine.shared.get(); }

// 0 ... n - 1 as `schedule` says.
inline std::vector<int64_t> order(int64_t n, uint64_t salt) {
    std::vector<int64_t> out(static_cast<size_t>(n));
    std::iota(out.begin(), out.end(), int64_t(0));
    if (schedule == 1) std::reverse(out.begin(), out.end());
    if (schedule < 2) return out;
    uint64_t state = schedule * 0x9E3779B97F4A7C15u + salt;
    for (int64_t i = n - 1; i > 0; --i) {
        state = state * 6364136223846793005u + 1442695040888963407u;
        std::swap(out[static_cast<size_t>(i)], out[(state >> 33) % static_cast<uint64_t>(i + 1)]);
    }
    return out;
}

inline void start(Fiber& fiber, unsigned thread) {
    fiber.done = false;
    fiber.waits_at = nullptr;
    fiber.thread = dim3(thread, 0, 0);
    if (fiber.stack != nullptr) return;
    fiber.stack.reset(new char[stack_bytes]);
    fiber.bottom = fiber.stack.get();
    fiber.bytes = stack_bytes;
    make_context(fiber.context, fiber.stack.get(), stack_bytes, &fiber_main);
}

[[noreturn]] inline void report_deadlock() {
    std::string message = "kernel cannot go on in block " + std::to_string(machine.block_index.x) + ": ";
    int n_done = 0;
    for (unsigned t = 0; t < machine.block.x; ++t) {
        const Fiber& fiber = *machine.fibers[t];
        n_done += fiber.done ? 1 : 0;
        if (!fiber.done && message.back() == ' ') {
            message += "thread " + std::to_string(fiber.thread.x) + " waits in " + fiber.waits_at->what + ", ";
        }
    }
    throw std::logic_error(message + std::to_string(n_done) + " threads have returned");
}

inline void run_block(uint64_t salt) {
    Machine& m = machine;
    m.block_barrier = Barrier();
    m.warps.assign(m.block.x / lanes_per_warp, Warp());
    for (unsigned t = 0; t < m.block.x; ++t) start(*m.fibers[t], t);
    const std::vector<int64_t> turns = order(m.block.x, salt);
    for (;;) {
        bool moved = false;
        bool finished = true;
        for (const int64_t t : turns) {
            Fiber& fiber = *m.fibers[static_cast<size_t>(t)];
            if (fiber.done || (fiber.waits_at != nullptr && fiber.waits_at->generation == fiber.waits_for)) {
                finished = finished && fiber.done;
                continue;
            }
            m.current = &fiber;
            switch_fiber(m.scheduler, fiber);
            moved = true;
            finished = finished && fiber.done;
            if (m.failure != nullptr) std::rethrow_exception(std::exchange(m.failure, nullptr));
        }
        if (finished) return;
        if (!moved) report_deadlock();
    }
}

inline void run(dim3 grid, dim3 block, size_t shared_bytes, const std::function<void()>& kernel) {
    Machine& m = machine;
    ++launches;
    if (shared_bytes > static_cast<size_t>(device.shared_bytes)) {
        last_error = cudaErrorInvalidValue;
        return;
    }
    m.grid = grid;
    m.block = block;
    m.kernel = &kernel;
    while (m.fibers.size() < block.x) m.fibers.push_back(std::make_unique<Fiber>());
    for (const int64_t b : order(int64_t(grid.x) * grid.y, 1)) {
        m.block_index = dim3(static_cast<unsigned>(b % grid.x), static_cast<unsigned>(b / grid.x));
        // Of exactly this size, so that the sanitizer sees one access too many; NaN as float and double.
        m.shared.reset(static_cast<unsigned char*>(std::malloc(shared_bytes)));
        if (shared_bytes > 0) std::memset(m.shared.get(), 0xff, shared_bytes);
        try {
            run_block(static_cast<uint64_t>(b) + 2);
        } catch (...) {
            m.fibers.clear();  // some are in the middle of the kernel
            throw;
        }
    }
    m.shared.reset();
}

}  // namespace cuda_emulator

#define threadIdx (cuda_emulator::machine.current->thread)
#define blockIdx (cuda_emulator::machine.block_index)
#define blockDim (cuda_emulator::machine.block)
#define gridDim (cuda_emulator::machine.grid)
