// NeighborSearch against brute force over images: radius lists, k nearest, weighted shells, padding, batches, bad input.
#include <cmath>
#include <utility>

#include "neighbor_samples.hpp"

using cgfast::NeighborSearch;
using oracle::Edge;
using namespace neighbor_samples;

namespace {

void check_edge(const Lists& lists, int64_t e, const Edge& want, int64_t first_atom) {
    const std::array<int64_t, 3> shift = {lists.shifts[3 * e], lists.shifts[3 * e + 1], lists.shifts[3 * e + 2]};
    CHECK(lists.target[e] == first_atom + want.target, "edge " << e << ": target " << lists.target[e]);
    CHECK(lists.source[e] == first_atom + want.source && shift == want.shift,
          "edge " << e << " of atom " << want.target << ": got source " << lists.source[e] << " shift " << shift[0] << ","
                  << shift[1] << "," << shift[2] << " at " << lists.distances[e] << ", wanted source "
                  << first_atom + want.source << " shift " << want.shift[0] << "," << want.shift[1] << ","
                  << want.shift[2] << " at " << want.distance);
    CHECK(std::fabs(lists.distances[e] - want.distance) <= 1e-9 * (1.0 + want.distance),
          "edge " << e << ": distance " << lists.distances[e] << ", wanted " << want.distance);
    CHECK(std::fabs(lists.weights[e] - want.weight) <= 1e-15,
          "edge " << e << ": weight " << lists.weights[e] << ", wanted " << want.weight);
}

// What the options ask for, from the radius list of one crystal.
std::vector<Edge> expected_row(std::vector<Edge> row, const NeighborOptions& wanted, int64_t target, int64_t* few) {
    const int64_t k = wanted.max_neighbors;
    if (k == 0) {
        if (wanted.sort == Sort::distance) std::sort(row.begin(), row.end(), oracle::by_distance);
        return row;
    }
    row = oracle::nearest(std::move(row), k, wanted.shell, wanted.tolerance);
    if (wanted.sort == Sort::source) std::sort(row.begin(), row.end(), oracle::by_source);
    *few += static_cast<int64_t>(row.size()) < k ? 1 : 0;
    while (wanted.pad_2018 && static_cast<int64_t>(row.size()) < k) {
        row.push_back({target, 0, {0, 0, 0}, wanted.cutoff + 1.0, 1.0});
    }
    return row;
}

void check_lists(const std::vector<Crystal>& crystals, const NeighborOptions& wanted, const Lists& lists,
                 const std::vector<std::vector<std::vector<Edge>>>& radius_rows) {
    int64_t first_atom = 0;
    int64_t e = 0;
    CHECK(lists.row_ptr[0] == 0, lists.row_ptr[0]);
    for (size_t b = 0; b < crystals.size(); ++b) {
        int64_t few = 0;
        for (int64_t i = 0; i < crystals[b].n(); ++i) {
            const std::vector<Edge> row = expected_row(radius_rows[b][i], wanted, i, &few);
            const int64_t end = lists.row_ptr[first_atom + i + 1];
            CHECK(end - e == static_cast<int64_t>(row.size()),
                  "atom " << i << " of crystal " << b << " has " << end - e << " edges, wanted " << row.size());
            for (const Edge& edge : row) check_edge(lists, e++, edge, first_atom);
        }
        CHECK(lists.few[b] == few, "crystal " << b << ": few " << lists.few[b] << ", wanted " << few);
        first_atom += crystals[b].n();
    }
    CHECK(e == static_cast<int64_t>(lists.source.size()), "edges " << e << " of " << lists.source.size());
}

// Every way of asking, on one and on three threads, with the same bits.
void check_all_ways(const std::vector<Crystal>& crystals, double cutoff) {
    std::vector<std::vector<std::vector<Edge>>> rows;
    for (const Crystal& crystal : crystals) rows.push_back(oracle::radius_rows(crystal, cutoff));
    std::vector<NeighborOptions> ways = {options(cutoff),     options(cutoff, 1),       options(cutoff, 12),
                                         options(cutoff, 40), options(cutoff, 6, true), options(cutoff, 13, true)};
    ways.push_back(options(cutoff));
    ways.back().sort = Sort::distance;
    ways.push_back(options(cutoff, 7));
    ways.back().sort = Sort::source;
    for (const bool shell : {false, true}) {
        ways.push_back(options(cutoff, 30, shell));
        ways.back().pad_2018 = true;
    }
    for (NeighborOptions way : ways) {
        const Lists lists = search(crystals, way);
        check_lists(crystals, way, lists, rows);
        way.n_threads = 3;
        CHECK(search(crystals, way) == lists, "three threads differ from one, k=" << way.max_neighbors);
    }
}

}  // namespace

