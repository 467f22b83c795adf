// The CUDA kernels of gated_message_backward, on the emulator, against formulas in long double.
#include <algorithm>
#include <cmath>

#include "cuda/message/gated_message_backward.hpp"
#include "emulated_run.hpp"
#include "message_gradients.hpp"
#include "message_scenarios.hpp"

using namespace message_tests;

namespace {

template <class T>
GradientArrays<T> backward(const Problem<T>& problem, unsigned wanted = of_everything) {
    GradientArrays<T> found(problem, wanted);
    const emulated::Workspace workspace(
        cgfast::cuda::gated_message_backward_workspace(problem.edges(), problem.change(), found.pointers()));
    cgfast::cuda::gated_message_backward(problem.edges(), problem.change(), problem.grad.data(), found.pointers(),
                                         found.scale.data(), found.shift.data(), workspace.data(), nullptr);
    return found;
}

template <class T>
void check(const Problem<T>& problem) {
    const GradientArrays<T> found = backward(problem);
    found.check(Oracle<T>(problem).message_gradients());
    emulated::under_another_schedule(
        [&] { CHECK(backward(problem).same_bits(found), "another order of threads gives other bits"); });
}

const auto check_any = [](const auto& problem) { check(problem); };

// On a device with little shared memory; the sums then lie in memory, and have the same bits.
struct SmallDevice {
    int before = cuda_emulator::device.shared_bytes;
    explicit SmallDevice(int bytes) { cuda_emulator::device.shared_bytes = bytes; }
    ~SmallDevice() { cuda_emulator::device.shared_bytes = before; }
};

template <class T>
void check_every_combination(const Shape& shape, Random& random) {
    const Problem<T> problem(shape, random);
    const Gradients expected = Oracle<T>(problem).message_gradients();
    const unsigned possible = gradients_of(problem);
    for (unsigned wanted = 0; wanted <= of_everything; ++wanted) {
        if ((wanted & ~possible) == 0) backward(problem, wanted).check(expected);
    }
}

}  // namespace

TEST(cuda_backward_every_edge_term_and_size) {
    Random random(110);
    every_edge_term_and_size(random, check_any);
}

TEST(cuda_backward_every_option_alone) {
    Random random(111);
    every_option_alone(random, check_any);
}

TEST(cuda_backward_basis_sizes_and_widths) {
    Random random(112);
    basis_sizes_and_widths(random, check_any);
}

TEST(cuda_backward_every_combination_of_gradients) {
    Random random(113);
    for (const EdgeTerm term : every_term) {
        Shape shape;
        shape.term = term;
        shape.n_features = 70;
        check_every_combination<float>(shape, random);
        check_every_combination<double>(with_all_options(shape), random);
    }
}

TEST(cuda_backward_few_sources_and_many) {
    Random random(114);
    for (const EdgeTerm term : every_term) {
        for (const int64_t n_sources : {1, 2, 500}) {
            Shape shape;
            shape.term = term;
            shape.n_sources = n_sources;
            in_both_dtypes(with_all_options(shape), random, check_any);
        }
    }
}

TEST(cuda_backward_nothing_to_do) {
    Random random(115);
    nothing_to_do(random, check_any);
}

TEST(cuda_backward_distances_far_outside_the_basis) {
    Random random(116);
    distances_far_outside_the_basis(random, check_any);
}

TEST(cuda_backward_attributes_with_zeros) {
    Random random(117);
    attributes_with_zeros(random, check_any);
}

TEST(cuda_backward_large_arguments) {
    Random random(118);
    large_arguments(random, check_any);
}

TEST(cuda_backward_random_shapes) {
    Random random(119);
    random_shapes(random, check_any);
}

TEST(cuda_backward_batch_of_crystals) {
    Random random(120);
    for (const EdgeTerm term : every_term) {
        Shape shape;
        shape.n_rows = shape.n_sources = 180;
        shape.degrees = {12};
        shape.n_features = 3;
        shape.n_basis = 3;
        shape.term = term;
        const auto arrange = [&](auto& problem) { make_batch(problem, 0, 9, random); };
        in_both_dtypes(with_all_options(shape), random, arrange, check_any);
    }
}

