// row_chunks: the cuts that let gradients of sources be added up without a race.
#include <algorithm>
#include <vector>

#include "message/gradient_chunks.hpp"
#include "testing.hpp"

using cgfast::RowChunk;
using testing::Random;

namespace {

struct Graph {
    int64_t n_sources = 0;
    std::vector<int64_t> row_ptr{0}, source;

    int64_t n_rows() const { return static_cast<int64_t>(row_ptr.size()) - 1; }
    int64_t n_edges() const { return static_cast<int64_t>(source.size()); }

    // A row of edges from sources low ... high.
    void add_row(int64_t degree, int64_t low, int64_t high, Random& random) {
        for (int64_t e = 0; e < degree; ++e) source.push_back(random.integer(low, high));
        row_ptr.push_back(n_edges());
    }
};

bool touches_something(const RowChunk& chunk) { return chunk.source_first < chunk.source_last; }

bool overlap(const RowChunk& a, const RowChunk& b) {
    return touches_something(a) && touches_something(b) && a.source_first < b.source_last &&
           b.source_first < a.source_last;
}

void check_rows(const Graph& graph, const std::vector<RowChunk>& chunks) {
    int64_t row = 0;
    for (const RowChunk& chunk : chunks) {
        CHECK(chunk.first == row && chunk.last > row,
              "a chunk of rows " << chunk.first << " to " << chunk.last << " after " << row);
        row = chunk.last;
    }
    CHECK(row == graph.n_rows(), row << " rows of " << graph.n_rows());
}

void check_sources(const Graph& graph, const std::vector<RowChunk>& chunks) {
    int64_t shared_rows = 0;
    for (const RowChunk& chunk : chunks) {
        const auto begin = graph.source.begin() + graph.row_ptr[chunk.first];
        const auto end = graph.source.begin() + graph.row_ptr[chunk.last];
        CHECK((begin != end) == touches_something(chunk), chunk.source_first << " to " << chunk.source_last);
        if (begin != end) {
            const int64_t low = *std::min_element(begin, end);
            const int64_t high = *std::max_element(begin, end);
            CHECK(chunk.source_first == low && chunk.source_last == high + 1,
                  chunk.source_first << " to " << chunk.source_last << " for sources from " << low << " to " << high);
        }
        const bool meets_another = std::any_of(chunks.begin(), chunks.end(), [&](const RowChunk& other) {
            return &other != &chunk && overlap(chunk, other);
        });
        CHECK(chunk.exclusive != meets_another,
              "rows " << chunk.first << " to " << chunk.last << ": " << chunk.exclusive);
        if (!chunk.exclusive) shared_rows += chunk.source_last - chunk.source_first;
    }
    CHECK(shared_rows <= 4 * graph.n_sources, shared_rows << " rows of memory for " << graph.n_sources << " sources");
}

// The chunks, after checks of all that must hold for every graph.
std::vector<RowChunk> checked_chunks(const Graph& graph) {
    const std::vector<RowChunk> chunks =
        cgfast::row_chunks(graph.row_ptr.data(), graph.n_rows(), graph.source.data(), graph.n_sources);
    CHECK(chunks.size() <= 66, chunks.size() << " chunks");  // each has a copy of the weight gradient
    check_rows(graph, chunks);
    check_sources(graph, chunks);
    return chunks;
}

bool all_exclusive(const std::vector<RowChunk>& chunks) {
    return std::all_of(chunks.begin(), chunks.end(), [](const RowChunk& chunk) { return chunk.exclusive; });
}

void add_crystal(Graph& graph, int64_t n_atoms, int64_t degree, Random& random) {
    const int64_t first = graph.n_sources;
    graph.n_sources += n_atoms;
    for (int64_t i = 0; i < n_atoms; ++i) graph.add_row(degree, first, graph.n_sources - 1, random);
}

}  // namespace

TEST(chunks_of_small_crystals_are_exclusive) {
    Random random(60);
    for (const int64_t n_crystals : {1, 10, 300, 3000}) {
        Graph graph;
        for (int64_t b = 0; b < n_crystals; ++b) add_crystal(graph, random.integer(1, 30), 12, random);
        const std::vector<RowChunk> chunks = checked_chunks(graph);
        CHECK(all_exclusive(chunks), "of " << n_crystals << " crystals");
        const int64_t least = std::min<int64_t>(graph.n_edges() / 3000, 40);
        CHECK(static_cast<int64_t>(chunks.size()) >= least, chunks.size()
                                                                << " chunks of " << graph.n_edges() << " edges");
    }
}

