// Sorting edges by target, and pooling atoms into crystals.
#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>
#include <vector>

#include "graph/pool.hpp"
#include "graph/sort_edges.hpp"
#include "message_problem.hpp"

using cgfast::Reduction;
using message_tests::Array;
using testing::Random;

namespace {

constexpr Reduction every_reduction[] = {Reduction::sum, Reduction::mean, Reduction::min, Reduction::max};

struct Sorted {
    Array<int64_t> source, row_ptr, order;
};

Sorted sort(const Array<int64_t>& source, const Array<int64_t>& target, int64_t n_targets) {
    Sorted out = {Array<int64_t>(source.size(), -7), Array<int64_t>(n_targets + 1, -7),
                  Array<int64_t>(source.size(), -7)};
    cgfast::sort_edges(source.data(), target.data(), source.size(), n_targets,
                       {out.source.data(), out.row_ptr.data(), out.order.data()});
    return out;
}

void check_sorted(const Array<int64_t>& target, int64_t n_targets, Random& random) {
    Array<int64_t> source(target.size());
    for (int64_t& j : source) j = random.integer(-1000, 1000);  // not looked at
    const Sorted found = sort(source, target, n_targets);
    std::vector<int64_t> wanted(target.size());
    std::iota(wanted.begin(), wanted.end(), int64_t(0));
    std::stable_sort(wanted.begin(), wanted.end(), [&](int64_t a, int64_t b) { return target[a] < target[b]; });
    for (int64_t e = 0; e < target.size(); ++e) {
        CHECK(found.order[e] == wanted[e], "edge " << e << ": " << found.order[e] << ", not " << wanted[e]);
        CHECK(found.source[e] == source[wanted[e]], "edge " << e << ": source " << found.source[e]);
    }
    int64_t so_far = 0;
    for (int64_t i = 0; i <= n_targets; ++i) {
        CHECK(found.row_ptr[i] == so_far, "row " << i << " begins at " << found.row_ptr[i] << ", not " << so_far);
        while (so_far < target.size() && target[wanted[so_far]] <= i) ++so_far;
    }
}

// Rows of x as columns of a wider matrix; the rest of it is NaN.
template <class T>
struct Atoms {
    int64_t n_features, stride;
    Array<int64_t> graph_ptr;
    Array<T> x;

    Atoms(const std::vector<int64_t>& sizes, int64_t n, int64_t gap, Random& random)
        : n_features(n), stride(n + gap), graph_ptr(static_cast<int64_t>(sizes.size()) + 1) {
        for (size_t b = 0; b < sizes.size(); ++b) graph_ptr[b + 1] = graph_ptr[b] + sizes[b];
        if (n_rows() > 0) x = Array<T>((n_rows() - 1) * stride + n_features);
        for (int64_t i = 0; i < n_rows(); ++i) {
            for (int64_t f = 0; f < n_features; ++f) x[i * stride + f] = static_cast<T>(random.uniform(-3, 3));
        }
    }

    int64_t n_graphs() const { return graph_ptr.size() - 1; }
    int64_t n_rows() const { return graph_ptr[n_graphs()]; }

    Array<T> pool(Reduction reduction, int n_threads = 1) const {
        Array<T> out(n_graphs() * n_features);
        cgfast::pool(x.data(), stride, n_rows(), n_features, graph_ptr.data(), n_graphs(), reduction, out.data(),
                     n_threads);
        return out;
    }

    void check(Reduction reduction) const {
        const Array<T> out = pool(reduction);
        CHECK(out.front_is_intact(), "written in front of the array");
        for (int64_t i = 0; i < out.size(); ++i) check_value(reduction, i / n_features, i % n_features, out[i]);
        for (const int n_threads : {2, 3, 5}) {
            CHECK(pool(reduction, n_threads).same_bits(out), n_threads << " threads differ from one");
        }
    }

    void check_value(Reduction reduction, int64_t b, int64_t f, T got) const {
        const int64_t n = graph_ptr[b + 1] - graph_ptr[b];
        long double sum = 0;
        long double size = 0;
        long double low = n == 0 ? 0 : std::numeric_limits<long double>::infinity();
        long double high = -low;
        for (int64_t i = graph_ptr[b]; i < graph_ptr[b + 1]; ++i) {
            const long double value = x[i * stride + f];
            sum += value;
            size += std::fabs(value);
            low = std::min(low, value);
            high = std::max(high, value);
        }
        if (reduction == Reduction::mean && n > 0) {
            sum /= n;
            size /= n;
        }
        const bool sums = reduction == Reduction::sum || reduction == Reduction::mean;
        const long double wanted = sums ? sum : reduction == Reduction::min ? low : high;
        // Sums of 256 values and sums of those: far fewer roundings than values.
        const long double tolerance = sums ? 4 * std::numeric_limits<T>::epsilon() * size : 0;
        CHECK(std::fabs(got - wanted) <= tolerance, "graph " << b << " of " << n << " rows, feature " << f
                                                             << ", reduction " << static_cast<int>(reduction) << ": "
                                                             << got << ", not " << wanted);
    }
};

std::vector<int64_t> graph_sizes(int64_t n, Random& random) {
    const int64_t special[] = {0, 1, 2, 255, 256, 257, 513};
    std::vector<int64_t> sizes;
    for (int64_t b = 0; b < n; ++b) sizes.push_back(b % 9 < 7 ? special[b % 9] : random.integer(0, 30));
    return sizes;
}

template <class T>
void check_nan(Random& random) {
    Atoms<T> atoms({3, 4, 2}, 5, 2, random);
    for (const Reduction reduction : every_reduction) {
        for (int64_t row = 3; row < 7; ++row) {  // the first, the last or between
            Atoms<T> broken = atoms;
            broken.x[row * atoms.stride + 2] = std::numeric_limits<T>::quiet_NaN();
            const Array<T> out = broken.pool(reduction);
            const Array<T> clean = atoms.pool(reduction);
            for (int64_t i = 0; i < out.size(); ++i) {
                CHECK(i == 7 ? std::isnan(out[i]) : out[i] == clean[i],
                      "row " << row << " value " << i << ": " << out[i]);
            }
        }
    }
}

}  // namespace

