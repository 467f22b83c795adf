#include "cuda/graph/sort_edges.cu"
