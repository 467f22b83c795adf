// The CUDA kernels of edge_moments and its gradient, on the emulator, against formulas in long double.
#include <algorithm>
#include <cmath>

#include "cuda/message/edge_moments.hpp"
#include "emulated_run.hpp"
#include "message_gradients.hpp"
#include "message_scenarios.hpp"

using namespace message_tests;

namespace {

template <class T>
struct MomentArrays {
    Array<T> mean, variance;
    explicit MomentArrays(int64_t n) : mean(n), variance(n) {}
    bool same_bits(const MomentArrays& other) const {
        return mean.same_bits(other.mean) && variance.same_bits(other.variance);
    }
};

template <class T>
MomentArrays<T> moments(const Problem<T>& problem) {
    MomentArrays<T> found(2 * problem.shape.n_features);
    const emulated::Workspace workspace(cgfast::cuda::edge_moments_workspace(problem.edges()));
    cgfast::cuda::edge_moments(problem.edges(), found.mean.data(), found.variance.data(), workspace.data(), nullptr);
    return found;
}

template <class T>
GradientArrays<T> backward(const Problem<T>& problem, const MomentArrays<T>& given, unsigned wanted = of_everything) {
    GradientArrays<T> found(problem, wanted);
    const emulated::Workspace workspace(cgfast::cuda::edge_moments_backward_workspace(problem.edges(), found.pointers()));
    cgfast::cuda::edge_moments_backward(problem.edges(), given.mean.data(), given.variance.data(),
                                        problem.mean_grad.data(), problem.variance_grad.data(), found.pointers(),
                                        workspace.data(), nullptr);
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
    emulated::under_another_schedule([&] {
        CHECK(moments(problem).same_bits(found), "another order of threads gives other moments");
        CHECK(backward(problem, found).same_bits(gradients), "another order of threads gives other gradients");
    });
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

template <class T>
void check_all_nan(const MomentArrays<T>& found) {
    for (int64_t c = 0; c < found.mean.size(); ++c) {
        CHECK(std::isnan(found.mean[c]) && std::isnan(found.variance[c]), found.mean[c] << ", " << found.variance[c]);
    }
}

}  // namespace

TEST(cuda_moments_every_edge_term_and_size) {
    Random random(140);
    every_edge_term_and_size(random, check_any);
}

TEST(cuda_moments_basis_sizes_and_widths) {
    Random random(141);
    basis_sizes_and_widths(random, check_any);
}

TEST(cuda_moments_distances_far_outside_the_basis) {
    Random random(142);
    distances_far_outside_the_basis(random, check_any);
}

TEST(cuda_moments_attributes_with_zeros) {
    Random random(143);
    attributes_with_zeros(random, check_any);
}

TEST(cuda_moments_random_shapes) {
    Random random(144);
    random_shapes(random, check_any);
}

TEST(cuda_moments_every_combination_of_gradients) {
    Random random(145);
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

// Chunks that have no edges, or none that weigh anything.
TEST(cuda_moments_several_chunks) {
    Random random(146);
    Shape shape = with_weights_and_order(Shape());
    shape.n_rows = shape.n_sources = 500;
    shape.n_features = 3;
    in_both_dtypes(shape, random, check_any);
    shape.degrees.assign(500, 0);
    for (int64_t i = 100; i < 420; ++i) shape.degrees[i] = i % 5;
    const auto take_weights = [](auto& problem) {
        for (int64_t e = problem.row_ptr[150]; e < problem.row_ptr[300]; ++e) problem.edge_weight[problem.id(e)] = 0;
    };
    in_both_dtypes(shape, random, take_weights, check_any);
}

TEST(cuda_moments_of_large_values_close_together) {
    Random random(147);
    const auto shift = [](auto& problem) {
        for (auto& value : problem.p) value += 10000;
    };
    in_both_dtypes(Shape(), random, shift, check_any);
}

TEST(cuda_moments_of_one_edge) {
    Random random(148);
    Shape shape;
    shape.degrees = {0, 1, 0, 0, 0, 0, 0, 0};
    in_both_dtypes(shape, random, check_any);
}

TEST(cuda_moments_of_nothing_are_nan) {
    Random random(149);
    for (const EdgeTerm term : every_term) {
        Shape shape;
        shape.term = term;
        shape.degrees = {0};
        for (const int64_t n_rows : {0, 5}) {
            shape.n_rows = n_rows;
            const Problem<double> problem(shape, random);
            const MomentArrays<double> found = moments(problem);
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

TEST(cuda_moments_nan_and_infinity_stay_in_their_channel) {
    Random random(150);
    for (const double value : {std::numeric_limits<double>::quiet_NaN(), std::numeric_limits<double>::infinity()}) {
        for (const int64_t row : {0, 5, 98}) {  // of the first edge, a later one, one of a later chunk
            Shape shape;
            shape.n_rows = 100;
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

// There is no error to raise without waiting for the device.
TEST(cuda_moments_of_negative_weights_are_nan) {
    Random random(151);
    Problem<float> negative(with_weights_and_order(Shape()), random);
    const MomentArrays<float> given = moments(negative);
    negative.edge_weight[7] = -0.5f;
    check_all_nan(moments(negative));
    const GradientArrays<float> found = backward(negative, given);
    CHECK(std::isnan(found.p[0]) && std::isnan(found.weight[0]), found.p[0] << ", " << found.weight[0]);
}

TEST(cuda_moments_wild_indices_touch_nothing_else) {
    Random random(152);
    for (const int64_t index : {int64_t(-1), int64_t(31), int64_t(1) << 40, INT64_MAX, INT64_MIN}) {
        Problem<float> problem(with_weights_and_order(Shape()), random);
        problem.source[5] = index;
        check_all_nan(moments(problem));
        for (const int64_t at : {0, 3, 8}) {
            problem.row_ptr[at] = index;
            backward(problem, moments(problem));  // the result is unspecified
        }
    }
}
