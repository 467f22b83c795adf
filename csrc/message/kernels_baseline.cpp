#define CGFAST_ISA baseline
#define CGFAST_VECTOR_BYTES 16
#define CGFAST_TILE_VECTORS 2
#include "kernels.inl"
