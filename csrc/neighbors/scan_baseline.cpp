#define CGFAST_ISA baseline
#include "scan.inl"
