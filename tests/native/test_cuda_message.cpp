// The CUDA kernel of gated_message, on the emulator, against formulas in long double: everything that the CPU's is tested
// on.
#include <algorithm>
#include <cmath>

#include "cuda/message/gated_message.hpp"
#include "emulated_run.hpp"
#include "message/gated_message.hpp"
#include "message_oracle.hpp"
#include "message_scenarios.hpp"

using namespace message_tests;

namespace {

template <class T>
Array<T> messages(const Problem<T>& problem) {
    Array<T> out(problem.shape.n_rows * problem.shape.n_features);
    const emulated::Workspace workspace(cgfast::cuda::gated_message_workspace(problem.edges()));
    cgfast::cuda::gated_message(problem.edges(), problem.change(), out.data(), workspace.data(), nullptr,
                                problem.start.data());
    return out;
}

template <class T>
void check(const Problem<T>& problem) {
    const Array<T> out = messages(problem);
    check_close<T>("message", out, Oracle<T>(problem).messages());
    emulated::under_another_schedule(
        [&] { CHECK(messages(problem).same_bits(out), "another order of threads gives other bits"); });
}

const auto check_any = [](const auto& problem) { check(problem); };

// Sends some edges outside; only their rows may notice.
template <class T, class Spoil>
void check_spoiled(const Shape& shape, const Spoil& spoil) {
    Random random(95);
    Problem<T> problem(shape, random);
    const Array<T> clean = messages(problem);
    const int64_t row = 5;
    spoil(problem, problem.row_ptr[row] + 3);
    const Array<T> out = messages(problem);
    for (int64_t i = 0; i < out.size(); ++i) {
        const bool hit = i / shape.n_features == row;
        CHECK(hit ? std::isnan(out[i]) : out[i] == clean[i], "value " << i << ": " << out[i]);
    }
}

}  // namespace

TEST(cuda_message_every_edge_term_and_size) {
    Random random(80);
    every_edge_term_and_size(random, check_any);
}

TEST(cuda_message_every_option_alone) {
    Random random(81);
    every_option_alone(random, check_any);
}

TEST(cuda_message_basis_sizes_and_widths) {
    Random random(82);
    basis_sizes_and_widths(random, check_any);
}

TEST(cuda_message_gaussian_window_is_wide_enough) {
    Random random(83);
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

TEST(cuda_message_distances_far_outside_the_basis) {
    Random random(84);
    distances_far_outside_the_basis(random, check_any);
}

TEST(cuda_message_attributes_with_zeros) {
    Random random(85);
    attributes_with_zeros(random, check_any);
}

TEST(cuda_message_large_arguments) {
    Random random(86);
    large_arguments(random, check_any);
}

TEST(cuda_message_random_shapes) {
    Random random(87);
    random_shapes(random, check_any);
}

TEST(cuda_message_nothing_to_do) {
    Random random(88);
    nothing_to_do(random, check_any);
}

TEST(cuda_message_more_rows_than_warps) {
    Random random(89);
    Shape shape;
    shape.n_rows = 17000;  // a grid has 16,384 warps at most
    shape.degrees = {0, 0, 1, 0, 0, 2, 0, 0, 0, 0, 0};
    shape.n_features = 2;
    shape.n_basis = 3;
    check(Problem<float>(with_all_options(shape), random));
}

TEST(cuda_message_weights_too_large_for_shared_memory) {
    Random random(90);
    for (const EdgeTerm term : {EdgeTerm::dense, EdgeTerm::gaussian}) {
        for (const int64_t n_features : {17, 65}) {
            Shape shape;
            shape.n_basis = 97;  // of 512 bytes each: more than 48 KiB
            shape.basis = {0.0, 0.1, 0.2};
            shape.term = term;
            shape.n_features = n_features;
            in_both_dtypes(shape, random, check_any);
            in_both_dtypes(with_all_options(shape), random, check_any);
        }
    }
}

// Rows that come by distance, and in any order: each sum has its terms by distance, so only their rounding differs.
TEST(cuda_message_edges_by_distance) {
    Random random(91);
    Shape shape;
    shape.degrees = {12, 12, 12, 40};
    shape.n_basis = 41;
    shape.basis = {0.0, 0.2, 0.2};
    const auto sort = [](auto& problem) {
        for (int64_t i = 0; i < problem.shape.n_rows; ++i) {
            std::sort(problem.distances.begin() + problem.row_ptr[i], problem.distances.begin() + problem.row_ptr[i + 1]);
        }
    };
    in_both_dtypes(shape, random, sort, check_any);
}

TEST(cuda_message_nan_distance_gives_nan) {
    Shape shape;
    shape.n_features = 65;
    for (const bool ordered : {false, true}) {
        shape.ordered = ordered;
        const auto spoil = [](auto& problem, int64_t edge) {
            problem.distances[problem.id(edge)] = std::numeric_limits<double>::quiet_NaN();
        };
        check_spoiled<float>(shape, spoil);
        check_spoiled<double>(shape, spoil);
    }
}

TEST(cuda_message_indices_outside_give_nan) {
    for (const int64_t index : {int64_t(-1), int64_t(31), int64_t(1) << 40, INT64_MAX, INT64_MIN}) {
        Shape shape;
        check_spoiled<float>(shape, [&](auto& problem, int64_t edge) { problem.source[edge] = index; });
        check_spoiled<double>(with_all_options(shape),
                              [&](auto& problem, int64_t edge) { problem.source[edge] = index; });
    }
    for (const int64_t index : {int64_t(-1), int64_t(1) << 40, INT64_MAX, INT64_MIN}) {
        for (const EdgeTerm term : every_term) {
            Shape shape;
            shape.term = term;
            check_spoiled<float>(with_all_options(shape),
                                 [&](auto& problem, int64_t edge) { problem.order[edge] = index; });
        }
    }
}

TEST(cuda_message_wild_row_pointers_touch_nothing_else) {
    Random random(92);
    for (const int64_t pointer : {int64_t(-1), int64_t(1) << 40, INT64_MAX, INT64_MIN, int64_t(0)}) {
        for (const int64_t at : {0, 3, 8}) {
            Shape shape;
            Problem<float> problem(shape, random);
            problem.row_ptr[at] = pointer;
            messages(problem);  // the result is unspecified
        }
    }
}

TEST(cuda_message_nan_feature_gives_nan) {
    Random random(93);
    Shape shape;
    shape.n_rows = 1;
    for (const int64_t column : {int64_t{2}, shape.n_features + 2}) {
        Problem<float> problem(shape, random);
        problem.p[column] = std::numeric_limits<float>::quiet_NaN();
        const Array<float> out = messages(problem);
        for (int64_t f = 0; f < shape.n_features; ++f) {
            CHECK(std::isnan(out[f]) == (f == 2), "column " << column << " feature " << f << ": " << out[f]);
        }
    }
}

TEST(cuda_message_refuses_a_basis_that_is_none) {
    Random random(94);
    Problem<float> bad(Shape(), random);
    const double nan = std::numeric_limits<double>::quiet_NaN();
    for (const GaussianBasis& basis :
         {GaussianBasis{0, 0, 0.2}, {0, 0.2, 0}, {nan, 0.2, 0.2}, {0, -0.2, 0.2}, {0, 0.2, nan}}) {
        bad.shape.basis = basis;
        CHECK_REFUSED(messages(bad), "basis");
    }
}
