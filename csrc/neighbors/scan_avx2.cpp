#define CGFAST_ISA avx2
#include "scan.inl"
