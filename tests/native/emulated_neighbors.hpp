// Searches for neighbours on the emulated GPU, and their comparison with those of the CPU.
#pragma once

#include <cmath>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <string>

#include "cuda/neighbors/neighbor_search.hpp"
#include "emulated_run.hpp"
#include "neighbor_samples.hpp"

namespace emulated {

using cgfast::cuda::CellLists;
using namespace neighbor_samples;

constexpr CellLists both_ways[] = {CellLists::never, CellLists::always};

struct Found {
    Lists lists;
    int64_t bad_crystal = -1;
    bool bad_graph_ptr = false;
    std::vector<cgfast::cuda::PreparedCrystal> crystals;
};

struct Free {
    void operator()(void* memory) const { std::free(memory); }
};

// Memory that holds NaN and huge numbers.
inline std::unique_ptr<void, Free> garbage(int64_t bytes) {
    const size_t rounded = static_cast<size_t>(bytes + 255) / 256 * 256;
    std::unique_ptr<void, Free> memory(std::aligned_alloc(256, rounded + 256));
    std::memset(memory.get(), 0xf7, rounded + 256);
    return memory;
}

inline Found search_on_gpu(const cgfast::CrystalBatch& batch, int64_t n_atoms, const NeighborOptions& wanted,
                           CellLists cell_lists = CellLists::by_cost) {
    cgfast::cuda::NeighborSearch search(batch, n_atoms, n_atoms, wanted, cell_lists);
    const auto workspace = garbage(search.workspace_bytes());
    Found found;
    int64_t status[4] = {-1, -1, -1, -1};
    Lists head(0, n_atoms, batch.n_crystals);
    search.count(workspace.get(), status, head.row_ptr.data(), head.few.data(), nullptr);
    found.bad_graph_ptr = status[2] != 0;
    if (status[1] != 0) found.bad_crystal = batch.n_crystals - status[1];
    if (found.bad_graph_ptr || found.bad_crystal >= 0) return found;
    found.lists = Lists(status[0], n_atoms, batch.n_crystals);
    search.fill(found.lists.arrays(), status[3], nullptr);
    // The workspace begins with the crystals.
    const auto* crystals = static_cast<const cgfast::cuda::PreparedCrystal*>(workspace.get());
    found.crystals.assign(crystals, crystals + batch.n_crystals);
    found.lists.row_ptr = head.row_ptr;
    found.lists.few = head.few;
    return found;
}

inline Found search_on_gpu(const std::vector<Crystal>& crystals, const NeighborOptions& wanted,
                           CellLists cell_lists = CellLists::by_cost) {
    const Batch batch(crystals);
    return search_on_gpu(batch.arrays(), batch.n_atoms(), wanted, cell_lists);
}

inline void check_same(const Found& found, const Lists& want, const std::string& what) {
    CHECK(!found.bad_graph_ptr && found.bad_crystal < 0, what << ": crystal " << found.bad_crystal << " refused");
    const Lists& got = found.lists;
    CHECK(got.few == want.few, what << ": few");
    CHECK(got.row_ptr == want.row_ptr,
          what << ": row_ptr, " << got.row_ptr.back() << " edges, wanted " << want.row_ptr.back());
    for (size_t e = 0; e < want.source.size(); ++e) {
        const int32_t* shift = &got.shifts[3 * e];
        const int32_t* wanted = &want.shifts[3 * e];
        CHECK(got.target[e] == want.target[e] && got.source[e] == want.source[e] && shift[0] == wanted[0] &&
                  shift[1] == wanted[1] && shift[2] == wanted[2] && got.distances[e] == want.distances[e] &&
                  got.weights[e] == want.weights[e],
              what << ": edge " << e << " of atom " << got.target[e] << " (" << want.target[e] << "): source "
                   << got.source[e] << " (" << want.source[e] << "), shift " << shift[0] << "," << shift[1] << ","
                   << shift[2] << " (" << wanted[0] << "," << wanted[1] << "," << wanted[2] << "), distance "
                   << got.distances[e] << " (" << want.distances[e] << "), weight " << got.weights[e] << " ("
                   << want.weights[e] << ")");
    }
}

inline std::string name(const NeighborOptions& way, CellLists cell_lists) {
    std::ostringstream out;
    out << "cutoff " << way.cutoff << " k " << way.max_neighbors << (way.shell ? " shell" : "")
        << (way.pad_2018 ? " pad" : "") << (way.sort == Sort::source ? " by source" : " by distance") << " cell lists "
        << static_cast<int>(cell_lists);
    return out.str();
}

inline void check_way(const std::vector<Crystal>& crystals, const NeighborOptions& way) {
    const Lists want = search(crystals, way);
    for (const CellLists cell_lists : both_ways) {
        check_same(search_on_gpu(crystals, way, cell_lists), want, name(way, cell_lists));
    }
}

inline void check_all_ways(const std::vector<Crystal>& crystals, double cutoff) {
    std::vector<NeighborOptions> ways = {options(cutoff),           options(cutoff, 1), options(cutoff, 12),
                                         options(cutoff, 13, true), options(cutoff),    options(cutoff, 7)};
    ways[4].sort = Sort::distance;
    ways[5].sort = Sort::source;
    for (const bool shell : {false, true}) {
        ways.push_back(options(cutoff, 30, shell));
        ways.back().pad_2018 = true;
        if (shell) ways.back().sort = Sort::source;
    }
    for (const NeighborOptions& way : ways) check_way(crystals, way);
}

inline Crystal cubic(double length, std::vector<double> positions) {
    Crystal crystal;
    crystal.cell = {length, 0, 0, 0, length, 0, 0, 0, length};
    crystal.pbc = {1, 1, 1};
    crystal.positions = std::move(positions);
    return crystal;
}

inline Crystal skewed_crystal(Random& random, int64_t n, unsigned open) {
    const double lengths[3] = {3.0, 3.5, 4.0};
    Crystal crystal = random_crystal(random, n, lengths, 1.0, 0);
    for (int c = 0; c < 3; ++c) {
        crystal.cell[3 + c] += 9.0 * crystal.cell[6 + c];
        crystal.cell[c] += 7.0 * crystal.cell[3 + c] - 3.0 * crystal.cell[6 + c];
    }
    open_axes(open, crystal);
    return crystal;
}

// A block of face-centred cubic cells, each atom moved by up to `noise`.
inline Crystal cubic_block(Random& random, int64_t cells, double length, double noise) {
    Crystal crystal = cubic(length * static_cast<double>(cells), {});
    for (int64_t site = 0; site < 4 * cells * cells * cells; ++site) {
        const int64_t place[3] = {site / 4 % cells, site / 4 / cells % cells, site / 4 / cells / cells};
        for (int c = 0; c < 3; ++c) {
            const double offset = site % 4 != 0 && site % 4 - 1 != c ? 0.5 : 0.0;
            crystal.positions.push_back((static_cast<double>(place[c]) + offset) * length +
                                        random.uniform(-noise, noise));
        }
    }
    return crystal;
}

}  // namespace emulated
