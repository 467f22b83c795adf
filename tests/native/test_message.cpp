// gated_message against a naive loop in long double: all edge terms, weights, sizes, strides, distances of any kind.
#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <cstring>
#include <limits>

#include "message/gated_message.hpp"
#include "testing.hpp"

using cgfast::gated_message;
using cgfast::GatedMessage;
using cgfast::GaussianBasis;
using testing::Random;

namespace {

enum class EdgeTerm { none, dense, gaussian };

struct Shape {
    int64_t n_rows = 23;
    int64_t n_sources = 31;
    int64_t n_features = 16;
    int64_t n_basis = 41;
    EdgeTerm term = EdgeTerm::gaussian;
    bool weighted = false;
    GaussianBasis basis = {0.0, 0.2, 0.2};
};

// A random problem. P and Q are columns of one wider matrix, as a fused projection makes them; what lies between is NaN.
template <class T>
struct Problem {
    Shape shape;
    int64_t stride;
    std::vector<T> p, q, edge_weight, weight, edge_attr, out;
    std::vector<int64_t> row_ptr{0}, source;
    std::vector<double> distances;

    Problem(const Shape& wanted, Random& random) : shape(wanted), stride(2 * wanted.n_features + 3) {
        for (int64_t i = 0; i < shape.n_rows; ++i) {
            const int64_t degrees[] = {12, 0, 1, 15, 16, 17, 33};  // around the block of 16 edges, and isolated
            row_ptr.push_back(row_ptr.back() + degrees[i % 7]);
        }
        const int64_t n_edges = row_ptr.back();
        const double longest = shape.basis.start + shape.basis.step * static_cast<double>(shape.n_basis);
        for (int64_t e = 0; e < n_edges; ++e) {
            source.push_back(random.integer(0, shape.n_sources - 1));
            edge_weight.push_back(static_cast<T>(random.uniform(0.0, 1.5)));
            distances.push_back(random.uniform(shape.basis.start - 0.5, longest + 0.5));
        }
        fill_strided(random, shape.n_rows, p);
        fill_strided(random, shape.n_sources, q);
        for (int64_t k = 0; k < shape.n_basis * 2 * shape.n_features; ++k) weight.push_back(value(random, 1.0));
        for (int64_t k = 0; k < n_edges * shape.n_basis; ++k) edge_attr.push_back(value(random, 1.0));
        out.assign(shape.n_rows * shape.n_features, std::numeric_limits<T>::quiet_NaN());
    }

    static T value(Random& random, double size) { return static_cast<T>(random.uniform(-size, size)); }

    // The last row ends with its last feature: a read past it leaves the array.
    void fill_strided(Random& random, int64_t n, std::vector<T>& matrix) const {
        if (n == 0) return;
        matrix.assign((n - 1) * stride + 2 * shape.n_features, std::numeric_limits<T>::quiet_NaN());
        for (int64_t i = 0; i < n; ++i) {
            for (int64_t f = 0; f < 2 * shape.n_features; ++f) matrix[i * stride + f] = value(random, 3.0);
        }
    }

    GatedMessage<T> arguments() {
        GatedMessage<T> a{};
        a.p = p.data();
        a.p_stride = stride;
        a.q = q.data();
        a.q_stride = stride;
        a.n_rows = shape.n_rows;
        a.n_sources = shape.n_sources;
        a.n_features = shape.n_features;
        a.n_edges = static_cast<int64_t>(source.size());
        a.row_ptr = row_ptr.data();
        a.source = source.data();
        a.edge_weight = shape.weighted ? edge_weight.data() : nullptr;
        a.weight = shape.term == EdgeTerm::none ? nullptr : weight.data();
        a.n_basis = shape.term == EdgeTerm::none ? 0 : shape.n_basis;
        a.edge_attr = shape.term == EdgeTerm::dense ? edge_attr.data() : nullptr;
        a.distances = shape.term == EdgeTerm::gaussian ? distances.data() : nullptr;
        a.basis = shape.basis;
        a.out = out.data();
        return a;
    }

    // The value of an edge feature, and how far the last bit of a float64 distance moves it, in epsilons of T.
    struct Coefficient {
        long double value, blur;
    };
    Coefficient coefficient(int64_t e, int64_t k) const {
        if (shape.term == EdgeTerm::dense) return {edge_attr[e * shape.n_basis + k], 0};
        const GaussianBasis& basis = shape.basis;
        const long double center = basis.start + static_cast<long double>(k) * basis.step;
        const long double u = (distances[e] - center) / basis.width;
        const long double value = std::exp(-u * u);
        const long double bits = std::numeric_limits<double>::epsilon() / std::numeric_limits<T>::epsilon();
        const long double size = std::fabs(distances[e]) + std::fabs(center);
        return {value, value > 0 ? 2 * std::fabs(u) * value * size / basis.width * bits : 0};
    }

