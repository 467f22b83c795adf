// Random inputs of split_linear: matrices that are columns of wider ones, weights in one piece or two.
#pragma once

#include "message/node_products.hpp"
#include "message_oracle.hpp"

namespace message_tests {

using cgfast::SplitLinear;
using cgfast::SplitLinearGradients;
using cgfast::StackedRows;

struct Sizes {
    int64_t n_targets = 13, n_sources = 20, target_width = 17, source_width = 9, n_out = 10;
    int64_t n_first = 4;  // rows of the weights that lie apart from the others
    bool bias = true;
    bool shared = false;  // sources are targets
    bool started = false;
};

constexpr int64_t gap = 3;            // between the rows of x
constexpr int64_t edge_features = 2;  // columns of the weights that are none of this op's business

template <class T>
struct Layer {
    Sizes sizes;
    int64_t weight_stride;
    Array<T> target, source, p_grad, q_grad, start;
    Array<T> weight[2], bias[2];

    Layer(const Sizes& wanted, Random& random) : sizes(wanted) {
        if (sizes.shared) {
            sizes.n_sources = sizes.n_targets;
            sizes.source_width = sizes.target_width;
        }
        weight_stride = sizes.target_width + sizes.source_width + edge_features;
        target = strided(random, sizes.n_targets, sizes.target_width, sizes.target_width + gap);
        source = strided(random, sizes.shared ? 0 : sizes.n_sources, sizes.source_width, sizes.source_width + gap);
        for (int part = 0; part < 2; ++part) {
            weight[part] = strided(random, rows(part), weight_stride - edge_features, weight_stride);
            bias[part] = uniform(random, sizes.bias ? rows(part) : 0);
        }
        p_grad = uniform(random, sizes.n_targets * sizes.n_out);
        q_grad = uniform(random, sizes.n_sources * sizes.n_out);
        start = uniform(random, sizes.started ? sizes.n_targets * sizes.target_width : 0);
    }

    static Array<T> uniform(Random& random, int64_t n) {
        Array<T> values(n);
        for (T& value : values) value = static_cast<T>(random.uniform(-2, 2));
        return values;
    }

    // Rows of a wider matrix, whose other columns are NaN.
    static Array<T> strided(Random& random, int64_t n, int64_t width, int64_t stride) {
        if (n == 0 || width == 0) return {};
        Array<T> matrix((n - 1) * stride + width);
        for (int64_t i = 0; i < n; ++i) {
            for (int64_t c = 0; c < width; ++c) matrix[i * stride + c] = static_cast<T>(random.uniform(-2, 2));
        }
        return matrix;
    }

    int64_t rows(int part) const { return part == 0 ? sizes.n_first : sizes.n_out - sizes.n_first; }

    template <class U, class Pieces>
    StackedRows<U> stacked(Pieces& pieces, int64_t stride) const {
        return {pieces[0].data(), pieces[1].data(), sizes.n_first, sizes.n_out, stride};
    }

    SplitLinear<T> arguments() const {
        const Array<T>& sources = sizes.shared ? target : source;
        return {{target.data(), sizes.target_width + gap, sizes.n_targets, sizes.target_width},
                {sources.data(), sizes.source_width + gap, sizes.n_sources, sizes.source_width},
                stacked<const T>(weight, weight_stride),
                stacked<const T>(bias, 1)};
    }

    Estimate x(bool of_source, int64_t i, int64_t c) const {
        const bool other = of_source && !sizes.shared;
        const int64_t width = of_source ? sizes.source_width : sizes.target_width;
        return {(other ? source : target)[i * (width + gap) + c], 0};
    }
    Estimate w(int64_t j, int64_t c) const {
        const bool first = j < sizes.n_first;
        return {weight[first ? 0 : 1][(first ? j : j - sizes.n_first) * weight_stride + c], 0};
    }
};

}  // namespace message_tests
