#include "cuda/message/gated_message.cu"
