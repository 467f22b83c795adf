#include "cuda/message/edge_moments_backward.cu"
