// split_linear and its gradient against sums in long double.
#include <algorithm>
#include <cmath>

#include "layer_problem.hpp"

using namespace message_tests;

namespace {

template <class T>
struct Products {
    Array<T> p, q;
};

template <class T>
Products<T> products(const Layer<T>& layer, int n_threads = 1) {
    Products<T> out = {Array<T>(layer.sizes.n_targets * layer.sizes.n_out),
                       Array<T>(layer.sizes.n_sources * layer.sizes.n_out)};
    cgfast::split_linear(layer.arguments(), out.p.data(), out.q.data(), n_threads);
    return out;
}

template <class T>
void check_products(const Layer<T>& layer) {
    const Sizes& sizes = layer.sizes;
    const Products<T> out = products(layer);
    Estimates p(out.p.size());
    Estimates q(out.q.size());
    for (int64_t j = 0; j < sizes.n_out; ++j) {
        const bool first = j < sizes.n_first;
        for (int64_t i = 0; i < sizes.n_targets; ++i) {
            Estimate& sum = p[i * sizes.n_out + j];
            if (sizes.bias) sum += {layer.bias[first ? 0 : 1][first ? j : j - sizes.n_first], 0};
            for (int64_t c = 0; c < sizes.target_width; ++c) sum += layer.x(false, i, c) * layer.w(j, c);
        }
        for (int64_t i = 0; i < sizes.n_sources; ++i) {
            Estimate& sum = q[i * sizes.n_out + j];
            for (int64_t c = 0; c < sizes.source_width; ++c)
                sum += layer.x(true, i, c) * layer.w(j, sizes.target_width + c);
        }
    }
    check_close<T>("p", out.p, p);
    check_close<T>("q", out.q, q);
    for (const int n_threads : {2, 3, 5}) {
        const Products<T> again = products(layer, n_threads);
        CHECK(again.p.same_bits(out.p) && again.q.same_bits(out.q), n_threads << " threads differ from one");
    }
}

enum Parts : unsigned { of_targets = 1, of_sources = 2, of_weights = 4, of_bias = 8, of_all = 15 };

template <class T>
struct LayerGradients {
    Array<T> target, source;
    Array<T> weight[2], bias[2];

    bool same_bits(const LayerGradients& other) const {
        bool same = target.same_bits(other.target) && source.same_bits(other.source);
        for (int part = 0; part < 2; ++part) {
            same = same && weight[part].same_bits(other.weight[part]) && bias[part].same_bits(other.bias[part]);
        }
        return same;
    }
};

template <class T>
LayerGradients<T> backward(const Layer<T>& layer, unsigned wanted = of_all, int n_threads = 1) {
    const Sizes& sizes = layer.sizes;
    LayerGradients<T> found;
    if ((wanted & of_targets) != 0) found.target = Array<T>(sizes.n_targets * sizes.target_width);
    if ((wanted & of_sources) != 0 && !sizes.shared) found.source = Array<T>(sizes.n_sources * sizes.source_width);
    for (int part = 0; part < 2; ++part) {
        if ((wanted & of_weights) == 0) continue;
        found.weight[part] = Array<T>(layer.weight[part].size());
        if ((wanted & of_bias) != 0) found.bias[part] = Array<T>(layer.bias[part].size());
    }
    SplitLinearGradients<T> into = {found.target.data(), sizes.shared ? found.target.data() : found.source.data(),
                                    layer.template stacked<T>(found.weight, layer.weight_stride),
                                    layer.template stacked<T>(found.bias, 1), layer.start.data()};
    cgfast::split_linear_backward(layer.arguments(), layer.p_grad.data(), layer.q_grad.data(), into, n_threads);
    return found;
}

// The gradient of x of one kind, added to `sums`.
template <class T>
void add_input_gradient(const Layer<T>& layer, bool of_source, Estimates& sums) {
    const int64_t width = of_source ? layer.sizes.source_width : layer.sizes.target_width;
    const Array<T>& grad = of_source ? layer.q_grad : layer.p_grad;
    for (size_t at = 0; at < sums.size(); ++at) {
        const int64_t i = static_cast<int64_t>(at) / width;
        const int64_t column = (of_source ? layer.sizes.target_width : 0) + static_cast<int64_t>(at) % width;
        for (int64_t j = 0; j < layer.sizes.n_out; ++j) {
            sums[at] += Estimate{grad[i * layer.sizes.n_out + j], 0} * layer.w(j, column);
        }
    }
}

// The gradients of one piece of the weights and its biases; the edge features' columns stay untouched.
template <class T>
void check_piece(const Layer<T>& layer, int part, Array<T> weight, const Array<T>& bias) {
    const Sizes& sizes = layer.sizes;
    const int64_t first = part == 0 ? 0 : sizes.n_first;
    Estimates of_weight(weight.size());
    Estimates of_bias_rows(bias.size());
    for (int64_t at = 0; at < weight.size(); ++at) {
        const int64_t j = first + at / layer.weight_stride;
        const int64_t c = at % layer.weight_stride;
        if (c >= sizes.target_width + sizes.source_width) {
            CHECK(std::isnan(weight[at]), "the gradient of an edge feature's weight was overwritten with " << weight[at]);
            weight[at] = 0;
            continue;
        }
        const bool of_source = c >= sizes.target_width;
        const Array<T>& grad = of_source ? layer.q_grad : layer.p_grad;
        for (int64_t i = 0; i < (of_source ? sizes.n_sources : sizes.n_targets); ++i) {
            const Estimate x = layer.x(of_source, i, of_source ? c - sizes.target_width : c);
            of_weight[at] += Estimate{grad[i * sizes.n_out + j], 0} * x;
        }
    }
    for (int64_t row = 0; row < bias.size(); ++row) {
        for (int64_t i = 0; i < sizes.n_targets; ++i)
            of_bias_rows[row] += {layer.p_grad[i * sizes.n_out + first + row], 0};
    }
    check_close<T>("gradient of weight", weight, of_weight);
    check_close<T>("gradient of bias", bias, of_bias_rows);
}

template <class T>
void check_gradients(const Layer<T>& layer, const LayerGradients<T>& found) {
    Estimates of_target(found.target.size());
    Estimates of_source(found.source.size());
    for (int64_t i = 0; i < std::min(layer.start.size(), found.target.size()); ++i) of_target[i] += {layer.start[i], 0};
    add_input_gradient(layer, false, of_target);
    add_input_gradient(layer, true, layer.sizes.shared ? of_target : of_source);
    check_close<T>("gradient of targets", found.target, of_target);
    check_close<T>("gradient of sources", found.source, of_source);
    for (int part = 0; part < 2; ++part) check_piece(layer, part, found.weight[part], found.bias[part]);
}

template <class T>
void check(const Layer<T>& layer) {
    check_products(layer);
    const LayerGradients<T> found = backward(layer);
    check_gradients(layer, found);
    for (const int n_threads : {2, 3, 5}) {
        CHECK(backward(layer, of_all, n_threads).same_bits(found), n_threads << " threads differ from one");
    }
}

void check_both(const Sizes& sizes, Random& random) {
    check(Layer<float>(sizes, random));
    check(Layer<double>(sizes, random));
}

}  // namespace