TEST(neighbors_random_crystals_in_batches) {
    Random random(1);
    for (int round = 0; round < 6; ++round) {
        std::vector<Crystal> crystals;
        for (unsigned open = 0; open < 8; ++open) {
            const double lengths[3] = {random.uniform(2, 6), random.uniform(2, 6), random.uniform(2, 6)};
            crystals.push_back(random_crystal(random, random.integer(0, 5), lengths, 1.0, open));
        }
        check_all_ways(crystals, random.uniform(3.0, 6.0));
    }
}

TEST(neighbors_left_handed_cells) {
    Random random(2);
    for (int round = 0; round < 4; ++round) {
        const double lengths[3] = {4.0, 3.0, 5.0};
        Crystal crystal = random_crystal(random, 3, lengths, 1.0, 0);
        if (determinant(crystal.cell) > 0) {
            for (int c = 0; c < 3; ++c) std::swap(crystal.cell[c], crystal.cell[3 + c]);
        }
        check_all_ways({crystal}, 5.2);
    }
}

TEST(neighbors_thin_cells_and_cutoffs_of_many_cells) {
    Random random(3);
    for (unsigned open = 0; open < 8; ++open) {
        const double thin[3] = {0.7, 9.0, 2.0};
        const double tiny[3] = {1.1, 1.3, 1.2};
        check_all_ways({random_crystal(random, 2, thin, 1.0, open), random_crystal(random, 1, tiny, 1.0, open)}, 4.5);
    }
}

// The same lattice described by long, nearly parallel vectors: shifts must come back in the user's cell.
TEST(neighbors_extremely_skewed_cells) {
    Random random(4);
    for (unsigned open : {0u, 1u, 4u}) {
        const double lengths[3] = {3.0, 3.5, 4.0};
        Crystal crystal = random_crystal(random, 3, lengths, 1.0, 0);
        for (int c = 0; c < 3; ++c) {
            crystal.cell[3 + c] += 9.0 * crystal.cell[6 + c];
            crystal.cell[c] += 7.0 * crystal.cell[3 + c] - 3.0 * crystal.cell[6 + c];
        }
        open_axes(open, crystal);
        check_all_ways({crystal}, 4.2);
    }
}

TEST(neighbors_rows_of_open_axes_are_not_read) {
    for (unsigned open = 1; open < 8; ++open) {
        Lists want;
        for (const double left_over : {0.0, 0.37, 1e300, infinity, not_a_number}) {
            Crystal crystal;
            crystal.cell = {3, 0, 0, 20, 3, 0, 20, 20, 3};  // skewed: reduced before the search
            crystal.positions = {0, 0, 0, 1, 1, 0.5};
            open_axes(open, crystal, left_over);
            const Lists got = search({crystal}, options(4.5, 12));
            if (left_over == 0.0) want = got;
            CHECK(got == want, "open axes " << open << " left over " << left_over);
        }
    }
}

TEST(neighbors_atoms_far_outside_the_cell) {
    Random random(5);
    for (unsigned open : {0u, 2u, 5u}) {
        const double lengths[3] = {4.0, 3.0, 5.0};
        check_all_ways({random_crystal(random, 4, lengths, open == 0 ? 1000.0 : 2.0, open)}, 4.1);
    }
}

