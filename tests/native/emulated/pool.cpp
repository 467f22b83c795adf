#include "cuda/graph/pool.cu"