    // out[i, f] to many digits, and the size of the terms that rounding errors are measured by.
    long double expected(int64_t i, int64_t f, long double* scale) const {
        long double sum = 0;
        *scale = 0;
        for (int64_t e = row_ptr[i]; e < row_ptr[i + 1]; ++e) {
            long double z[2];
            long double size = 1;
            for (int half = 0; half < 2; ++half) {
                const int64_t column = half * shape.n_features + f;
                const long double from_p = p[i * stride + column];
                const long double from_q = q[source[e] * stride + column];
                z[half] = from_p + from_q;
                size += std::fabs(from_p) + std::fabs(from_q);
                for (int64_t k = 0; k < shape.n_basis && shape.term != EdgeTerm::none; ++k) {
                    const Coefficient c = coefficient(e, k);
                    const long double w = weight[k * 2 * shape.n_features + column];
                    z[half] += c.value * w;
                    size += (std::fabs(c.value) + c.blur) * std::fabs(w);
                }
            }
            const long double sigmoid = 1 / (1 + std::exp(-z[0]));
            const long double softplus = std::fmax(z[1], 0.0L) + std::log1p(std::exp(-std::fabs(z[1])));
            const long double w = shape.weighted ? static_cast<long double>(edge_weight[e]) : 1.0L;
            sum += w * sigmoid * softplus;
            *scale += std::fabs(w) * size * (1 + softplus);
        }
        return sum;
    }

