// The neighbour search of the GPU, on the emulator: equal to that of the CPU bit for bit, whatever the crystals.
#include "emulated_neighbors.hpp"
#include "neighbors/search_math.hpp"

using namespace emulated;

TEST(cuda_neighbors_random_crystals_in_batches) {
    Random random(1);
    for (int round = 0; round < 3; ++round) {
        std::vector<Crystal> crystals;
        for (unsigned open = 0; open < 8; ++open) {
            const double lengths[3] = {random.uniform(2, 6), random.uniform(2, 6), random.uniform(2, 6)};
            crystals.push_back(random_crystal(random, random.integer(0, 5), lengths, 1.0, open));
        }
        check_all_ways(crystals, random.uniform(3.0, 5.0));
    }
}

// What a crystal costs must not depend on its neighbours in the batch.
TEST(cuda_neighbors_crystals_of_a_batch_do_not_meet) {
    Random random(2);
    std::vector<Crystal> crystals;
    for (unsigned i = 0; i < 40; ++i) {
        const double lengths[3] = {random.uniform(1, 20), random.uniform(2, 6), random.uniform(2, 6)};
        crystals.push_back(random_crystal(random, random.integer(0, i % 10 == 0 ? 80 : 4), lengths, 1.0, i % 8));
    }
    const Found together = search_on_gpu(crystals, options(4.0, 12));
    for (size_t b = 0; b < crystals.size(); ++b) {
        const auto alone = search_on_gpu({crystals[b]}, options(4.0, 12)).crystals[0];
        const auto& in_batch = together.crystals[b];
        CHECK(in_batch.first_radius == alone.first_radius && in_batch.largest_radius == alone.largest_radius,
              "crystal " << b << ": radii");
        for (int a = 0; a < 3; ++a) {
            CHECK(in_batch.extent[a] == alone.extent[a] &&
                      in_batch.first_images.range[a] == alone.first_images.range[a] &&
                      in_batch.n_boxes[a] == alone.n_boxes[a],
                  "crystal " << b << " axis " << a << ": extent " << in_batch.extent[a] << ", alone " << alone.extent[a]);
        }
    }
}

TEST(cuda_neighbors_thin_cells_and_cutoffs_of_many_cells) {
    Random random(3);
    for (unsigned open : {0u, 3u, 5u}) {
        const double thin[3] = {0.7, 9.0, 2.0};
        const double tiny[3] = {1.1, 1.3, 1.2};
        const double needle[3] = {30.0, 1.4, 1.5};
        check_all_ways({random_crystal(random, 2, thin, 1.0, open), random_crystal(random, 1, tiny, 1.0, open),
                        random_crystal(random, 9, needle, 1.0, open)},
                       4.0);
    }
}

TEST(cuda_neighbors_extremely_skewed_cells) {
    Random random(4);
    for (unsigned open : {0u, 1u, 4u}) {
        check_all_ways({skewed_crystal(random, 3, open), skewed_crystal(random, 40, open)}, 3.0);
    }
}

TEST(cuda_neighbors_atoms_far_outside_the_cell) {
    Random random(5);
    for (unsigned open : {0u, 2u, 5u}) {
        const double lengths[3] = {4.0, 3.0, 5.0};
        check_all_ways({random_crystal(random, 4, lengths, open == 0 ? 1000.0 : 2.0, open)}, 4.1);
    }
    Crystal slab = cubic(4.0, {0, 0, 1e12, 1, 1, 1e12 + 1, 2, 3, 1e12});
    slab.pbc = {1, 1, 0};
    check_all_ways({slab}, 4.1);
    Crystal cluster = slab;
    cluster.pbc = {0, 0, 0};
    check_all_ways({cluster}, 1e300);
}

