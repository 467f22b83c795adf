#include "cuda/message/device_edges.cu"
