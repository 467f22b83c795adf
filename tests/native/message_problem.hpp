// Random inputs of the message ops: rows of every awkward length, matrices that are columns of wider ones, and memory
// that shows any access it should not have seen.
#pragma once

#include <algorithm>
#include <cstdint>
#include <cstring>
#include <limits>
#include <numeric>
#include <utility>
#include <vector>

#include "message/message_edges.hpp"
#include "testing.hpp"

namespace message_tests {

using cgfast::Affine;
using cgfast::EdgeGradients;
using cgfast::GaussianBasis;
using cgfast::MessageEdges;
using cgfast::WeightLayout;
using testing::Random;

enum class EdgeTerm { none, dense, gaussian };
constexpr EdgeTerm every_term[] = {EdgeTerm::none, EdgeTerm::dense, EdgeTerm::gaussian};

// Of exactly `n` elements, so that the sanitizer sees one access too many; aligned no better than an element; null if
// empty.
template <class T>
class Array {
public:
    Array() : Array(0) {}
    explicit Array(int64_t n,
                   T value = std::numeric_limits<T>::has_quiet_NaN ? std::numeric_limits<T>::quiet_NaN() : T(0))
        : values_(n + 1, value) {}

    int64_t size() const { return static_cast<int64_t>(values_.size()) - 1; }
    T* data() { return size() == 0 ? nullptr : values_.data() + 1; }
    const T* data() const { return size() == 0 ? nullptr : values_.data() + 1; }
    T& operator[](int64_t i) { return values_[i + 1]; }
    const T& operator[](int64_t i) const { return values_[i + 1]; }
    T* begin() { return values_.data() + 1; }
    T* end() { return values_.data() + values_.size(); }

    // Nothing was written in front of the first element.
    bool front_is_intact() const { return values_[0] != values_[0]; }
    bool same_bits(const Array& other) const {
        return size() == other.size() && (size() == 0 || std::memcmp(data(), other.data(), size() * sizeof(T)) == 0);
    }

private:
    std::vector<T> values_;
};

// How the (K, 2F) weights lie in memory: as they are, transposed among the columns of a wider matrix, or gate and core
// each transposed in a matrix of its own.
enum class Storage { plain, transposed, apart };
constexpr Storage every_storage[] = {Storage::plain, Storage::transposed, Storage::apart};

struct Shape {
    int64_t n_rows = 8;
    std::vector<int64_t> degrees = {12, 0, 1, 15, 16, 17, 33};  // of the rows, again and again; a block has 16 edges
    int64_t n_sources = 31;
    int64_t n_features = 17;
    int64_t n_basis = 5;
    EdgeTerm term = EdgeTerm::gaussian;
    bool weighted = false;
    bool ordered = false;
    bool affine = false;
    bool started = false;  // messages are added to something
    Storage storage = Storage::plain;
    GaussianBasis basis = {0.3, 0.2, 0.25};
};

// The same with everything optional in it.
inline Shape with_all_options(Shape shape) {
    shape.weighted = shape.ordered = shape.affine = shape.started = true;
    shape.storage = Storage::apart;
    return shape;
}

template <class T>
struct Problem {
    Shape shape;
    int64_t n_edges, p_stride, q_stride;
    Array<int64_t> row_ptr, source, order;
    Array<T> p, q, edge_weight, weight, core_weight, edge_attr, center, scale, shift;
    Array<T> start, grad, mean_grad, variance_grad;
    Array<double> distances;

    Problem(const Shape& wanted, Random& random)
        : shape(wanted),
          p_stride(2 * wanted.n_features + 3),
          q_stride(2 * wanted.n_features + 5),
          row_ptr(wanted.n_rows + 1) {
        const int64_t n_channels = 2 * shape.n_features;
        for (int64_t i = 0; i < shape.n_rows; ++i) {
            row_ptr[i + 1] = row_ptr[i] + shape.degrees[i % shape.degrees.size()];
        }
        n_edges = row_ptr[shape.n_rows];
        fill_edges(random);
        p = strided(random, shape.n_rows, p_stride);
        q = strided(random, shape.n_sources, q_stride);
        fill_weight(random);
        edge_attr = uniform(random, shape.term == EdgeTerm::dense ? n_edges * shape.n_basis : 0, -1, 1);
        edge_weight = uniform(random, shape.weighted ? n_edges : 0, 0.1, 1.5);
        center = uniform(random, shape.affine ? n_channels : 0, -2, 2);
        scale = uniform(random, shape.affine ? n_channels : 0, -1.5, 1.5);
        shift = uniform(random, shape.affine ? n_channels : 0, -1, 1);
        start = uniform(random, shape.started ? shape.n_rows * shape.n_features : 0, -2, 2);
        grad = uniform(random, shape.n_rows * shape.n_features, -2, 2);
        mean_grad = uniform(random, n_channels, -2, 2);
        variance_grad = uniform(random, n_channels, -2, 2);
    }