// Rows of very different lengths: chunks end in the middle of nothing, begin behind long rows, and some are empty.
TEST(cuda_backward_uneven_rows) {
    Random random(121);
    Shape shape;
    shape.n_rows = 40;
    shape.degrees = {0, 300, 0, 0, 1, 0, 2, 900, 0, 0, 0, 64, 64, 0};
    shape.n_features = 2;
    shape.n_basis = 3;
    in_both_dtypes(with_all_options(shape), random, check_any);
}

TEST(cuda_backward_little_shared_memory) {
    for (const EdgeTerm term : {EdgeTerm::dense, EdgeTerm::gaussian}) {
        Random random(122);
        Shape shape;
        shape.n_basis = 41;
        shape.n_features = 65;
        shape.term = term;
        const Problem<float> single(with_all_options(shape), random);
        const Problem<double> twice(shape, random);
        const GradientArrays<float> wanted_single = backward(single);
        const GradientArrays<double> wanted_twice = backward(twice);
        for (const int bytes : {64 << 10, 99 << 10, 163 << 10}) {  // Turing, Ampere and Ada of the desktop, A100
            const SmallDevice device(bytes);
            CHECK(backward(single).same_bits(wanted_single), bytes << " bytes, float");
            CHECK(backward(twice).same_bits(wanted_twice), bytes << " bytes, double");
        }
        wanted_single.check(Oracle<float>(single).message_gradients());
    }
}

TEST(cuda_backward_weights_too_large_for_shared_memory) {
    Random random(123);
    for (const EdgeTerm term : {EdgeTerm::dense, EdgeTerm::gaussian}) {
        Shape shape;
        shape.n_basis = 500;
        shape.basis = {0.0, 0.02, 0.9};  // windows of several hundred centres
        shape.term = term;
        in_both_dtypes(with_all_options(shape), random, check_any);
    }
}

TEST(cuda_backward_nan_stays_with_its_edge) {
    Random random(124);
    Shape shape;
    shape.n_features = 65;
    shape.weighted = shape.ordered = true;
    Problem<double> problem(shape, random);
    const GradientArrays<double> clean = backward(problem);
    const int64_t edge = problem.row_ptr[3] + 1;
    problem.distances[problem.id(edge)] = std::numeric_limits<double>::quiet_NaN();
    const GradientArrays<double> found = backward(problem);
    const auto check_rows = [](const char* name, const Array<double>& got, const Array<double>& before, int64_t n,
                               int64_t hit) {
        for (int64_t i = 0; i < got.size(); ++i) {
            CHECK(i / n == hit ? std::isnan(got[i]) : got[i] == before[i], name << "[" << i << "]: " << got[i]);
        }
    };
    check_rows("p", found.p, clean.p, 130, 3);
    check_rows("distances", found.distances, clean.distances, 1, problem.id(edge));
    check_rows("edge_weight", found.edge_weight, clean.edge_weight, 1, problem.id(edge));
    for (int64_t i = 0; i < found.q.size(); ++i) {  // sums of others are in another order: by another distance
        const bool hit = i / 130 == problem.source[edge];
        CHECK(hit ? std::isnan(found.q[i]) : std::fabs(found.q[i] - clean.q[i]) < 1e-12,
              "q[" << i << "]: " << found.q[i]);
    }
}

TEST(cuda_backward_wild_indices_touch_nothing_else) {
    Random random(125);
    for (const int64_t index : {int64_t(-1), int64_t(31), int64_t(1) << 40, INT64_MAX, INT64_MIN}) {
        for (const int64_t at : {0, 3, 8}) {
            Problem<float> problem(with_all_options(Shape()), random);
            problem.row_ptr[at] = index;
            backward(problem);  // the result is unspecified
        }
        Problem<float> problem(with_all_options(Shape()), random);
        problem.source[5] = index;
        if (index != 31) problem.order[7] = index;
        backward(problem);
    }
}

TEST(cuda_backward_refuses_a_basis_that_is_none) {
    Random random(126);
    Problem<float> bad(Shape(), random);
    bad.shape.basis.step = 0;
    CHECK_REFUSED(backward(bad), "basis");
}
