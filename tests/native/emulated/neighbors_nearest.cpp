#include "cuda/neighbors/nearest.cu"
