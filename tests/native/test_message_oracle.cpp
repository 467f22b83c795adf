// The oracle's gradients are those of its values: central differences in every input. With these right, the kernels are
// tested against formulas instead of differences, to the last digits.
#include <functional>

#include "message_oracle.hpp"

using namespace message_tests;

namespace {

using Value = std::function<long double(const Problem<double>&)>;

long double sum_of_messages(const Problem<double>& problem) {
    const Estimates out = Oracle<double>(problem).messages();
    long double sum = 0;
    for (size_t i = 0; i < out.size(); ++i) sum += problem.grad[i] * out[i].value;
    return sum;
}

long double sum_of_moments(const Problem<double>& problem) {
    const Moments moments = Oracle<double>(problem).moments();
    long double sum = 0;
    for (size_t c = 0; c < moments.mean.size(); ++c) {
        sum += problem.mean_grad[c] * moments.mean[c].value + problem.variance_grad[c] * moments.variance[c].value;
    }
    return sum;
}

// Moves each element of an input; `stride` is from one row of `n_columns` to the next.
void check_input(const char* name, const Value& value, const Problem<double>& problem,
                 Array<double> Problem<double>::* input, int64_t n_columns, int64_t stride, const Estimates& gradient) {
    for (size_t i = 0; i < gradient.size(); ++i) {
        const int64_t at = i / n_columns * stride + i % n_columns;
        Problem<double> above = problem;
        Problem<double> below = problem;
        (above.*input)[at] += 0x1p-20;
        (below.*input)[at] -= 0x1p-20;
        const long double slope = (value(above) - value(below)) / ((above.*input)[at] - (below.*input)[at]);
        const long double error = std::fabs(slope - gradient[i].value);
        CHECK(error <= 1e-8L * (1 + std::fabs(slope)),
              name << "[" << i << "]: " << gradient[i].value << ", not " << slope);
    }
}

Shape small(EdgeTerm term) {
    Shape shape;
    shape.n_rows = 4;
    shape.degrees = {3, 0, 1, 4};
    shape.n_sources = 5;
    shape.n_features = 2;
    shape.n_basis = 3;
    shape.term = term;
    return shape;
}

void check_edges(const Value& value, const Problem<double>& problem, const Gradients& found) {
    const int64_t n = 2 * problem.shape.n_features;
    const auto check = [&](const char* name, Array<double> Problem<double>::* input, const Estimates& gradient) {
        if ((problem.*input).size() > 0) check_input(name, value, problem, input, n, n, gradient);
    };
    check_input("p", value, problem, &Problem<double>::p, n, problem.p_stride, found.p);
    check_input("q", value, problem, &Problem<double>::q, n, problem.q_stride, found.q);
    check("weight", &Problem<double>::weight, found.weight);
    check("edge_attr", &Problem<double>::edge_attr, found.edge_attr);
    check("distances", &Problem<double>::distances, found.distances);
    check("edge_weight", &Problem<double>::edge_weight, found.edge_weight);
}

}  // namespace

TEST(oracle_message_gradients_are_slopes) {
    Random random(20);
    for (const EdgeTerm term : every_term) {
        const Problem<double> plain(small(term), random);
        check_edges(sum_of_messages, plain, Oracle<double>(plain).message_gradients());
        Shape shape = with_all_options(small(term));
        shape.storage = Storage::plain;
        const Problem<double> full(shape, random);
        const Gradients found = Oracle<double>(full).message_gradients();
        check_edges(sum_of_messages, full, found);
        check_input("scale", sum_of_messages, full, &Problem<double>::scale, 4, 4, found.scale);
        check_input("shift", sum_of_messages, full, &Problem<double>::shift, 4, 4, found.shift);
        Estimates of_center = found.shift;  // as gated_message.hpp says
        for (int64_t c = 0; c < 4; ++c) of_center[c].value *= -full.scale[c];
        check_input("center", sum_of_messages, full, &Problem<double>::center, 4, 4, of_center);
    }
}

TEST(oracle_moments_gradients_are_slopes) {
    Random random(21);
    for (const EdgeTerm term : every_term) {
        Shape shape = small(term);
        for (const bool options : {false, true}) {
            shape.weighted = shape.ordered = options;
            const Problem<double> problem(shape, random);
            const Oracle<double> oracle(problem);
            const Moments moments = oracle.moments();
            Array<double> mean(4);
            Array<double> variance(4);
            for (int64_t c = 0; c < 4; ++c) {
                mean[c] = static_cast<double>(moments.mean[c].value);
                variance[c] = static_cast<double>(moments.variance[c].value);
            }
            check_edges(sum_of_moments, problem, oracle.moments_gradients(mean, variance));
        }
    }
}
