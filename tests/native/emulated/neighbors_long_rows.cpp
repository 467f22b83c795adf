#include "cuda/neighbors/long_rows.cu"
