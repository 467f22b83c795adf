// Batches of stored graphs.
#include <limits>
#include <numeric>
#include <vector>

#include "graph/collate.hpp"
#include "message_problem.hpp"

using cgfast::CollatedGraph;
using cgfast::StoredGraphs;
using message_tests::Array;
using testing::Random;

namespace {

// Random graphs of crystals of the given sizes, every array exactly as long as it must be.
template <class T>
struct Store {
    Array<int64_t> graph_ptr, edge_ptr;
    Array<int32_t> degree, source;
    Array<uint8_t> atomic_numbers;
    Array<T> distances, edge_weight;
    bool weighted;

    Store(const std::vector<int64_t>& sizes, int64_t max_degree, bool with_weights, Random& random)
        : graph_ptr(static_cast<int64_t>(sizes.size()) + 1), edge_ptr(graph_ptr.size()), weighted(with_weights) {
        graph_ptr[0] = edge_ptr[0] = 0;
        degree = Array<int32_t>(std::accumulate(sizes.begin(), sizes.end(), int64_t(0)));
        for (int32_t& d : degree) d = static_cast<int32_t>(random.integer(0, max_degree));
        for (size_t b = 0; b < sizes.size(); ++b) {
            graph_ptr[b + 1] = graph_ptr[b] + sizes[b];
            edge_ptr[b + 1] = edge_ptr[b];
            for (int64_t i = graph_ptr[b]; i < graph_ptr[b + 1]; ++i) edge_ptr[b + 1] += degree[i];
        }
        source = Array<int32_t>(edge_ptr[n_crystals()]);
        for (int64_t b = 0; b < n_crystals(); ++b) {
            for (int64_t e = edge_ptr[b]; e < edge_ptr[b + 1]; ++e)
                source[e] = static_cast<int32_t>(random.integer(0, sizes[b] - 1));
        }
        atomic_numbers = Array<uint8_t>(degree.size());
        for (uint8_t& z : atomic_numbers) z = static_cast<uint8_t>(random.integer(1, 255));
        distances = Array<T>(source.size());
        for (T& d : distances) d = static_cast<T>(random.uniform(0, 8));
        edge_weight = Array<T>(weighted ? source.size() : 0);
        for (T& w : edge_weight) w = static_cast<T>(random.uniform(0, 1));
    }

    int64_t n_crystals() const { return graph_ptr.size() - 1; }

    StoredGraphs view() const {
        return {graph_ptr.data(),  edge_ptr.data(),
                n_crystals(),      degree.size(),
                source.size(),     degree.data(),
                source.data(),     atomic_numbers.data(),
                distances.data(),  weighted ? edge_weight.data() : nullptr,
                int64_t{sizeof(T)}};
    }
};

template <class T>
struct Batch {
    Array<int64_t> source, target, row_ptr, graph_ptr;
    Array<int32_t> atomic_numbers;
    Array<T> distances, edge_weight;

    Batch(int64_t n_indices, int64_t n_atoms, int64_t n_edges, bool weighted)
        : source(n_edges, -7),
          target(n_edges, -7),
          row_ptr(n_atoms + 1, -7),
          graph_ptr(n_indices + 1, -7),
          atomic_numbers(n_atoms, -7),
          distances(n_edges),
          edge_weight(weighted ? n_edges : 0) {}

    CollatedGraph view() {
        return {atomic_numbers.size(), source.size(),    source.data(),
                target.data(),         row_ptr.data(),   graph_ptr.data(),
                atomic_numbers.data(), distances.data(), edge_weight.size() > 0 ? edge_weight.data() : nullptr};
    }

