#include "cuda/message/gated_message_backward.cu"
