// The products of atoms and weights in a linear layer of [x_target, x_source, edge features]:
//
//   p = x_target weight[:, :F_t]^T + bias,    q = x_source weight[:, F_t : F_t + F_s]^T
//
// with the same bits for every number of threads, and for an atom whatever other atoms there are.
#pragma once

#include <cstdint>

namespace cgfast {

// Rows of a matrix in one or two pieces (lin_f and lin_s, say): the first `n_first` of `n` from `first`, the others from
// `second`, each `stride` elements after the one before.
template <class T>
struct StackedRows {
    T* first;
    T* second;
    int64_t n_first, n, stride;

    T* row(int64_t j) const { return j < n_first ? first + j * stride : second + (j - n_first) * stride; }
};

// x: (n, width), `stride` elements from row to row.
template <class T>
struct Atoms {
    const T* x;
    int64_t stride, n, width;
};

template <class T>
struct SplitLinear {
    Atoms<T> target, source;
    StackedRows<const T> weight;  // (n_out, target.width + source.width + ...)
    StackedRows<const T> bias;    // (n_out, 1); its first is null for zeros
};

// Null: not wanted. Overwritten; if source is target, their gradients add up there. start: (n, width) of the target,
// added to its gradient; null for zeros.
template <class T>
struct SplitLinearGradients {
    T* target;              // (n, width) of the target
    T* source;              // of the source
    StackedRows<T> weight;  // the columns of targets and sources
    StackedRows<T> bias;
    const T* start = nullptr;
};

// p: (target.n, n_out), q: (source.n, n_out), overwritten.
template <class T>
void split_linear(const SplitLinear<T>& layer, T* p, T* q, int n_threads);

// The gradients of sum(p_grad * p + q_grad * q).
template <class T>
void split_linear_backward(const SplitLinear<T>& layer, const T* p_grad, const T* q_grad,
                           const SplitLinearGradients<T>& gradients, int n_threads);

}  // namespace cgfast