TEST(sort_edges_in_any_order) {
    Random random(70);
    for (const int64_t n_edges : {1, 2, 50, 3000}) {
        for (const int64_t n_targets : {1, 7, 500}) {
            Array<int64_t> target(n_edges);
            for (int64_t& i : target) i = random.integer(0, n_targets - 1);
            check_sorted(target, n_targets, random);
            std::sort(target.begin(), target.end());
            check_sorted(target, n_targets, random);
            std::reverse(target.begin(), target.end());
            check_sorted(target, n_targets, random);
            std::sort(target.begin(), target.end());
            std::swap(target[0], target[n_edges - 1]);
            check_sorted(target, n_targets, random);
        }
    }
}

TEST(sort_edges_that_do_not_exist) {
    Random random(71);
    for (const int64_t n_targets : {0, 1, 9}) check_sorted({}, n_targets, random);
}

TEST(sort_edges_refuses_targets_out_of_range) {
    for (const int64_t wrong :
         {int64_t{-1}, int64_t{4}, std::numeric_limits<int64_t>::max(), std::numeric_limits<int64_t>::min()}) {
        for (int64_t place = 0; place < 5; ++place) {
            Array<int64_t> target(5, 2);
            target[place] = wrong;
            CHECK_REFUSED(sort(Array<int64_t>(5), target, 4), "edge_index must have targets in [0, 4)");
        }
    }
    CHECK_REFUSED(sort(Array<int64_t>(1), Array<int64_t>(1, 0), 0), "target");
}

TEST(graph_pool_every_size_and_reduction) {
    Random random(72);
    for (const int64_t n_features : {1, 15, 16, 17, 64, 65}) {
        for (const int64_t gap : {0, 3}) {
            const std::vector<int64_t> sizes = graph_sizes(n_features == 17 ? 200 : 18, random);
            for (const Reduction reduction : every_reduction) {
                Atoms<float>(sizes, n_features, gap, random).check(reduction);
                Atoms<double>(sizes, n_features, gap, random).check(reduction);
            }
        }
    }
}

TEST(graph_pool_of_a_huge_graph) {
    Random random(73);
    for (const Reduction reduction : every_reduction) {
        Atoms<float> atoms({100000, 3}, 2, 0, random);
        for (int64_t i = 0; i < 100000; ++i) atoms.x[2 * i] = 0.1f;  // one running sum would be off by 1e-4 of it
        atoms.check(reduction);
    }
}

TEST(graph_pool_of_nothing) {
    Random random(74);
    for (const Reduction reduction : every_reduction) {
        Atoms<float>({}, 5, 0, random).check(reduction);
        Atoms<float>({0, 0, 0}, 5, 0, random).check(reduction);
        Atoms<float>({3, 0, 2}, 0, 1, random).check(reduction);
    }
}

TEST(graph_pool_knows_its_reductions_by_name) {
    CHECK(cgfast::reduction("sum") == Reduction::sum && cgfast::reduction("mean") == Reduction::mean, "sum, mean");
    CHECK(cgfast::reduction("min") == Reduction::min && cgfast::reduction("max") == Reduction::max, "min, max");
    for (const char* wrong : {"", "Mean", "add", "sum "})
        CHECK_REFUSED(cgfast::reduction(wrong), "reduce must be one of");
}

TEST(graph_pool_nan_gives_nan) {
    Random random(75);
    check_nan<float>(random);
    check_nan<double>(random);
}

TEST(graph_pool_refuses_bad_pointers) {
    Random random(76);
    const Atoms<float> good({3, 4, 2}, 5, 0, random);
    Array<float> out(15);
    const auto pool = [&](const std::vector<int64_t>& graph_ptr) {
        cgfast::pool(good.x.data(), 5, 9, 5, graph_ptr.data(), 3, Reduction::sum, out.data(), 1);
    };
    CHECK_REFUSED(pool({1, 3, 7, 9}), "graph_ptr must begin with 0");
    CHECK_REFUSED(pool({0, 8, 7, 9}), "graph_ptr must not decrease");
    CHECK_REFUSED(pool({0, -1, 7, 9}), "graph_ptr must not decrease");
    CHECK_REFUSED(pool({0, 3, 7, 8}), "graph_ptr must end");
    CHECK_REFUSED(pool({0, 3, 7, 10}), "graph_ptr must end");
    CHECK_REFUSED(cgfast::pool(good.x.data(), 5, 9, 5, good.graph_ptr.data(), 0, Reduction::sum, out.data(), 1),
                  "graph_ptr");
    pool({0, 3, 7, 9});
}
