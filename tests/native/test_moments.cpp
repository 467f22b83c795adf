// edge_moments and its gradient against formulas in long double.
#include <algorithm>
#include <cmath>

#include "message/edge_moments.hpp"
#include "message_gradients.hpp"
#include "message_scenarios.hpp"

using namespace message_tests;

namespace {

template <class T>
struct MomentArrays {
    Array<T> mean, variance;
    explicit MomentArrays(int64_t n) : mean(n), variance(n) {}
};

template <class T>
MomentArrays<T> moments(const Problem<T>& problem, int n_threads = 1) {
    MomentArrays<T> found(2 * problem.shape.n_features);
    cgfast::edge_moments(problem.edges(), found.mean.data(), found.variance.data(), n_threads);
    return found;
}

template <class T>
GradientArrays<T> backward(const Problem<T>& problem, const MomentArrays<T>& given, unsigned wanted = of_everything,
                           int n_threads = 1) {
    GradientArrays<T> found(problem, wanted);
    cgfast::edge_moments_backward(problem.edges(), given.mean.data(), given.variance.data(), problem.mean_grad.data(),
                                  problem.variance_grad.data(), found.pointers(), n_threads);
    return found;
}

template <class T>
void check(const Problem<T>& problem) {
    const Oracle<T> oracle(problem);
    const MomentArrays<T> found = moments(problem);
    const Moments expected = oracle.moments();
    check_close<T>("mean", found.mean, expected.mean);
    check_close<T>("variance", found.variance, expected.variance);
    const GradientArrays<T> gradients = backward(problem, found);
    gradients.check(oracle.moments_gradients(found.mean, found.variance));
    for (const int n_threads : {2, 3, 5}) {
        const MomentArrays<T> again = moments(problem, n_threads);
        CHECK(again.mean.same_bits(found.mean) && again.variance.same_bits(found.variance),
              "moments on " << n_threads << " threads differ from one");
        CHECK(backward(problem, found, of_everything, n_threads).same_bits(gradients),
              "gradients on " << n_threads << " threads differ from one");
    }
}

// Any problem but for its affine change, which the moments do not know.
const auto check_any = [](auto problem) {
    problem.shape.affine = false;
    problem.scale = problem.shift = {};
    if (problem.n_edges > 0) check(problem);
};

Shape with_weights_and_order(Shape shape) {
    shape.weighted = shape.ordered = true;
    shape.storage = Storage::transposed;
    return shape;
}

void check_all_nan(const MomentArrays<double>& found) {
    for (int64_t c = 0; c < found.mean.size(); ++c) {
        CHECK(std::isnan(found.mean[c]) && std::isnan(found.variance[c]), found.mean[c] << ", " << found.variance[c]);
    }
}

}  // namespace

TEST(moments_every_edge_term_and_size) {
    Random random(50);
    every_edge_term_and_size(random, check_any);
}

TEST(moments_basis_sizes_and_widths) {
    Random random(51);
    basis_sizes_and_widths(random, check_any);
}

TEST(moments_distances_far_outside_the_basis) {
    Random random(59);
    distances_far_outside_the_basis(random, check_any);
}

TEST(moments_attributes_with_zeros) {
    Random random(60);
    attributes_with_zeros(random, check_any);
}

TEST(moments_random_shapes) {
    Random random(61);
    random_shapes(random, check_any);
}

TEST(moments_every_combination_of_gradients) {
    Random random(52);
    for (const EdgeTerm term : every_term) {
        Shape shape = with_weights_and_order(Shape());
        shape.term = term;
        const Problem<float> problem(shape, random);
        const MomentArrays<float> given = moments(problem);
        const Gradients expected = Oracle<float>(problem).moments_gradients(given.mean, given.variance);
        for (unsigned wanted = 0; wanted <= of_everything; ++wanted) {
            if ((wanted & ~gradients_of(problem)) == 0) backward(problem, given, wanted).check(expected);
        }
    }
}

