// gated_message against a naive loop in long double: all edge terms, weights, sizes, strides, distances of any kind.
#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>

#include "message/gated_message.hpp"
#include "message_oracle.hpp"
#include "message_scenarios.hpp"

using namespace message_tests;
using cgfast::gated_message;

namespace {

template <class T>
Array<T> messages(const Problem<T>& problem, int n_threads = 1) {
    Array<T> out(problem.shape.n_rows * problem.shape.n_features);
    gated_message(problem.edges(), problem.change(), out.data(), n_threads, problem.start.data());
    return out;
}

template <class T>
void check(const Problem<T>& problem) {
    const Array<T> out = messages(problem);
    check_close<T>("message", out, Oracle<T>(problem).messages());
    for (const int n_threads : {2, 3, 5}) {
        CHECK(messages(problem, n_threads).same_bits(out), n_threads << " threads differ from one");
    }
}

const auto check_any = [](const auto& problem) { check(problem); };

template <class T>
void check_nan_distance(double nan) {
    Random random(7);
    for (const bool ordered : {false, true}) {
        Shape shape;
        shape.n_features = 65;
        shape.ordered = ordered;
        Problem<T> problem(shape, random);
        const Array<T> clean = messages(problem);
        problem.distances[problem.id(problem.row_ptr[3] + 1)] = nan;
        const Array<T> out = messages(problem);
        for (int64_t i = 0; i < out.size(); ++i) {
            const bool hit = i / shape.n_features == 3;
            CHECK(hit ? std::isnan(out[i]) : out[i] == clean[i], "value " << i << ": " << out[i]);
        }
    }
}

// A NaN whose low bits are not zero, as some programs write for missing values.
template <class T, class Bits>
T nan_with(Bits bits) {
    T value;
    std::memcpy(&value, &bits, sizeof value);
    return value;
}

template <class T>
void check_nan_feature(T nan) {
    Random random(8);
    Shape shape;
    shape.n_rows = 1;
    for (const int64_t column : {int64_t{2}, shape.n_features + 2}) {
        Problem<T> problem(shape, random);
        problem.p[column] = nan;
        const Array<T> out = messages(problem);
        for (int64_t f = 0; f < shape.n_features; ++f) {
            CHECK(std::isnan(out[f]) == (f == 2), "column " << column << " feature " << f << ": " << out[f]);
        }
    }
}

}  // namespace

TEST(message_every_edge_term_and_size) {
    Random random(1);
    every_edge_term_and_size(random, check_any);
}

TEST(message_every_option_alone) {
    Random random(2);
    every_option_alone(random, check_any);
}

TEST(message_basis_sizes_and_widths) {
    Random random(3);
    basis_sizes_and_widths(random, check_any);
}

// Nothing but Gaussians under equal weights, so that a window cut too narrow stands out from rounding.
TEST(message_gaussian_window_is_wide_enough) {
    Random random(4);
    Shape shape;
    shape.n_rows = 200;
    shape.n_features = 1;
    shape.n_basis = 41;
    shape.basis = {0.0, 0.2, 0.2};
    const auto flatten = [](auto& problem) {
        std::fill(problem.p.begin(), problem.p.end(), 0);
        std::fill(problem.q.begin(), problem.q.end(), 0);
        std::fill(problem.weight.begin(), problem.weight.end(), 0.5f);
    };
    in_both_dtypes(shape, random, flatten, check_any);
}

TEST(message_distances_far_outside_the_basis) {
    Random random(5);
    distances_far_outside_the_basis(random, check_any);
}

TEST(message_attributes_with_zeros) {
    Random random(6);
    attributes_with_zeros(random, check_any);
}

TEST(message_large_arguments) {
    Random random(7);
    large_arguments(random, check_any);
}

TEST(message_random_shapes) {
    Random random(14);
    random_shapes(random, check_any);
}

// The center is taken off before anything is added up in few digits.
TEST(message_center_of_large_values) {
    Random random(8);
    Shape shape;
    shape.affine = true;
    Problem<float> problem(shape, random);
    for (float& value : problem.p) value = std::round(256 * value) / 256;  // 4096 more is still exact
    for (float& value : problem.center) value = 0;
    const Estimates wanted = Oracle<float>(problem).messages();
    for (float& value : problem.p) value += 4096;
    for (float& value : problem.center) value += 4096;
    check_close<float>("message", messages(problem), wanted);
}

