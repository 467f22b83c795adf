#include "node_products.hpp"

#include <algorithm>
#include <vector>

#include "kernels.hpp"
#include "run_kernel.hpp"

namespace cgfast {
namespace {

constexpr int64_t rows_per_task = 96;         // rows of x that stay in the cache while they meet all of the weights
constexpr int64_t weight_tasks_at_most = 64;  // each holds a gradient of the weights of its own
constexpr int64_t rows_per_weight_task = 4 * rows_per_task;

int64_t tasks_of(int64_t n, int64_t per_task) { return (n + per_task - 1) / per_task; }

// The columns [begin, begin + depth) of `weight`, transposed: (depth, weight.n) in panels of `tile` columns, filled up
// with zeros.
template <class T>
std::vector<T> pack_transposed(const StackedRows<const T>& weight, int64_t begin, int64_t depth, int64_t tile) {
    std::vector<T> packed(tasks_of(weight.n, tile) * depth * tile);
    T* to = packed.data();
    for (int64_t first = 0; first < weight.n; first += tile) {
        for (int64_t j = 0; j < std::min(tile, weight.n - first); ++j) {
            const T* from = weight.row(first + j) + begin;
            for (int64_t k = 0; k < depth; ++k) to[k * tile + j] = from[k];
        }
        to += depth * tile;
    }
    return packed;
}

// (depth, n_columns), row k at row(k), likewise.
template <class T, class Row>
std::vector<T> pack_rows(const Row& row, int64_t depth, int64_t n_columns, int64_t tile) {
    std::vector<T> packed(tasks_of(n_columns, tile) * depth * tile);
    T* to = packed.data();
    for (int64_t first = 0; first < n_columns; first += tile) {
        for (int64_t k = 0; k < depth; ++k, to += tile)
            std::copy_n(row(k) + first, std::min(tile, n_columns - first), to);
    }
    return packed;
}

// c (n_rows, n_columns) += a times the panels of `packed`; a panel that c has no room for goes through `scratch`.
template <class T>
void add_panels(const MessageKernels<T>& kernels, PanelProduct<T> product, const T* packed, int64_t n_columns, T* c,
                std::vector<T>& scratch) {
    const int64_t tile = kernels.tile;
    product.b_row = tile;
    for (int64_t first = 0; first < n_columns; first += tile) {
        const int64_t n = std::min(tile, n_columns - first);
        product.b = packed + first * product.depth;
        product.c = c + first;
        product.c_row = n_columns;
        if (n == tile) {
            kernels.add_product(product);
            continue;
        }
        scratch.assign(product.n_rows * tile, T(0));
        for (int64_t i = 0; i < product.n_rows; ++i) std::copy_n(c + i * n_columns + first, n, scratch.data() + i * tile);
        product.c = scratch.data();
        product.c_row = tile;
        kernels.add_product(product);
        for (int64_t i = 0; i < product.n_rows; ++i) std::copy_n(scratch.data() + i * tile, n, c + i * n_columns + first);
    }
}

// y (n, n_out) = x weight[:, begin : begin + width]^T + bias.
template <class T>
void multiply(const Atoms<T>& atoms, const SplitLinear<T>& layer, int64_t begin, bool with_bias, T* y, int n_threads) {
    const MessageKernels<T> kernels = message_kernels<T>(active_isa());
    const int64_t n_out = layer.weight.n;
    const std::vector<T> packed = pack_transposed(layer.weight, begin, atoms.width, kernels.tile);
    const int64_t operations = atoms.n * atoms.width * n_out;
    std::vector<T> start(n_out, T(0));
    for (int64_t c = 0; with_bias && c < n_out; ++c) start[c] = *layer.bias.row(c);
    run_kernel<T>(tasks_of(atoms.n, rows_per_task), operations, 0, n_threads, [&](int64_t task, T*) {
        thread_local std::vector<T> scratch;
        const int64_t first = task * rows_per_task;
        const int64_t n = std::min(rows_per_task, atoms.n - first);
        T* c = y + first * n_out;
        for (int64_t i = 0; i < n; ++i) std::copy_n(start.data(), n_out, c + i * n_out);
        PanelProduct<T> product = {};
        product.a = atoms.x + first * atoms.stride;
        product.a_row = atoms.stride;
        product.a_column = 1;
        product.n_rows = n;
        product.depth = atoms.width;
        add_panels(kernels, product, packed.data(), n_out, c, scratch);
    });
}

// x_gradient (n, width) = start (null: zeros) + grad weight[:, begin : begin + width].
template <class T>
void input_gradient(const Atoms<T>& atoms, const StackedRows<const T>& weight, int64_t begin, const T* grad,
                    const T* start, T* x_gradient, int n_threads) {
    const MessageKernels<T> kernels = message_kernels<T>(active_isa());
    const std::vector<T> packed =
        pack_rows<T>([&](int64_t k) { return weight.row(k) + begin; }, weight.n, atoms.width, kernels.tile);
    const int64_t operations = atoms.n * atoms.width * weight.n;
    run_kernel<T>(tasks_of(atoms.n, rows_per_task), operations, 0, n_threads, [&](int64_t task, T*) {
        thread_local std::vector<T> scratch;
        const int64_t first = task * rows_per_task;
        const int64_t n = std::min(rows_per_task, atoms.n - first);
        T* c = x_gradient + first * atoms.width;
        if (start == nullptr) {
            std::fill_n(c, n * atoms.width, T(0));
        } else if (start != x_gradient) {
            std::copy_n(start + first * atoms.width, n * atoms.width, c);
        }
        PanelProduct<T> product = {};
        product.a = grad + first * weight.n;
        product.a_row = weight.n;
        product.a_column = 1;
        product.n_rows = n;
        product.depth = weight.n;
        add_panels(kernels, product, packed.data(), atoms.width, c, scratch);
    });
}

// The gradients of weight and bias from rows [first, last): added to sums (n_out, width rounded up to whole tiles) and
// bias_sums (n_out,).
template <class T>
void add_weight_gradient(const MessageKernels<T>& kernels, const Atoms<T>& atoms, int64_t n_out, const T* grad,
                         int64_t first, int64_t last, T* sums, T* bias_sums, std::vector<T>& scratch) {
    const int64_t tile = kernels.tile;
    for (int64_t begin = first; begin < last; begin += rows_per_task) {
        const int64_t n = std::min(rows_per_task, last - begin);
        PanelProduct<T> product = {};
        product.a = grad + begin * n_out;
        product.a_row = 1;
        product.a_column = n_out;
        product.n_rows = n_out;
        product.depth = n;
        product.c_row = tasks_of(atoms.width, tile) * tile;
        for (int64_t column = 0; column < atoms.width; column += tile) {
            const T* x = atoms.x + begin * atoms.stride + column;
            product.b = x;
            product.b_row = atoms.stride;
            if (column + tile > atoms.width) {
                scratch = pack_rows<T>([&](int64_t k) { return x + k * atoms.stride; }, n, atoms.width - column, tile);
                product.b = scratch.data();
                product.b_row = tile;
            }
            product.c = sums + column;
            kernels.add_product(product);
        }
        // Sums of short sums: rounding grows with the root of their lengths.
        scratch.assign(n_out, T(0));
        for (int64_t i = begin; i < begin + n; ++i) {
            for (int64_t c = 0; c < n_out; ++c) scratch[c] += grad[i * n_out + c];
        }
        for (int64_t c = 0; c < n_out; ++c) bias_sums[c] += scratch[c];
    }
}

// weight[:, begin : begin + width] = grad^T x, bias = the sum of grad over rows.
template <class T>
void weight_gradient(const Atoms<T>& atoms, const T* grad, int64_t begin, const StackedRows<T>& weight,
                     const StackedRows<T>& bias, int n_threads) {
    const MessageKernels<T> kernels = message_kernels<T>(active_isa());
    const int64_t n_out = weight.n;
    const int64_t padded = tasks_of(atoms.width, kernels.tile) * kernels.tile;
    const int64_t n_sums = n_out * (padded + 1);
    const int64_t per_task = std::max(rows_per_weight_task, tasks_of(atoms.n, weight_tasks_at_most));
    const int64_t n_tasks = tasks_of(atoms.n, per_task);
    const int64_t operations = atoms.n * atoms.width * n_out;
    std::vector<T> sums(n_tasks * n_sums, T(0));
    run_kernel<T>(n_tasks, operations, 0, n_threads, [&](int64_t task, T*) {
        thread_local std::vector<T> scratch;
        T* own = sums.data() + task * n_sums;
        const int64_t first = task * per_task;
        add_weight_gradient(kernels, atoms, n_out, grad, first, std::min(atoms.n, first + per_task), own,
                            own + n_out * padded, scratch);
    });
    for (int64_t c = 0; c < n_out; ++c) {
        T* row = weight.row(c) + begin;
        T bias_sum = T(0);
        std::fill_n(row, atoms.width, T(0));
        for (int64_t task = 0; task < n_tasks; ++task) {
            const T* own = sums.data() + task * n_sums;
            for (int64_t j = 0; j < atoms.width; ++j) row[j] += own[c * padded + j];
            bias_sum += own[n_out * padded + c];
        }
        if (bias.first != nullptr) *bias.row(c) = bias_sum;
    }
}

}  // namespace

template <class T>
void split_linear(const SplitLinear<T>& layer, T* p, T* q, int n_threads) {
    multiply(layer.target, layer, 0, layer.bias.first != nullptr, p, n_threads);
    multiply(layer.source, layer, layer.target.width, false, q, n_threads);
}

template <class T>
void split_linear_backward(const SplitLinear<T>& layer, const T* p_grad, const T* q_grad,
                           const SplitLinearGradients<T>& gradients, int n_threads) {
    const int64_t cut = layer.target.width;
    if (gradients.target != nullptr) {
        input_gradient(layer.target, layer.weight, 0, p_grad, gradients.start, gradients.target, n_threads);
    }
    if (gradients.source != nullptr) {
        const T* start = gradients.source == gradients.target ? gradients.target : nullptr;
        input_gradient(layer.source, layer.weight, cut, q_grad, start, gradients.source, n_threads);
    }
    if (gradients.weight.first == nullptr) return;
    weight_gradient(layer.target, p_grad, 0, gradients.weight, gradients.bias, n_threads);
    weight_gradient(layer.source, q_grad, cut, gradients.weight, {nullptr, nullptr, 0, 0, 0}, n_threads);
}

#define CGFAST_INSTANTIATE(T)                                                                             \
    template void split_linear<T>(const SplitLinear<T>& layer, T* p, T* q, int n_threads);                \
    template void split_linear_backward<T>(const SplitLinear<T>& layer, const T* p_grad, const T* q_grad, \
                                           const SplitLinearGradients<T>& gradients, int n_threads);
CGFAST_INSTANTIATE(float)
CGFAST_INSTANTIATE(double)

}  // namespace cgfast
