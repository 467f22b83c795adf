// The CUDA runtime, or in native tests an emulation of the little that is used of it.
#pragma once

#ifdef CGFAST_EMULATE_CUDA
#include "cuda_emulator.hpp"
#else
#include <cuda_runtime.h>
#endif
