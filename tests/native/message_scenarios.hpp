// Problems that every message op is tested on.
#pragma once

#include <algorithm>

#include "message_problem.hpp"

namespace message_tests {

// Calls check(problem) for a problem in float and one in double, after the same change to both.
template <class Change, class Check>
void in_both_dtypes(const Shape& shape, Random& random, const Change& change, const Check& check) {
    Problem<float> single(shape, random);
    Problem<double> twice(shape, random);
    change(single);
    change(twice);
    check(single);
    check(twice);
}

template <class Check>
void in_both_dtypes(const Shape& shape, Random& random, const Check& check) {
    in_both_dtypes(shape, random, [](const auto&) {}, check);
}

// Feature counts around the tiles of every instruction set, each edge term; without and with all options.
template <class Check>
void every_edge_term_and_size(Random& random, const Check& check) {
    for (const int64_t n_features : {1, 3, 7, 8, 9, 15, 16, 17, 31, 32, 33, 63, 64, 65, 130}) {
        for (const EdgeTerm term : every_term) {
            Shape shape;
            shape.n_features = n_features;
            shape.term = term;
            in_both_dtypes(shape, random, check);
            in_both_dtypes(with_all_options(shape), random, check);
        }
    }
}

template <class Check>
void every_option_alone(Random& random, const Check& check) {
    for (const EdgeTerm term : every_term) {
        for (bool Shape::* option : {&Shape::weighted, &Shape::ordered, &Shape::affine, &Shape::started}) {
            Shape shape;
            shape.term = term;
            shape.n_basis = 41;
            shape.*option = true;
            in_both_dtypes(shape, random, check);
        }
        for (const Storage storage : {Storage::transposed, Storage::apart}) {
            Shape shape;
            shape.term = term;
            shape.n_basis = 41;
            shape.storage = storage;
            in_both_dtypes(shape, random, check);
        }
    }
}

template <class Check>
void basis_sizes_and_widths(Random& random, const Check& check) {
    for (const int64_t n_basis : {1, 2, 5, 15, 16, 17, 41, 70}) {
        for (const int64_t n_features : {5, 65}) {
            Shape shape;
            shape.n_basis = n_basis;
            shape.n_features = n_features;
            shape.term = EdgeTerm::dense;
            in_both_dtypes(shape, random, check);
            shape.term = EdgeTerm::gaussian;
            for (const double steps : {0.1, 1.0, 7.0, 100.0}) {
                shape.basis = {0.7, 0.2, 0.2 * steps};
                in_both_dtypes(shape, random, check);
            }
        }
    }
}

template <class Check>
void nothing_to_do(Random& random, const Check& check) {
    for (const EdgeTerm term : every_term) {
        Shape shape;
        shape.term = term;
        for (const int64_t n_rows : {0, 5}) {
            for (const int64_t n_sources : {0, 7}) {  // only isolated atoms
                shape.n_rows = n_rows;
                shape.n_sources = n_sources;
                shape.degrees = {0};
                in_both_dtypes(with_all_options(shape), random, check);
            }
        }
        shape = Shape();
        shape.term = term;
        shape.n_features = 0;
        in_both_dtypes(with_all_options(shape), random, check);
        shape = Shape();
        shape.term = term;
        shape.n_basis = 0;
        in_both_dtypes(with_all_options(shape), random, check);
    }
}

template <class Check>
void distances_far_outside_the_basis(Random& random, const Check& check) {
    const double infinity = std::numeric_limits<double>::infinity();
    const double far[] = {9.0, 12.0, 100.0, 1e9, 1e300, infinity, -1.0, -3.0, -1e9, -1e300, -infinity, 0.0, 1e-320, 8.0};
    const auto place = [&](auto& problem) {
        for (int64_t e = 0; e < problem.n_edges; ++e) problem.distances[e] = far[e % 14];
    };
    for (const double steps : {1.0, 7.0}) {
        Shape shape;
        shape.n_basis = 41;
        shape.basis = {0.0, 0.2, 0.2 * steps};
        in_both_dtypes(shape, random, place, check);
    }
}

// Rows of edge_attr whose nonzero part is anything: nothing, short or long, with zeros inside; nested, apart, touching.
template <class Check>
void attributes_with_zeros(Random& random, const Check& check) {
    Shape shape;
    shape.term = EdgeTerm::dense;
    shape.n_basis = 41;
    for (const int64_t longest : {3, 41}) {
        const auto clear = [&](auto& problem) {
            for (int64_t e = 0; e < problem.n_edges; ++e) {
                const int64_t first = random.integer(0, 41);
                const int64_t last = first + random.integer(0, longest);
                for (int64_t k = 0; k < 41; ++k) {
                    if (k < first || k >= last || k % 5 == 0) problem.edge_attr[e * 41 + k] = 0;
                }
            }
        };
        in_both_dtypes(with_all_options(shape), random, clear, check);
    }
}

template <class Check>
void large_arguments(Random& random, const Check& check) {
    const double sizes[] = {0.0, 20.0, -20.0, 80.0, -80.0, 120.0, -120.0, 800.0, -800.0, 1e6, -1e6, 1e30, -1e30};
    Shape shape;
    shape.n_rows = 23;
    shape.n_features = 16;
    shape.term = EdgeTerm::none;
    shape.weighted = true;
    const auto enlarge = [&](auto& problem) {
        for (int64_t i = 0; i < shape.n_rows; ++i) {
            for (int64_t c = 0; c < 32; ++c) {
                problem.p[i * problem.p_stride + c] = static_cast<float>(sizes[(i + 3 * c) % 13]);
            }
        }
    };
    in_both_dtypes(shape, random, enlarge, check);
}

// Anything with anything.
template <class Check>
void random_shapes(Random& random, const Check& check) {
    for (int round = 0; round < 40; ++round) {
        Shape shape;
        shape.n_rows = random.integer(1, 12);
        shape.degrees.clear();
        for (int64_t i = 0; i < shape.n_rows; ++i) shape.degrees.push_back(random.integer(0, 3) * random.integer(0, 18));
        shape.n_sources = random.integer(1, 40);
        shape.n_features = random.integer(1, 70);
        shape.n_basis = random.integer(0, 50);
        shape.term = every_term[random.integer(0, 2)];
        shape.weighted = random.integer(0, 1) == 1;
        shape.ordered = random.integer(0, 1) == 1;
        shape.affine = random.integer(0, 1) == 1;
        shape.started = random.integer(0, 1) == 1;
        shape.storage = every_storage[random.integer(0, 2)];
        shape.basis = {random.uniform(-2, 2), random.uniform(0.01, 1), random.uniform(0.01, 3)};
        in_both_dtypes(shape, random, check);
    }
}

}  // namespace message_tests
