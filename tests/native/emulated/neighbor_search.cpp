#include "cuda/neighbors/neighbor_search.cu"
