// The CUDA kernels of sort_edges and pool on the emulator against the CPU's.
#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>
#include <vector>

#include "cuda/graph/pool.hpp"
#include "cuda/graph/sort_edges.hpp"
#include "emulated_run.hpp"
#include "testing.hpp"

using testing::Random;

namespace {

struct Sorted {
    std::vector<int64_t> source, row_ptr, order;
    Sorted(size_t n_edges, int64_t n_targets)
        : source(n_edges, -7), row_ptr(static_cast<size_t>(n_targets + 1), -7), order(n_edges, -7) {}
    cgfast::SortedEdges pointers() { return {source.data(), row_ptr.data(), order.data()}; }
    bool operator==(const Sorted& other) const {
        return source == other.source && row_ptr == other.row_ptr && order == other.order;
    }
};

Sorted on_cuda(const std::vector<int64_t>& source, const std::vector<int64_t>& target, int64_t n_targets) {
    const int64_t n_edges = static_cast<int64_t>(source.size());
    Sorted out(source.size(), n_targets);
    const emulated::Workspace workspace(cgfast::cuda::sort_edges_workspace(n_edges, n_targets));
    cgfast::cuda::sort_edges(source.data(), target.data(), n_edges, n_targets, out.pointers(), workspace.data(), nullptr);
    return out;
}

void check_sorting(const std::vector<int64_t>& source, const std::vector<int64_t>& target, int64_t n_targets) {
    Sorted wanted(source.size(), n_targets);
    cgfast::sort_edges(source.data(), target.data(), static_cast<int64_t>(source.size()), n_targets, wanted.pointers());
    emulated::under_every_schedule([&](uint64_t schedule) {
        CHECK(on_cuda(source, target, n_targets) == wanted,
              source.size() << " edges, " << n_targets << " targets, schedule " << schedule);
    });
}

void check_random(int64_t n_edges, int64_t n_targets, Random& random) {
    std::vector<int64_t> source;
    std::vector<int64_t> target;
    for (int64_t e = 0; e < n_edges; ++e) {
        source.push_back(random.integer(0, 1000));
        target.push_back(random.integer(0, n_targets - 1));
    }
    check_sorting(source, target, n_targets);
    std::sort(target.begin(), target.end());
    check_sorting(source, target, n_targets);
}

template <class T>
struct Pooling {
    int64_t n_rows, n_features, stride;
    std::vector<int64_t> graph_ptr;
    std::vector<T> x;  // no longer than it must be, NaN between the rows

    Pooling(const std::vector<int64_t>& sizes, int64_t n_features, Random& random)
        : n_features(n_features), stride(n_features + 3), graph_ptr(1, 0) {
        for (const int64_t size : sizes) graph_ptr.push_back(graph_ptr.back() + size);
        n_rows = graph_ptr.back();
        const int64_t n = n_rows == 0 ? 0 : (n_rows - 1) * stride + n_features;
        x.assign(static_cast<size_t>(n), std::numeric_limits<T>::quiet_NaN());
        for (int64_t i = 0; i < n_rows; ++i) {
            for (int64_t f = 0; f < n_features; ++f) {
                x[static_cast<size_t>(i * stride + f)] = static_cast<T>(random.uniform(-1, 2));
            }
        }
    }
    int64_t n_graphs() const { return static_cast<int64_t>(graph_ptr.size()) - 1; }
    std::vector<T> room() const {
        return std::vector<T>(static_cast<size_t>(n_graphs() * n_features), std::numeric_limits<T>::quiet_NaN());
    }
    std::vector<T> on_cpu(cgfast::Reduction reduction) const {
        std::vector<T> out = room();
        cgfast::pool(x.data(), stride, n_rows, n_features, graph_ptr.data(), n_graphs(), reduction, out.data(), 1);
        return out;
    }
    std::vector<T> on_cuda(cgfast::Reduction reduction) const {
        std::vector<T> out = room();
        cgfast::cuda::pool(x.data(), stride, n_rows, n_features, graph_ptr.data(), n_graphs(), reduction, out.data(),
                           nullptr);
        return out;
    }
};

constexpr cgfast::Reduction every_reduction[] = {cgfast::Reduction::sum, cgfast::Reduction::mean, cgfast::Reduction::min,
                                                 cgfast::Reduction::max};

template <class T>
bool same_bits(const std::vector<T>& a, const std::vector<T>& b) {
    return a.size() == b.size() && (a.empty() || std::memcmp(a.data(), b.data(), a.size() * sizeof(T)) == 0);
}

template <class T>
void check_pooling(const Pooling<T>& problem) {
    for (const cgfast::Reduction reduction : every_reduction) {
        const std::vector<T> wanted = problem.on_cpu(reduction);
        const std::vector<T> found = problem.on_cuda(reduction);
        for (size_t i = 0; i < wanted.size(); ++i) {
            const int64_t graph = static_cast<int64_t>(i) / problem.n_features;
            const int64_t n =
                problem.graph_ptr[static_cast<size_t>(graph + 1)] - problem.graph_ptr[static_cast<size_t>(graph)];
            // The sums of long graphs are added in another order.
            const T tolerance = n <= 1024 ? T(0) : std::numeric_limits<T>::epsilon() * 16 * std::fabs(wanted[i]);
            CHECK(std::fabs(found[i] - wanted[i]) <= tolerance,
                  "graph " << graph << ": " << found[i] << ", " << wanted[i]);
        }
        emulated::under_another_schedule(
            [&] { CHECK(same_bits(problem.on_cuda(reduction), found), "another order of threads gives other bits"); });
    }
}

}  // namespace

