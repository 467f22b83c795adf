// Denormal numbers cost tens of times a normal operation on a CPU and mean nothing here: treat them as zero for a while.
#pragma once

#include <cstdint>

#if defined(__SSE2__)
#include <xmmintrin.h>
#endif

namespace cgfast {

// The processor's floating-point mode on this thread.
struct FloatMode {
#if defined(__SSE2__)
    using Register = uint32_t;
    static constexpr Register flush_flags = 0x8040;
    static Register get() { return _mm_getcsr(); }
    static void set(Register value) { _mm_setcsr(value); }
#elif defined(__aarch64__)
    using Register = uint64_t;
    static constexpr Register flush_flags = Register(1) << 24;
    static Register get() {
        Register value;
        __asm__ volatile("mrs %0, fpcr" : "=r"(value));
        return value;
    }
    static void set(Register value) { __asm__ volatile("msr fpcr, %0" : : "r"(value)); }
#else
    using Register = uint32_t;
    static constexpr Register flush_flags = 0;
    static Register get() { return 0; }
    static void set(Register) {}
#endif
};

// Sets flush-to-zero and denormals-are-zero on this thread, and puts back what was there.
class FlushDenormals {
public:
    FlushDenormals() : saved_(FloatMode::get()) { FloatMode::set(saved_ | FloatMode::flush_flags); }
    ~FlushDenormals() { FloatMode::set(saved_); }
    FlushDenormals(const FlushDenormals&) = delete;
    FlushDenormals& operator=(const FlushDenormals&) = delete;

private:
    FloatMode::Register saved_;
};

}  // namespace cgfast
