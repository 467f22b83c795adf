#include "cuda/message/edge_moments.cu"
