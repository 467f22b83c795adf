#include "scan.hpp"

namespace cgfast {

namespace baseline {
ScanFunctions functions();
}
#if defined(CGFAST_X86)
namespace avx2 {
ScanFunctions functions();
}
namespace avx512 {
ScanFunctions functions();
}
#endif

ScanFunctions scan_functions(Isa isa) {
#if defined(CGFAST_X86)
    if (isa == Isa::avx512) return avx512::functions();
    if (isa == Isa::avx2) return avx2::functions();
#endif
    (void)isa;
    return baseline::functions();
}

}  // namespace cgfast