TEST(cuda_pool_like_the_cpu) {
    Random random(101);
    for (const int64_t n_features : {0, 1, 31, 32, 33, 64, 100}) {
        for (const std::vector<int64_t>& sizes : {std::vector<int64_t>{},
                                                  {0},
                                                  {1},
                                                  {0, 3, 0, 1, 20, 0},
                                                  {5, 4, 3, 2, 1, 6, 7, 8, 9, 10, 11},
                                                  {256, 257, 2}}) {
            check_pooling(Pooling<float>(sizes, n_features, random));
            check_pooling(Pooling<double>(sizes, n_features, random));
        }
    }
    check_pooling(Pooling<float>({3, 1024, 1025, 0, 2, 2, 5000, 1, 1, 2, 3000}, 33, random));
    check_pooling(Pooling<double>({1025}, 3, random));
}

TEST(cuda_pool_nan_is_kept) {
    Random random(102);
    Pooling<float> problem({3, 2000, 4}, 5, random);
    for (const int64_t row : {1, 3, 700, 2002}) {
        const Pooling<float> clean = problem;
        problem.x[static_cast<size_t>(row * problem.stride + 2)] = std::numeric_limits<float>::quiet_NaN();
        for (const cgfast::Reduction reduction : every_reduction) {
            const std::vector<float> before = clean.on_cuda(reduction);
            const std::vector<float> found = problem.on_cuda(reduction);
            for (size_t i = 0; i < found.size(); ++i) {
                const bool hit = i == (row < 3 ? 2u : 7u);
                CHECK(hit ? std::isnan(found[i]) : found[i] == before[i], "row " << row << " value " << i);
            }
        }
        problem = clean;
    }
}

TEST(cuda_pool_wild_pointers_read_nothing_else) {
    Random random(103);
    for (const int64_t pointer : {int64_t(-1), int64_t(1) << 40, INT64_MAX, INT64_MIN}) {
        for (const size_t at : {size_t(0), size_t(1), size_t(3)}) {
            Pooling<float> problem({3, 2000, 4}, 5, random);
            problem.graph_ptr[at] = pointer;
            problem.on_cuda(cgfast::Reduction::sum);
            problem.on_cuda(cgfast::Reduction::max);
        }
    }
}

TEST(cuda_sort_edges_like_the_cpu) {
    Random random(100);
    check_sorting({}, {}, 0);
    check_sorting({}, {}, 7);
    for (const int64_t n_targets : {1, 2, 9, 300, 3000}) {
        for (const int64_t n_edges : {1, 2, 31, 32, 33, 64, 65, 100, 257, 1000}) check_random(n_edges, n_targets, random);
    }
}

TEST(cuda_sort_edges_leaves_out_what_has_no_target) {
    const std::vector<int64_t> source = {5, 6, 7, 8, 9};
    const Sorted found = on_cuda(source, {1, -1, 0, int64_t(1) << 40, 1}, 2);
    CHECK((found.row_ptr == std::vector<int64_t>{0, 1, 3}), found.row_ptr[2]);
    CHECK((found.order == std::vector<int64_t>{2, 0, 4, -7, -7}), found.order[0]);
    CHECK((found.source == std::vector<int64_t>{7, 5, 9, -7, -7}), found.source[0]);
}
