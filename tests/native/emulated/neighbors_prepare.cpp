#include "cuda/neighbors/prepare.cu"