TEST(moments_several_tasks) {
    Random random(53);
    Shape shape = with_weights_and_order(Shape());
    shape.n_rows = 1100;
    shape.n_sources = 1110;
    shape.n_features = 3;
    in_both_dtypes(shape, random, check_any);
    in_both_dtypes(shape, random, [&](auto& problem) { make_batch(problem, 0, 9, random); }, check_any);
    // Tasks that have no edges, or none that weigh anything.
    shape.degrees.assign(1100, 0);
    for (int64_t i = 300; i < 1024; ++i) shape.degrees[i] = i % 5;
    const auto take_weights = [](auto& problem) {
        for (int64_t e = problem.row_ptr[512]; e < problem.row_ptr[768]; ++e) problem.edge_weight[problem.id(e)] = 0;
    };
    in_both_dtypes(shape, random, take_weights, check_any);
}

// Squares of the values themselves would lose all digits of the variance.
TEST(moments_of_large_values_close_together) {
    Random random(54);
    const auto shift = [](auto& problem) {
        for (auto& value : problem.p) value += 10000;
    };
    in_both_dtypes(Shape(), random, shift, check_any);
}

TEST(moments_of_one_edge) {
    Random random(55);
    Shape shape;
    shape.degrees = {0, 1, 0, 0, 0, 0, 0, 0};
    in_both_dtypes(shape, random, check_any);
}

TEST(moments_of_nothing_are_nan) {
    Random random(56);
    for (const EdgeTerm term : every_term) {
        Shape shape;
        shape.term = term;
        shape.degrees = {0};
        for (const int64_t n_rows : {0, 5}) {
            shape.n_rows = n_rows;
            const Problem<double> problem(shape, random);
            const MomentArrays<double> found = moments(problem, 3);
            check_all_nan(found);
            backward(problem, found).check(Oracle<double>(problem).no_gradients());
        }
        Problem<double> weightless(with_weights_and_order(Shape()), random);
        std::fill(weightless.edge_weight.begin(), weightless.edge_weight.end(), 0.0);
        check_all_nan(moments(weightless));
    }
    Shape shape;
    shape.n_features = 0;
    in_both_dtypes(shape, random, check_any);
}

TEST(moments_nan_and_infinity_stay_in_their_channel) {
    Random random(57);
    for (const double value : {std::numeric_limits<double>::quiet_NaN(), std::numeric_limits<double>::infinity()}) {
        for (const int64_t row : {0, 5, 599}) {  // of the first edge, a later one, one of a later task
            Shape shape;
            shape.n_rows = 600;
            Problem<double> problem(shape, random);
            const MomentArrays<double> clean = moments(problem);
            problem.p[row * problem.p_stride + 2] = value;
            const MomentArrays<double> found = moments(problem);
            for (int64_t c = 0; c < found.mean.size(); ++c) {
                const bool same = found.mean[c] == clean.mean[c] && found.variance[c] == clean.variance[c];
                const bool lost = !std::isfinite(found.mean[c]) && !std::isfinite(found.variance[c]);
                CHECK(c == 2 ? lost : same,
                      "row " << row << " channel " << c << ": " << found.mean[c] << ", " << found.variance[c]);
            }
        }
    }
}

TEST(moments_refuse_bad_input) {
    Random random(58);
    const Problem<float> good(Shape(), random);
    const MomentArrays<float> given = moments(good);
    Problem<float> bad = good;
    bad.source[0] = good.shape.n_sources;
    CHECK_REFUSED(moments(bad), "source");
    CHECK_REFUSED(backward(bad, given), "source");
    bad = good;
    bad.row_ptr[0] = 1;
    CHECK_REFUSED(moments(bad), "row_ptr");
    CHECK_REFUSED(backward(bad, given), "row_ptr");
    Problem<float> negative(with_weights_and_order(Shape()), random);
    negative.edge_weight[7] = -0.5f;
    CHECK_REFUSED(moments(negative), "edge_weight must not be negative");
    CHECK_REFUSED(backward(negative, given), "edge_weight must not be negative");
}