TEST(products_every_width) {
    Random random(80);
    for (const int64_t width : {0, 1, 7, 8, 9, 16, 17, 31, 32, 33, 64, 65}) {
        Sizes sizes;
        sizes.target_width = width;
        check_both(sizes, random);
        sizes.source_width = 65 - width;
        check_both(sizes, random);
        sizes = Sizes();
        sizes.n_out = 2 * width + 2;
        sizes.n_first = width + 1;
        check_both(sizes, random);
        sizes.n_first = sizes.n_out;  // weights in one piece
        check_both(sizes, random);
    }
}

TEST(products_every_number_of_atoms) {
    Random random(81);
    for (const int64_t n : {0, 1, 2, 3, 5, 6, 7, 8, 11, 12, 95, 96, 97, 200, 385, 800}) {
        Sizes sizes;
        sizes.n_targets = n;
        check_both(sizes, random);
        sizes.n_targets = 4;
        sizes.n_sources = n;
        check_both(sizes, random);
    }
}

TEST(products_every_option) {
    Random random(82);
    for (const bool bias : {false, true}) {
        for (const bool shared : {false, true}) {
            for (const bool started : {false, true}) {
                Sizes sizes;
                sizes.n_targets = 130;
                sizes.bias = bias;
                sizes.shared = shared;
                sizes.started = started;
                check_both(sizes, random);
            }
        }
    }
}

TEST(products_every_combination_of_gradients) {
    Random random(83);
    for (const bool shared : {false, true}) {
        Sizes sizes;
        sizes.shared = shared;
        const Layer<float> layer(sizes, random);
        for (unsigned wanted = 0; wanted <= of_all; ++wanted) check_gradients(layer, backward(layer, wanted));
    }
}

TEST(products_of_many_atoms) {
    Random random(84);
    Sizes sizes;
    sizes.n_targets = 30000;  // more than 64 sums of 384 rows
    sizes.target_width = 3;
    sizes.source_width = 2;
    sizes.n_out = 4;
    sizes.n_first = 2;
    check_both(sizes, random);
}

// An atom has the same bits alone and among others.
TEST(products_do_not_depend_on_the_batch) {
    Random random(85);
    Sizes sizes;
    sizes.n_targets = sizes.n_sources = 111;
    const Layer<float> layer(sizes, random);
    const Products<float> together = products(layer);
    for (int64_t i = 0; i < 111; ++i) {
        SplitLinear<float> alone = layer.arguments();
        alone.target.x += i * alone.target.stride;
        alone.source.x += i * alone.source.stride;
        alone.target.n = alone.source.n = 1;
        Array<float> p(sizes.n_out);
        Array<float> q(sizes.n_out);
        cgfast::split_linear(alone, p.data(), q.data(), 1);
        for (int64_t j = 0; j < sizes.n_out; ++j) {
            const bool same = p[j] == together.p[i * sizes.n_out + j] && q[j] == together.q[i * sizes.n_out + j];
            CHECK(same, "atom " << i << " channel " << j);
        }
    }
}
