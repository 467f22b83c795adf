#define CGFAST_ISA avx2
#define CGFAST_VECTOR_BYTES 32
#define CGFAST_TILE_VECTORS 2
#include "kernels.inl"
