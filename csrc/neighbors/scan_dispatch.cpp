#include "scan.hpp"

namespace cgfast {

namespace baseline {
int32_t scan(const Candidates& candidates, const float* target, float radius2, int32_t* hits);
}
#if defined(CGFAST_X86)
namespace avx2 {
int32_t scan(const Candidates& candidates, const float* target, float radius2, int32_t* hits);
}
namespace avx512 {
int32_t scan(const Candidates& candidates, const float* target, float radius2, int32_t* hits);
}
#endif

ScanFunction scan_function(Isa isa) {
#if defined(CGFAST_X86)
    if (isa == Isa::avx512) return avx512::scan;
    if (isa == Isa::avx2) return avx2::scan;
#endif
    (void)isa;
    return baseline::scan;
}

}  // namespace cgfast