    int64_t id(int64_t e) const { return shape.ordered ? order[e] : e; }
    int64_t n_basis() const { return shape.term == EdgeTerm::none ? 0 : shape.n_basis; }

    // Of `weight`, or of gradients stored the same way; there are 4 elements between the rows of a transposed matrix.
    template <class U>
    WeightLayout<U> layout(U* core) const {
        if (shape.storage == Storage::plain) return {};
        return {1, n_basis() + 4, shape.storage == Storage::apart ? core : nullptr};
    }
    T weight_at(int64_t k, int64_t c) const {
        return *layout(core_weight.data()).at(weight.data(), k, c, shape.n_features);
    }

    MessageEdges<T> edges() const {
        return {
            p.data(),         p_stride,  q.data(),         q_stride,         shape.n_rows, shape.n_sources,
            shape.n_features, n_edges,   row_ptr.data(),   source.data(),    order.data(), edge_weight.data(),
            weight.data(),    n_basis(), edge_attr.data(), distances.data(), shape.basis,  layout(core_weight.data())};
    }
    Affine<T> change() const { return {center.data(), scale.data(), shift.data()}; }

private:
    static Array<T> uniform(Random& random, int64_t n, double low, double high) {
        Array<T> values(n);
        for (T& value : values) value = static_cast<T>(random.uniform(low, high));
        return values;
    }

    // Rows of a wider matrix, whose other columns are NaN. The last row ends with its last feature: a read past it leaves
    // the array.
    Array<T> strided(Random& random, int64_t n, int64_t stride) const {
        if (n == 0) return {};
        Array<T> matrix((n - 1) * stride + 2 * shape.n_features);
        for (int64_t i = 0; i < n; ++i) {
            for (int64_t c = 0; c < 2 * shape.n_features; ++c) {
                matrix[i * stride + c] = static_cast<T>(random.uniform(-3, 3));
            }
        }
        return matrix;
    }

    void fill_weight(Random& random) {
        if (n_basis() == 0 || shape.n_features == 0) return;
        const int64_t n_columns = (shape.storage == Storage::apart ? 1 : 2) * shape.n_features;
        const bool plain = shape.storage == Storage::plain;
        weight = Array<T>(plain ? n_basis() * n_columns : (n_columns - 1) * (n_basis() + 4) + n_basis());
        core_weight = Array<T>(shape.storage == Storage::apart ? weight.size() : 0);
        const WeightLayout<T> where = layout(core_weight.data());
        for (int64_t k = 0; k < n_basis(); ++k) {
            for (int64_t c = 0; c < 2 * shape.n_features; ++c) {
                *where.at(weight.data(), k, c, shape.n_features) = static_cast<T>(random.uniform(-1, 1));
            }
        }
    }

    void fill_edges(Random& random) {
        const double longest = shape.basis.start + shape.basis.step * static_cast<double>(shape.n_basis);
        source = Array<int64_t>(n_edges);
        order = Array<int64_t>(shape.ordered ? n_edges : 0);
        distances = Array<double>(shape.term == EdgeTerm::gaussian ? n_edges : 0);
        for (int64_t& j : source) j = random.integer(0, shape.n_sources - 1);
        for (double& d : distances) d = random.uniform(shape.basis.start - 0.5, longest + 0.5);
        std::iota(order.begin(), order.end(), int64_t(0));
        for (int64_t e = order.size() - 1; e > 0; --e) std::swap(order[e], order[random.integer(0, e)]);
    }
};

// Sources as in a batch of crystals: those of row i lie within its crystal of `size` rows.
template <class T>
void make_batch(Problem<T>& problem, int64_t first_row, int64_t size, Random& random) {
    for (int64_t i = first_row; i < problem.shape.n_rows; ++i) {
        const int64_t begin = first_row + (i - first_row) / size * size;
        for (int64_t e = problem.row_ptr[i]; e < problem.row_ptr[i + 1]; ++e) {
            problem.source[e] = random.integer(begin, std::min(begin + size, problem.shape.n_sources) - 1);
        }
    }
}

}  // namespace message_tests