// High symmetry: whole shells at one distance, so that order and cut rest on (source, shift) alone.
TEST(neighbors_symmetric_lattices) {
    Crystal simple;
    simple.cell = {3.0, 0, 0, 0, 3.0, 0, 0, 0, 3.0};
    simple.pbc = {1, 1, 1};
    simple.positions = {0, 0, 0};
    Crystal caesium = simple;
    caesium.positions = {0, 0, 0, 1.5, 1.5, 1.5};
    Crystal face_centred = simple;
    face_centred.cell = {0, 2, 2, 2, 0, 2, 2, 2, 0};
    check_all_ways({simple, caesium, face_centred}, 6.5);
}

TEST(neighbors_coincident_atoms) {
    Crystal crystal;
    crystal.cell = {4.0, 0, 0, 0, 4.5, 0, 0, 0, 5.0};
    crystal.pbc = {1, 1, 0};
    crystal.positions = {0.1, 0.2, 0.3, 0.1, 0.2, 0.3, 4.1, 0.2, 0.3};
    check_all_ways({crystal}, 5.1);
}

TEST(neighbors_nothing_to_find) {
    for (const int64_t k : {int64_t{0}, int64_t{12}}) {
        const Lists none = search({}, options(5.0, k));
        CHECK(none.source.empty() && none.row_ptr == std::vector<int64_t>{0} && none.few.empty(), none.source.size());
        Crystal empty;
        empty.cell = {3, 0, 0, 0, 3, 0, 0, 0, 3};
        empty.pbc = {1, 1, 1};
        Crystal lonely = empty;
        lonely.pbc = {0, 0, 0};
        lonely.positions = {1, 2, 3};
        const Lists few = search({empty, lonely, empty}, options(5.0, k));
        CHECK(few.source.empty() && (few.row_ptr == std::vector<int64_t>{0, 0}), few.source.size());
        CHECK((few.few == std::vector<int64_t>{0, k > 0 ? 1 : 0, 0}), few.few[1]);
    }
}

// Past the sizes from which one crystal is shared among threads and its ghosts are sorted into a grid.
TEST(neighbors_large_crystals) {
    Random random(6);
    for (unsigned open : {0u, 4u, 7u}) {
        const double lengths[3] = {36.0, 30.0, 33.0};
        Crystal crystal = random_crystal(random, 3000, lengths, 0.5, open);
        const double small[3] = {4.0, 4.0, 4.0};
        check_all_ways({random_crystal(random, 3, small, 1.0, open), std::move(crystal)}, 3.6);
    }
}

// Density far from its mean: a clump in a nearly empty box, so that some rows need many growths of the radius.
TEST(neighbors_large_uneven_crystal) {
    Random random(7);
    const double lengths[3] = {60.0, 60.0, 60.0};
    Crystal crystal = random_crystal(random, 30, lengths, 0.5, 0);
    for (int i = 0; i < 1100; ++i) {
        for (int c = 0; c < 3; ++c) crystal.positions.push_back(random.uniform(-4.0, 4.0));
    }
    const double cutoff = 9.0;
    const std::vector<Crystal> crystals = {crystal};
    const std::vector<std::vector<std::vector<Edge>>> rows = {oracle::radius_rows(crystal, cutoff)};
    for (const NeighborOptions& way : {options(cutoff, 12, false, 3), options(cutoff, 12, true, 3)}) {
        check_lists(crystals, way, search(crystals, way), rows);
    }
}

// The k nearest do not depend on a cutoff that is never reached, and do not pay for it.
TEST(neighbors_nearest_with_a_vast_cutoff) {
    Random random(8);
    const double lengths[3] = {4.0, 3.0, 5.0};
    const std::vector<Crystal> crystals = {random_crystal(random, 4, lengths, 1.0, 0)};
    CHECK(search(crystals, options(7999.0, 12)) == search(crystals, options(9.0, 12)), "differs from a cutoff of 9");
}

