// Which instruction set the kernels run with: the best one this processor has, or what CGFAST_ISA names.
#pragma once

namespace cgfast {

enum class Isa { baseline = 0, avx2 = 1, avx512 = 2 };

// Chosen once, at the first call. Throws std::invalid_argument if CGFAST_ISA names a set that is unknown, was not
// compiled in, or that this processor lacks.
Isa active_isa();

const char* isa_name(Isa isa);

// True if `isa` was compiled into this build and the processor (and operating system) can run it.
bool isa_supported(Isa isa);

}  // namespace cgfast
