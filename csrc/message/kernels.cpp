#include "kernels.hpp"

namespace cgfast {

#define CGFAST_DECLARE_KERNELS(isa) \
    namespace isa {                 \
    template <class T>              \
    MessageKernels<T> kernels();    \
    }
CGFAST_DECLARE_KERNELS(baseline)
#if defined(CGFAST_X86)
CGFAST_DECLARE_KERNELS(avx2)
CGFAST_DECLARE_KERNELS(avx512)
#endif

template <class T>
MessageKernels<T> message_kernels(Isa isa) {
#if defined(CGFAST_X86)
    if (isa == Isa::avx512) return avx512::kernels<T>();
    if (isa == Isa::avx2) return avx2::kernels<T>();
#endif
    (void)isa;
    return baseline::kernels<T>();
}

template MessageKernels<float> message_kernels<float>(Isa isa);
template MessageKernels<double> message_kernels<double>(Isa isa);

}  // namespace cgfast