    bool same_bits(const Batch& other) const {
        return source.same_bits(other.source) && target.same_bits(other.target) && row_ptr.same_bits(other.row_ptr) &&
               graph_ptr.same_bits(other.graph_ptr) && atomic_numbers.same_bits(other.atomic_numbers) &&
               distances.same_bits(other.distances) && edge_weight.same_bits(other.edge_weight);
    }
};

// The same batch, atom by atom and edge by edge.
template <class T>
Batch<T> expected(const Store<T>& store, const Array<int64_t>& indices) {
    int64_t n_atoms = 0;
    int64_t n_edges = 0;
    for (int64_t b = 0; b < indices.size(); ++b) {
        n_atoms += store.graph_ptr[indices[b] + 1] - store.graph_ptr[indices[b]];
        n_edges += store.edge_ptr[indices[b] + 1] - store.edge_ptr[indices[b]];
    }
    Batch<T> out(indices.size(), n_atoms, n_edges, store.weighted);
    int64_t atom = 0;
    int64_t edge = 0;
    for (int64_t b = 0; b < indices.size(); ++b) {
        const int64_t first = atom;
        int64_t from = store.edge_ptr[indices[b]];
        out.graph_ptr[b] = first;
        for (int64_t i = store.graph_ptr[indices[b]]; i < store.graph_ptr[indices[b] + 1]; ++i, ++atom) {
            out.row_ptr[atom] = edge;
            out.atomic_numbers[atom] = store.atomic_numbers[i];
            for (int64_t k = 0; k < store.degree[i]; ++k, ++edge, ++from) {
                out.source[edge] = first + store.source[from];
                out.target[edge] = atom;
                out.distances[edge] = store.distances[from];
                if (store.weighted) out.edge_weight[edge] = store.edge_weight[from];
            }
        }
    }
    out.graph_ptr[indices.size()] = atom;
    out.row_ptr[atom] = edge;
    return out;
}

template <class T>
void check_batch(const Store<T>& store, const Array<int64_t>& indices) {
    const Batch<T> wanted = expected(store, indices);
    for (const int n_threads : {1, 2, 5}) {
        Batch<T> got(indices.size(), wanted.atomic_numbers.size(), wanted.source.size(), store.weighted);
        cgfast::collate(store.view(), indices.data(), indices.size(), got.view(), n_threads);
        CHECK(got.same_bits(wanted),
              indices.size() << " crystals, " << wanted.source.size() << " edges, " << n_threads << " threads");
        CHECK(got.distances.front_is_intact(), "written in front of the array");
    }
}

template <class T>
void check_random_batches(const std::vector<int64_t>& sizes, int64_t max_degree, int64_t n_indices, Random& random) {
    for (const bool weighted : {false, true}) {
        const Store<T> store(sizes, max_degree, weighted, random);
        Array<int64_t> indices(n_indices);
        for (int64_t& b : indices) b = random.integer(0, store.n_crystals() - 1);
        check_batch(store, indices);
    }
}

// Crystals of 2, 0, 3 atoms and what a batch of the last and the first needs.
struct Small {
    Random random{83};
    Store<float> store{{2, 0, 3}, 4, false, random};
    Array<int64_t> indices{2};
    Batch<float> out{0, 0, 0, false};

    Small() {
        indices[0] = 2;
        indices[1] = 0;
        out = expected(store, indices);
    }

    void collate() { cgfast::collate(store.view(), indices.data(), 2, out.view(), 1); }
};

}  // namespace

TEST(collate_any_order_and_repeats) {
    Random random(80);
    for (const int64_t max_degree : {0, 1, 12, 70}) {
        for (const int64_t n_indices : {1, 2, 15, 16, 17, 100}) {
            std::vector<int64_t> sizes(40);
            for (int64_t& n : sizes) n = random.integer(0, 9);
            check_random_batches<float>(sizes, max_degree, n_indices, random);
            check_random_batches<double>(sizes, max_degree, n_indices, random);
        }
    }
}

TEST(collate_batches_large_enough_for_threads) {
    Random random(81);
    check_random_batches<float>({26, 1, 300, 5}, 24, 500, random);
    check_random_batches<double>({20000}, 24, 2, random);
}

TEST(collate_nothing) {
    Random random(82);
    check_batch(Store<float>({3, 4}, 5, true, random), {});
    check_batch(Store<float>({}, 5, true, random), {});
    check_random_batches<float>({0, 0}, 5, 7, random);
}

TEST(collate_refuses_indices_out_of_range) {
    for (const int64_t wrong :
         {int64_t{-1}, int64_t{3}, std::numeric_limits<int64_t>::max(), std::numeric_limits<int64_t>::min()}) {
        for (const int64_t place : {0, 1}) {
            Small small;
            small.indices[place] = wrong;
            CHECK_REFUSED(small.collate(), "indices must lie in [0, 3)");
        }
    }
    Small().collate();
}

TEST(collate_refuses_other_sizes) {
    for (const int64_t more : {-1, 1}) {
        Small small;
        const int64_t n_atoms = small.out.atomic_numbers.size();
        const int64_t n_edges = small.out.source.size();
        small.out = Batch<float>(2, n_atoms + more, n_edges, false);
        CHECK_REFUSED(small.collate(), "the batch must have room for");
        small.out = Batch<float>(2, n_atoms, n_edges + more, false);
        CHECK_REFUSED(small.collate(), "the batch must have room for");
    }
}

TEST(collate_refuses_pointers_and_degrees_that_disagree) {
    for (const int64_t wrong : {int64_t{-1}, int64_t{1000}, std::numeric_limits<int64_t>::max()}) {
        for (const int64_t place : {0, 1, 2, 3}) {
            Small atoms;
            atoms.store.graph_ptr[place] = wrong;
            CHECK_REFUSED(atoms.collate(), "graph_ptr must rise");
            Small edges;
            edges.store.edge_ptr[place] = wrong;
            CHECK_REFUSED(edges.collate(), "edge_ptr must rise");
        }
    }
    Small more;
    ++more.store.degree[0];
    CHECK_REFUSED(more.collate(), "degree must add up");
    Small negative;  // adds up all the same
    negative.store.degree[2] += negative.store.degree[3] + 1;
    negative.store.degree[3] = -1;
    CHECK_REFUSED(negative.collate(), "degree must add up");
}
