// gated_message_backward against formulas in long double: every gradient, alone and together, for every kind of input.
#include <algorithm>
#include <cmath>

#include "message/gated_message.hpp"
#include "message/gradient_chunks.hpp"
#include "message_gradients.hpp"
#include "message_scenarios.hpp"

using namespace message_tests;

namespace {

template <class T>
GradientArrays<T> backward(const Problem<T>& problem, unsigned wanted = of_everything, int n_threads = 1) {
    GradientArrays<T> found(problem, wanted);
    cgfast::gated_message_backward(problem.edges(), problem.change(), problem.grad.data(), found.pointers(),
                                   found.scale.data(), found.shift.data(), n_threads);
    return found;
}

template <class T>
void check(const Problem<T>& problem) {
    const GradientArrays<T> found = backward(problem);
    found.check(Oracle<T>(problem).message_gradients());
    for (const int n_threads : {2, 3, 5}) {
        CHECK(backward(problem, of_everything, n_threads).same_bits(found), n_threads << " threads differ from one");
    }
}

const auto check_any = [](const auto& problem) { check(problem); };

template <class T>
void check_every_combination(const Shape& shape, Random& random) {
    const Problem<T> problem(shape, random);
    const Gradients expected = Oracle<T>(problem).message_gradients();
    const unsigned possible = gradients_of(problem);
    for (unsigned wanted = 0; wanted <= of_everything; ++wanted) {
        if ((wanted & ~possible) == 0) backward(problem, wanted).check(expected);
    }
}

struct ChunkCounts {
    int exclusive = 0, shared = 0;
};

template <class T>
ChunkCounts count_chunks(const Problem<T>& problem) {
    ChunkCounts counts;
    for (const cgfast::RowChunk& chunk : cgfast::row_chunks(problem.row_ptr.data(), problem.shape.n_rows,
                                                            problem.source.data(), problem.shape.n_sources)) {
        ++(chunk.exclusive ? counts.exclusive : counts.shared);
    }
    return counts;
}

Shape many_rows(int64_t n_rows) {
    Shape shape;
    shape.n_rows = n_rows;
    shape.n_sources = n_rows + 10;
    shape.degrees = {12};
    shape.n_features = 3;
    shape.n_basis = 3;
    return shape;
}

}  // namespace

TEST(backward_every_edge_term_and_size) {
    Random random(30);
    every_edge_term_and_size(random, check_any);
}

TEST(backward_every_option_alone) {
    Random random(31);
    every_option_alone(random, check_any);
}

TEST(backward_basis_sizes_and_widths) {
    Random random(32);
    basis_sizes_and_widths(random, check_any);
}

TEST(backward_every_combination_of_gradients) {
    Random random(33);
    for (const EdgeTerm term : every_term) {
        for (const int64_t n_features : {17, 64}) {
            Shape shape;
            shape.term = term;
            shape.n_features = n_features;
            check_every_combination<float>(shape, random);
            check_every_combination<float>(with_all_options(shape), random);
            check_every_combination<double>(with_all_options(shape), random);
        }
    }
}

TEST(backward_few_sources_and_many) {
    Random random(34);
    for (const EdgeTerm term : every_term) {
        for (const int64_t n_sources : {1, 2, 500}) {
            Shape shape;
            shape.term = term;
            shape.n_sources = n_sources;
            in_both_dtypes(with_all_options(shape), random, check_any);
        }
    }
}

TEST(backward_nothing_to_do) {
    Random random(35);
    nothing_to_do(random, check_any);
}

TEST(backward_distances_far_outside_the_basis) {
    Random random(36);
    distances_far_outside_the_basis(random, check_any);
}

TEST(backward_attributes_with_zeros) {
    Random random(37);
    attributes_with_zeros(random, check_any);
}

TEST(backward_large_arguments) {
    Random random(38);
    large_arguments(random, check_any);
}

TEST(backward_random_shapes) {
    Random random(44);
    random_shapes(random, check_any);
}

TEST(backward_batch_of_crystals) {
    Random random(39);
    for (const EdgeTerm term : every_term) {
        Shape shape = with_all_options(many_rows(720));
        shape.term = term;
        const auto arrange = [&](auto& problem) {
            make_batch(problem, 0, 9, random);
            const ChunkCounts counts = count_chunks(problem);
            CHECK(counts.exclusive >= 3 && counts.shared == 0,
                  counts.exclusive << " exclusive, " << counts.shared << " shared");
        };
        in_both_dtypes(shape, random, arrange, check_any);
    }
}

TEST(backward_one_huge_crystal) {
    Random random(40);
    for (const EdgeTerm term : every_term) {
        Shape shape = with_all_options(many_rows(2100));
        shape.term = term;
        const auto arrange = [&](auto& problem) {
            const ChunkCounts counts = count_chunks(problem);
            CHECK(counts.exclusive == 0 && counts.shared >= 3,
                  counts.exclusive << " exclusive, " << counts.shared << " shared");
        };
        in_both_dtypes(shape, random, arrange, check_any);
    }
}

TEST(backward_huge_crystal_before_small_ones) {
    Random random(41);
    for (const int64_t n_features : {3, 64}) {
        Shape shape = many_rows(1900);
        shape.n_features = n_features;
        const auto arrange = [&](auto& problem) {
            for (int64_t e = 0; e < problem.row_ptr[1500]; ++e) problem.source[e] = random.integer(0, 1499);
            make_batch(problem, 1500, 8, random);
            const ChunkCounts counts = count_chunks(problem);
            CHECK(counts.exclusive >= 2 && counts.shared >= 2,
                  counts.exclusive << " exclusive, " << counts.shared << " shared");
        };
        in_both_dtypes(shape, random, arrange, check_any);
    }
}

TEST(backward_nan_stays_with_its_edge) {
    Random random(42);
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
    check_rows("q", found.q, clean.q, 130, problem.source[edge]);
    check_rows("distances", found.distances, clean.distances, 1, problem.id(edge));
    check_rows("edge_weight", found.edge_weight, clean.edge_weight, 1, problem.id(edge));
}

TEST(backward_refuses_bad_input) {
    Random random(43);
    Shape shape;
    shape.ordered = true;
    const Problem<float> good(shape, random);
    Problem<float> bad = good;
    bad.row_ptr[2] = bad.row_ptr[3] + 1;
    CHECK_REFUSED(backward(bad), "row_ptr");
    bad = good;
    bad.source[0] = good.shape.n_sources;
    CHECK_REFUSED(backward(bad), "source");
    bad = good;
    bad.order[0] = bad.order[1];
    CHECK_REFUSED(backward(bad), "order");
    bad = good;
    bad.shape.basis.step = 0;
    CHECK_REFUSED(backward(bad), "basis");
}
