// The neighbour search of the GPU, on the emulator: it refuses the crystals that the CPU refuses.
#include "emulated_neighbors.hpp"

using namespace emulated;

namespace {

void check_refused(const std::vector<Crystal>& crystals, const NeighborOptions& way, int64_t culprit) {
    bool refused = false;
    try {
        search(crystals, way);
    } catch (const std::invalid_argument& error) {
        refused = true;
    }
    CHECK(refused, "the CPU does not refuse crystal " << culprit << ", " << name(way, CellLists::by_cost));
    for (const CellLists cell_lists : both_ways) {
        const Found found = search_on_gpu(crystals, way, cell_lists);
        CHECK(found.bad_crystal == culprit, name(way, cell_lists)
                                                << ": refused " << found.bad_crystal << ", wanted " << culprit);
    }
}

}  // namespace

TEST(cuda_neighbors_refuse_bad_crystals) {
    const Crystal good = cubic(3.0, {0, 0, 0});
    std::vector<Crystal> bad;
    for (const double value : {not_a_number, infinity, -infinity, 1e16, 1e12}) {
        bad.push_back(good);
        bad.back().positions[1] = value;
    }
    for (const double value : {not_a_number, infinity, 0.0}) {
        bad.push_back(good);
        bad.back().cell[4] = value;
        bad.push_back(bad.back());
        bad.back().positions.clear();
    }
    bad.push_back(good);
    for (int c = 0; c < 3; ++c) bad.back().cell[6 + c] = bad.back().cell[c] + bad.back().cell[3 + c];
    for (const Crystal& crystal : bad) {
        for (const NeighborOptions& way : {options(3.0), options(3.0, 12), options(3.0, 700, true)}) {
            check_refused({good, crystal, good, crystal}, way, 1);
        }
    }
}

TEST(cuda_neighbors_refuse_what_cannot_be_numbered) {
    const Crystal good = cubic(3.0, {0, 0, 0});
    check_refused({good}, options(7999.0), 0);
    check_refused({good}, options(8000.0, 12), 0);
    check_refused({cubic(3.0, {})}, options(8000.0, 12), 0);
    // Shifts of the input's cell beyond 32 bits.
    Crystal skewed = cubic(3.0, {0, 0, 0, 1.0, 4e8, 2.0});
    skewed.cell[3] = 120.0;
    for (const NeighborOptions& way : {options(4.0), options(4.0, 12), options(4.0, 12, true), options(9.0, 600)}) {
        check_refused({good, good, skewed}, way, 2);
    }
}

TEST(cuda_neighbors_refuse_a_bad_graph_ptr) {
    const std::vector<double> cells = {3, 0, 0, 0, 3, 0, 0, 0, 3, 3, 0, 0, 0, 3, 0, 0, 0, 3};
    const uint8_t pbc[6] = {1, 1, 1, 1, 1, 1};
    const double positions[6] = {0, 0, 0, 1, 1, 1};
    const int64_t bad[4][3] = {{0, 2, 1}, {1, 1, 2}, {0, 1, 1}, {0, 1, 1000000}};
    for (const auto& graph_ptr : bad) {
        for (const CellLists cell_lists : both_ways) {
            const Found found =
                search_on_gpu({positions, cells.data(), pbc, graph_ptr, 2}, 2, options(3.0, 12), cell_lists);
            CHECK(found.bad_graph_ptr, "graph_ptr " << graph_ptr[0] << "," << graph_ptr[1] << "," << graph_ptr[2]);
        }
    }
}
