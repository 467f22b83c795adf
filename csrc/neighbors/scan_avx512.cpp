#define CGFAST_ISA avx512
#include "scan.inl"