    void check() {
        gated_message(arguments(), 1);
        const long double eps = std::numeric_limits<T>::epsilon();
        for (int64_t i = 0; i < shape.n_rows; ++i) {
            for (int64_t f = 0; f < shape.n_features; ++f) {
                long double scale = 0;
                const long double want = expected(i, f, &scale);
                const T got = out[i * shape.n_features + f];
                CHECK(std::fabs(got - want) <= 0.5L * eps * scale,
                      "row " << i << " feature " << f << " of " << shape.n_features << ": " << got << ", wanted " << want
                             << " within " << 0.5L * eps * scale << ", " << sizeof(T) * 8 << " bits");
            }
        }
        const std::vector<T> one_thread = out;
        std::fill(out.begin(), out.end(), std::numeric_limits<T>::quiet_NaN());
        gated_message(arguments(), 3);
        CHECK(out.empty() || std::memcmp(out.data(), one_thread.data(), out.size() * sizeof(T)) == 0,
              "three threads differ from one");
    }
};

void check_both(const Shape& shape, Random& random) {
    Problem<float>(shape, random).check();
    Problem<double>(shape, random).check();
}

template <class T>
void check_nan_distance(double nan) {
    Random random(7);
    Shape shape;
    shape.n_features = 65;
    Problem<T> problem(shape, random);
    problem.check();
    const std::vector<T> clean = problem.out;
    problem.distances[problem.row_ptr[3] + 1] = nan;
    gated_message(problem.arguments(), 1);
    for (int64_t i = 0; i < shape.n_rows; ++i) {
        for (int64_t f = 0; f < shape.n_features; ++f) {
            const T got = problem.out[i * shape.n_features + f];
            const T before = clean[i * shape.n_features + f];
            CHECK(i == 3 ? std::isnan(got) : got == before, "row " << i << " feature " << f << ": " << got);
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
        gated_message(problem.arguments(), 1);
        for (int64_t f = 0; f < shape.n_features; ++f) {
            CHECK(std::isnan(problem.out[f]) == (f == 2),
                  "column " << column << " feature " << f << ": " << problem.out[f]);
        }
    }
}

}  // namespace

TEST(message_every_edge_term_and_size) {
    Random random(1);
    for (const int64_t n_features : {1, 3, 16, 64, 65, 130}) {
        for (const EdgeTerm term : {EdgeTerm::none, EdgeTerm::dense, EdgeTerm::gaussian}) {
            for (const bool weighted : {false, true}) {
                Shape shape;
                shape.n_features = n_features;
                shape.term = term;
                shape.weighted = weighted;
                check_both(shape, random);
            }
        }
    }
}

TEST(message_basis_sizes_and_widths) {
    Random random(2);
    for (const int64_t n_basis : {1, 2, 15, 16, 17, 50}) {
        for (const double steps : {0.1, 1.0, 7.0, 100.0}) {
            Shape shape;
            shape.n_basis = n_basis;
            shape.basis = {0.7, 0.2, 0.2 * steps};
            check_both(shape, random);
        }
    }
}

// Nothing but Gaussians under equal weights, so that a window cut too narrow stands out from rounding.
TEST(message_gaussian_window_is_wide_enough) {
    Random random(11);
    Shape shape;
    shape.n_rows = 200;
    shape.n_features = 1;
    Problem<float> single(shape, random);
    Problem<double> twice(shape, random);
    for (std::vector<float>* values : {&single.p, &single.q}) std::fill(values->begin(), values->end(), 0.0f);
    for (std::vector<double>* values : {&twice.p, &twice.q}) std::fill(values->begin(), values->end(), 0.0);
    std::fill(single.weight.begin(), single.weight.end(), 0.5f);
    std::fill(twice.weight.begin(), twice.weight.end(), 0.5);
    single.check();
    twice.check();
}

TEST(message_dense_sizes) {
    Random random(3);
    for (const int64_t n_basis : {1, 5, 16, 33}) {
        Shape shape;
        shape.n_basis = n_basis;
        shape.term = EdgeTerm::dense;
        check_both(shape, random);
    }
}

TEST(message_distances_far_outside_the_basis) {
    Random random(4);
    const double infinity = std::numeric_limits<double>::infinity();
    const double far[] = {9.0, 12.0, 100.0, 1e9, 1e300, infinity, -1.0, -3.0, -1e9, -1e300, -infinity, 0.0, 1e-320, 8.0};
    for (const double steps : {1.0, 7.0}) {
        Shape shape;
        shape.basis.width = steps * shape.basis.step;
        Problem<float> single(shape, random);
        Problem<double> twice(shape, random);
        for (size_t e = 0; e < single.distances.size(); ++e) {
            single.distances[e] = far[e % (sizeof far / sizeof *far)];
            twice.distances[e] = single.distances[e];
        }
        single.check();
        twice.check();
    }
}

TEST(message_large_arguments) {
    Random random(5);
    Shape shape;
    shape.term = EdgeTerm::none;
    Problem<float> single(shape, random);
    Problem<double> twice(shape, random);
    const double sizes[] = {0.0, 20.0, -20.0, 80.0, -80.0, 120.0, -120.0, 800.0, -800.0, 1e6, -1e6, 1e30, -1e30};
    for (int64_t i = 0; i < shape.n_rows; ++i) {
        for (int64_t c = 0; c < 2 * shape.n_features; ++c) {
            single.p[i * single.stride + c] = static_cast<float>(sizes[(i + 3 * c) % 13]);
            twice.p[i * twice.stride + c] = sizes[(i + 3 * c) % 13];
        }
    }
    single.check();
    twice.check();
}

TEST(message_nothing_to_do) {
    Random random(6);
    Shape shape;
    shape.n_rows = 0;
    check_both(shape, random);
    shape.n_sources = 0;
    check_both(shape, random);
    shape = Shape();
    shape.n_features = 0;
    check_both(shape, random);
    shape = Shape();
    shape.n_basis = 0;
    check_both(shape, random);
    shape = Shape();
    shape.n_rows = 300;  // several tasks
    check_both(shape, random);
}

TEST(message_nan_distance_gives_nan) {
    check_nan_distance<float>(std::numeric_limits<double>::quiet_NaN());
    check_nan_distance<double>(std::numeric_limits<double>::quiet_NaN());
}

TEST(message_nan_distance_without_centres) {
    Random random(9);
    Shape shape;
    shape.n_basis = 0;
    shape.n_features = 130;
    Problem<float> problem(shape, random);
    problem.distances[0] = std::numeric_limits<double>::quiet_NaN();
    gated_message(problem.arguments(), 1);  // the result is unspecified; memory outside the arrays is not touched
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

TEST(message_refuses_bad_input) {
    Random random(10);
    const Problem<float> good(Shape(), random);
    Problem<float> bad = good;
    bad.row_ptr[0] = 1;
    CHECK_REFUSED(gated_message(bad.arguments(), 1), "row_ptr");
    bad = good;
    bad.row_ptr[2] = bad.row_ptr[3] + 1;
    CHECK_REFUSED(gated_message(bad.arguments(), 1), "row_ptr");
    for (const int64_t source : {int64_t{-1}, good.shape.n_sources, std::numeric_limits<int64_t>::max()}) {
        bad = good;
        bad.source.back() = source;
        CHECK_REFUSED(gated_message(bad.arguments(), 1), "source");
    }
    const double nan = std::numeric_limits<double>::quiet_NaN();
    const GaussianBasis wrong[] = {{0, 0, 0.2}, {0, 0.2, 0}, {nan, 0.2, 0.2}, {0, -0.2, 0.2}, {0, 0.2, nan}};
    for (const GaussianBasis& basis : wrong) {
        bad = good;
        bad.shape.basis = basis;
        CHECK_REFUSED(gated_message(bad.arguments(), 1), "basis");
    }
}