// High symmetry: whole shells at one distance, so that order and cut rest on (source, shift) alone.
TEST(cuda_neighbors_symmetric_lattices) {
    Crystal face_centred = cubic(4.0, {0, 0, 0});
    face_centred.cell = {0, 2, 2, 2, 0, 2, 2, 2, 0};
    Crystal skewed = cubic(3.0, {0, 0, 0, 1.5, 1.5, 1.5});
    skewed.cell = {3, 0, 0, 12, 3, 0, -9, 15, 3};
    check_all_ways({cubic(3.0, {0, 0, 0}), cubic(3.0, {0, 0, 0, 1.5, 1.5, 1.5}), face_centred, skewed}, 6.5);
}

TEST(cuda_neighbors_coincident_atoms) {
    Crystal crystal = cubic(4.0, {0.1, 0.2, 0.3, 0.1, 0.2, 0.3, 4.1, 0.2, 0.3});
    crystal.pbc = {1, 1, 0};
    check_all_ways({crystal}, 5.1);
}

TEST(cuda_neighbors_nothing_to_find) {
    for (const int64_t k : {int64_t(0), int64_t(12), int64_t(1000)}) {
        for (const bool shell : {false, k > 0}) {
            check_way({}, options(5.0, k, shell));
            const Crystal empty = cubic(3.0, {});
            check_way({empty, empty}, options(5.0, k, shell));
            Crystal lonely = cubic(3.0, {1, 2, 3});
            lonely.pbc = {0, 0, 0};
            NeighborOptions way = options(5.0, k, shell);
            check_way({empty, lonely, empty}, way);
            way.pad_2018 = k > 0;
            check_way({empty, lonely, empty}, way);
        }
    }
}

// The first search sphere holds far more than k: the nearest so far are cut again and again.
TEST(cuda_neighbors_clump_in_an_empty_cell) {
    Random random(7);
    Crystal clump = cubic(40.0, {});
    for (int i = 0; i < 900; ++i) clump.positions.push_back(random.uniform(-2.5, 2.5));
    Crystal loner = clump;
    loner.positions.insert(loner.positions.end(), {15.0, 15.0, 15.0});
    for (const bool shell : {false, true}) {
        check_way({clump}, options(9.0, 12, shell));
        check_way({loner}, options(20.0, 5, shell));
    }
}

// More ties than fit in shared memory, or than there are places to keep them.
TEST(cuda_neighbors_shells_of_many) {
    const Crystal face_centred = [] {
        Crystal crystal = cubic(4.0, {0, 0, 0});
        crystal.cell = {0, 2, 2, 2, 0, 2, 2, 2, 0};
        return crystal;
    }();
    Crystal heap = cubic(9.0, {});
    for (int i = 0; i < 150; ++i) heap.positions.insert(heap.positions.end(), {0.5, 0.25, i < 130 ? 0.125 : 1.0});
    for (const int64_t k : {1, 3, 12, 100}) {
        NeighborOptions way = options(7.0, k, true);
        check_way({face_centred, heap}, way);
        way.sort = Sort::source;
        check_way({heap}, way);
    }
    NeighborOptions loose = options(6.0, 4, true);
    loose.tolerance = 1.5;
    Random random(17);
    const double lengths[3] = {3.0, 3.5, 4.0};
    check_way({random_crystal(random, 4, lengths, 1.0, 0), skewed_crystal(random, 4, 0)}, loose);
}

// k beyond shared memory, reached and not reached.
TEST(cuda_neighbors_many_nearest) {
    Random random(9);
    const double lengths[3] = {4.0, 3.0, 5.0};
    const std::vector<Crystal> crystals = {random_crystal(random, 3, lengths, 1.0, 0), skewed_crystal(random, 2, 0),
                                           cubic(3.0, {0, 0, 0})};
    for (const bool shell : {false, true}) {
        for (const int64_t k : {200, 512, 513, 700}) check_way(crystals, options(20.0, k, shell));
        NeighborOptions way = options(9.0, 600, shell);
        way.pad_2018 = true;
        way.sort = shell ? Sort::source : Sort::distance;
        check_way(crystals, way);
    }
}