TEST(chunks_of_crystals_without_edges_between_others) {
    Random random(61);
    Graph graph;
    for (int64_t b = 0; b < 900; ++b) add_crystal(graph, random.integer(0, 12), b % 3 == 0 ? 0 : 12, random);
    const std::vector<RowChunk> chunks = checked_chunks(graph);
    CHECK(all_exclusive(chunks) && chunks.size() >= 10, chunks.size() << " chunks");
}

TEST(chunks_of_a_huge_random_graph) {
    Random random(62);
    for (const int64_t n_atoms : {100, 3000}) {
        for (int64_t n_edges = 15000; n_edges < 1000000; n_edges += n_edges / 4) {  // any number of chunks
            Graph graph;
            add_crystal(graph, n_atoms, n_edges / n_atoms, random);
            CHECK(checked_chunks(graph).size() >= 2, "a huge crystal leaves work for several threads");
        }
    }
}

TEST(chunks_of_a_long_chain) {
    Random random(63);
    Graph graph;
    graph.n_sources = 20000;
    for (int64_t i = 0; i < graph.n_sources; ++i) {
        graph.add_row(12, std::max<int64_t>(0, i - 6), std::min<int64_t>(graph.n_sources - 1, i + 6), random);
    }
    CHECK(checked_chunks(graph).size() >= 10, "neighbouring atoms have neighbouring numbers");
}

TEST(chunks_of_a_huge_crystal_among_small_ones) {
    Random random(64);
    Graph graph;
    for (int64_t b = 0; b < 400; ++b) add_crystal(graph, 8, 12, random);
    add_crystal(graph, 4000, 12, random);
    for (int64_t b = 0; b < 400; ++b) add_crystal(graph, 8, 12, random);
    const std::vector<RowChunk> chunks = checked_chunks(graph);
    const auto exclusive =
        std::count_if(chunks.begin(), chunks.end(), [](const RowChunk& chunk) { return chunk.exclusive; });
    CHECK(exclusive >= 10 && static_cast<size_t>(exclusive) < chunks.size(), exclusive << " of " << chunks.size());
}

TEST(chunks_of_nothing) {
    Random random(65);
    Graph graph;
    CHECK(checked_chunks(graph).empty(), "no rows, no sources");
    graph.n_sources = 7;
    CHECK(checked_chunks(graph).empty(), "no rows");
    for (int64_t i = 0; i < 5000; ++i) graph.add_row(0, 0, 0, random);
    CHECK(all_exclusive(checked_chunks(graph)), "no edges");
    graph.n_sources = 0;
    CHECK(all_exclusive(checked_chunks(graph)), "no edges and no sources");
}

TEST(chunks_with_one_long_row) {
    Random random(66);
    Graph graph;
    graph.n_sources = 50;
    for (int64_t i = 0; i < 10; ++i) graph.add_row(i == 4 ? 100000 : 3, 0, 49, random);
    checked_chunks(graph);
    Graph single;
    single.n_sources = 1;
    single.add_row(50000, 0, 0, random);
    CHECK(checked_chunks(single).size() == 1, "a row cannot be cut");
}

// Blocks of rows whose sources lie anywhere: in order, in reverse, nested, the same again; in between rows without edges.
TEST(chunks_of_random_blocks) {
    Random random(67);
    for (int round = 0; round < 60; ++round) {
        Graph graph;
        graph.n_sources = random.integer(1, 300);
        const int64_t n_blocks = random.integer(1, 12);
        for (int64_t block = 0; block < n_blocks; ++block) {
            const int64_t low = random.integer(0, graph.n_sources - 1);
            const int64_t high = random.integer(low, graph.n_sources - 1);
            const int64_t most = random.integer(0, 2) == 0 ? 3 : 1500;
            const int64_t n_rows = random.integer(1, 8);
            for (int64_t i = 0; i < n_rows; ++i) graph.add_row(random.integer(0, most), low, high, random);
        }
        checked_chunks(graph);
    }
}
