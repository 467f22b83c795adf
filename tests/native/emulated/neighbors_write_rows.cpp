#include "cuda/neighbors/write_rows.cu"