// The nearest two share a bin of 1e-6 Å, so the lower source comes first although it is the farther by 2e-8 Å. Where a
// search radius falls between the two, what lies just beyond it must not be missed; the first radius is a round multiple
// of that of a sphere that holds k atoms (density_margin in crystal_search.cpp).
TEST(neighbors_ties_on_either_side_of_a_search_radius) {
    for (int percent = 100; percent <= 150; ++percent) {
        const double length = 10.0;
        const double radius = 0.01 * percent * std::cbrt(length * length * length / (4.0 * M_PI));
        if (std::rint((radius - 1e-8) / 1e-6) != std::rint((radius + 1e-8) / 1e-6)) continue;  // not in one bin
        Crystal crystal;
        crystal.cell = {length, 0, 0, 0, length, 0, 0, 0, length};
        crystal.pbc = {1, 1, 1};
        const double far = (radius + 1e-8) / std::sqrt(3.0);
        const double near = (radius - 1e-8) / std::sqrt(3.0);
        crystal.positions = {0, 0, 0, far, far, -far, near, near, near};
        const Lists lists = search({crystal}, options(9.0, 1));
        CHECK(lists.source[0] == 1, "at " << percent << " %: source " << lists.source[0] << " at " << lists.distances[0]
                                          << ", search radius " << radius);
    }
}

TEST(neighbors_refuse_bad_options) {
    Crystal crystal;
    crystal.cell = {3, 0, 0, 0, 3, 0, 0, 0, 3};
    crystal.pbc = {1, 1, 1};
    crystal.positions = {0, 0, 0};
    for (const double cutoff : {0.0, -1.0, not_a_number, infinity})
        CHECK_REFUSED(search({crystal}, options(cutoff)), "cutoff");
    CHECK_REFUSED(search({crystal}, options(8000.0, 12)), "8000");
    CHECK_REFUSED(search({crystal}, options(7999.0)), "too large for the cell of crystal 0");
    NeighborOptions bad = options(3.0, 12, true);
    for (const double tolerance : {-1e-3, not_a_number, infinity}) {
        bad.tolerance = tolerance;
        CHECK_REFUSED(search({crystal}, bad), "tolerance");
    }
    CHECK_REFUSED(search({crystal}, options(3.0, 0, false, 0)), "threads");
}

TEST(neighbors_refuse_bad_crystals) {
    Crystal good;
    good.cell = {3, 0, 0, 0, 3, 0, 0, 0, 3};
    good.pbc = {1, 1, 1};
    good.positions = {0, 0, 0};
    for (const double value : {not_a_number, infinity, -infinity, 1e16}) {
        Crystal bad = good;
        bad.positions[1] = value;
        CHECK_REFUSED(search({good, bad}, options(3.0)), "positions");
        CHECK_REFUSED(search({good, bad}, options(3.0, 12, false, 3)), "crystal 1");
    }
    for (const double value : {not_a_number, infinity, 0.0}) {
        Crystal bad = good;
        bad.cell[4] = value;
        CHECK_REFUSED(search({good, bad}, options(3.0)), "cell of crystal 1");
    }
    Crystal flat = good;
    for (int c = 0; c < 3; ++c) flat.cell[6 + c] = flat.cell[c] + flat.cell[3 + c];
    CHECK_REFUSED(search({flat}, options(3.0)), "cell of crystal 0");
    const int64_t decreasing[] = {0, 1, 0};
    const int64_t late[] = {1, 1, 1};
    const double cells[18] = {3, 0, 0, 0, 3, 0, 0, 0, 3, 3, 0, 0, 0, 3, 0, 0, 0, 3};
    const uint8_t pbc[6] = {1, 1, 1, 1, 1, 1};
    const double positions[3] = {0, 0, 0};
    CHECK_REFUSED(NeighborSearch({positions, cells, pbc, decreasing, 2}, options(3.0)), "graph_ptr");
    CHECK_REFUSED(NeighborSearch({positions, cells, pbc, late, 2}, options(3.0)), "graph_ptr");
}