TEST(message_nothing_to_do) {
    Random random(9);
    nothing_to_do(random, check_any);
}

TEST(message_several_tasks) {
    Random random(10);
    Shape shape;
    shape.n_rows = 300;
    in_both_dtypes(with_all_options(shape), random, check_any);
}

TEST(message_nan_distance_gives_nan) {
    check_nan_distance<float>(std::numeric_limits<double>::quiet_NaN());
    check_nan_distance<double>(std::numeric_limits<double>::quiet_NaN());
}

TEST(message_nan_distance_without_centres) {
    Random random(11);
    Shape shape;
    shape.n_basis = 0;
    shape.n_features = 130;
    Problem<float> problem(shape, random);
    problem.distances[0] = std::numeric_limits<double>::quiet_NaN();
    messages(problem);  // the result is unspecified; memory outside the arrays is not touched
}

TEST(message_nan_feature_gives_nan) {
    check_nan_feature<float>(std::numeric_limits<float>::quiet_NaN());
    check_nan_feature<double>(std::numeric_limits<double>::quiet_NaN());
}

TEST(message_nan_with_payload_gives_nan) {
    check_nan_feature<float>(nan_with<float>(uint32_t{0x7fc00001u}));
    check_nan_feature<double>(nan_with<double>(uint64_t{0x7ff80000000007a2u}));
    check_nan_distance<double>(nan_with<double>(uint64_t{0x7ff80000000007a2u}));
}

// Zeros of edge_attr are left out, but not where 0 * weight is a NaN.
TEST(message_zero_attribute_of_infinite_weight) {
    Random random(12);
    Shape shape;
    shape.term = EdgeTerm::dense;
    Problem<double> problem(shape, random);
    std::fill(problem.edge_attr.begin(), problem.edge_attr.end(), 0.0);
    problem.weight[3] = std::numeric_limits<double>::infinity();
    const Array<double> out = messages(problem);
    for (int64_t i = 0; i < out.size(); ++i) {
        const int64_t row = i / shape.n_features;
        const bool hit = i % shape.n_features == 3 && problem.row_ptr[row] < problem.row_ptr[row + 1];
        CHECK(std::isnan(out[i]) == hit, "value " << i << ": " << out[i]);
    }
}

TEST(message_refuses_bad_input) {
    Random random(13);
    Shape shape;
    shape.ordered = true;
    const Problem<float> good(shape, random);
    Problem<float> bad = good;
    bad.row_ptr[0] = 1;
    CHECK_REFUSED(messages(bad), "row_ptr");
    bad = good;
    bad.row_ptr[2] = bad.row_ptr[3] + 1;
    CHECK_REFUSED(messages(bad), "row_ptr");
    bad = good;
    --bad.row_ptr[good.shape.n_rows];
    CHECK_REFUSED(messages(bad), "row_ptr");
    for (const int64_t index : {int64_t{-1}, int64_t{1} << 40, std::numeric_limits<int64_t>::max()}) {
        bad = good;
        bad.source[0] = index;
        CHECK_REFUSED(messages(bad), "source");
        bad = good;
        bad.order[good.n_edges - 1] = index;
        CHECK_REFUSED(messages(bad), "order");
    }
    bad = good;
    bad.order[good.n_edges - 1] = bad.order[3];  // twice
    CHECK_REFUSED(messages(bad), "order");
    bad = good;
    bad.source[5] = good.shape.n_sources;
    CHECK_REFUSED(messages(bad), "source");
    const double nan = std::numeric_limits<double>::quiet_NaN();
    for (const GaussianBasis& basis :
         {GaussianBasis{0, 0, 0.2}, {0, 0.2, 0}, {nan, 0.2, 0.2}, {0, -0.2, 0.2}, {0, 0.2, nan}}) {
        bad = good;
        bad.shape.basis = basis;
        CHECK_REFUSED(messages(bad), "basis");
    }
}
