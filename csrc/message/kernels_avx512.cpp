#define CGFAST_ISA avx512
#define CGFAST_VECTOR_BYTES 64
#define CGFAST_TILE_VECTORS 4
#include "kernels.inl"
