#include "cuda/message/gradient_plan.cu"