// Rows longer than shared memory holds are sorted where they are written.
TEST(cuda_neighbors_long_radius_rows) {
    Random random(10);
    const double lengths[3] = {3.0, 3.0, 3.5};
    const std::vector<Crystal> crystals = {random_crystal(random, 2, lengths, 1.0, 0), skewed_crystal(random, 2, 0)};
    for (const Sort sort : {Sort::source, Sort::distance}) {
        NeighborOptions way = options(14.0);
        way.sort = sort;
        check_way(crystals, way);
    }
}

// Crystals of many sizes, each searched as its cost suggests.
TEST(cuda_neighbors_large_crystals) {
    Random random(6);
    for (unsigned open : {0u, 4u, 7u}) {
        const double lengths[3] = {22.0, 25.0, 24.0};
        const double small[3] = {4.0, 4.0, 4.0};
        const std::vector<Crystal> crystals = {random_crystal(random, 3, small, 1.0, open),
                                               random_crystal(random, 700, lengths, 0.5, open),
                                               skewed_crystal(random, 90, open)};
        for (NeighborOptions way : {options(4.0), options(6.0, 12), options(6.0, 12, true)}) {
            const Found found = search_on_gpu(crystals, way);
            check_same(found, search(crystals, way), name(way, CellLists::by_cost));
            CHECK(found.crystals[0].n_boxes[0] == 0 && found.crystals[1].n_boxes[0] > 1,
                  found.crystals[0].n_boxes[0] << " and " << found.crystals[1].n_boxes[0] << " boxes");
        }
    }
}

TEST(cuda_neighbors_a_block_of_thousands) {
    Random random(16);
    const std::vector<Crystal> crystals = {cubic_block(random, 9, 3.6, 0.0), cubic_block(random, 5, 3.9, 0.1)};
    for (NeighborOptions way : {options(3.7), options(8.0, 12), options(8.0, 12, true)}) {
        check_same(search_on_gpu(crystals, way), search(crystals, way), name(way, CellLists::by_cost));
    }
}

TEST(cuda_neighbors_nearest_with_a_vast_cutoff) {
    Random random(8);
    const double lengths[3] = {4.0, 3.0, 5.0};
    check_way({random_crystal(random, 4, lengths, 1.0, 0)}, options(7999.0, 12));
}

// As for the CPU: the nearest two share a step of 1e-6 Å, and the first or second search radius falls between them.
TEST(cuda_neighbors_ties_on_either_side_of_a_search_radius) {
    for (int i = 0; i < 40; ++i) {
        const double length = 10.0 + 0.05 * i;
        const double growth = i % 2 == 0 ? 1.0 : cgfast::radius_growth;
        const double radius = cgfast::first_nearest_radius(length * length * length, 1, 3, 9.0) * growth;
        const double far = (radius + 1e-8) / std::sqrt(3.0);
        const double near = (radius - 1e-8) / std::sqrt(3.0);
        const Crystal crystal = cubic(length, {0, 0, 0, far, far, -far, near, near, near});
        check_way({crystal}, options(9.0, 1));
        check_way({crystal}, options(9.0, 1, true));
    }
}

// Whatever the order in which threads and blocks run; without a host synchronisation of the search's own.
TEST(cuda_neighbors_under_every_schedule) {
    Random random(11);
    const double lengths[3] = {4.0, 5.0, 3.0};
    const std::vector<Crystal> crystals = {random_crystal(random, 5, lengths, 1.0, 0), skewed_crystal(random, 12, 0),
                                           cubic(3.0, {0, 0, 0}), random_crystal(random, 70, lengths, 1.0, 4)};
    const int64_t synchronisations = cuda_emulator::synchronisations;
    for (NeighborOptions way : {options(3.0), options(5.0, 12), options(5.0, 4, true), options(5.0, 520)}) {
        const Lists want = search(crystals, way);
        for (const CellLists cell_lists : both_ways) {
            emulated::under_every_schedule([&](uint64_t schedule) {
                check_same(search_on_gpu(crystals, way, cell_lists), want,
                           name(way, cell_lists) + " schedule " + std::to_string(schedule));
            });
        }
    }
    CHECK(cuda_emulator::synchronisations == synchronisations, cuda_emulator::synchronisations);
}
