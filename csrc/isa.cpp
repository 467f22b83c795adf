#include "isa.hpp"

#include <cstdlib>
#include <string>

#include "check.hpp"

namespace cgfast {

const char* isa_name(Isa isa) {
    switch (isa) {
        case Isa::avx512: return "avx512";
        case Isa::avx2: return "avx2";
        default: return "baseline";
    }
}

bool isa_supported(Isa isa) {
#if defined(CGFAST_X86)
    __builtin_cpu_init();
    switch (isa) {
        case Isa::avx512:
            return __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512dq") &&
                   __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512vl") &&
                   __builtin_cpu_supports("fma");
        case Isa::avx2: return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");
        default: return true;
    }
#else
    return isa == Isa::baseline;
#endif
}

namespace {

Isa choose() {
    const char* wanted = std::getenv("CGFAST_ISA");
    if (wanted == nullptr || *wanted == '\0') {
        for (Isa isa : {Isa::avx512, Isa::avx2}) {
            if (isa_supported(isa)) return isa;
        }
        return Isa::baseline;
    }
    for (Isa isa : {Isa::avx512, Isa::avx2, Isa::baseline}) {
        if (std::string(wanted) == isa_name(isa)) {
            CGFAST_CHECK(isa_supported(isa), "CGFAST_ISA=" << wanted << " is not supported by this processor or build");
            return isa;
        }
    }
    CGFAST_CHECK(false, "CGFAST_ISA must be baseline, avx2 or avx512, got \"" << wanted << "\"");
    return Isa::baseline;
}

}  // namespace

Isa active_isa() {
    static const Isa chosen = choose();
    return chosen;
}

}  // namespace cgfast
