// The neighbour search of the GPU in cgfast._core. Addresses are those of arrays on the device; stream is a cudaStream_t.
#pragma once

#include <pybind11/pybind11.h>

#include <memory>

#include "neighbors/neighbor_search.hpp"

namespace cgfast {
namespace cuda {

inline std::unique_ptr<NeighborSearch> make_cuda_neighbor_search(uintptr_t positions, uintptr_t cells, uintptr_t pbc,
                                                                 uintptr_t graph_ptr, int64_t n_crystals, int64_t n_atoms,
                                                                 int64_t largest_crystal, double cutoff,
                                                                 int64_t max_neighbors, bool shell, double tolerance,
                                                                 bool pad_2018, bool sort_by_distance) {
    const CrystalBatch batch = {reinterpret_cast<const double*>(positions), reinterpret_cast<const double*>(cells),
                                reinterpret_cast<const uint8_t*>(pbc), reinterpret_cast<const int64_t*>(graph_ptr),
                                n_crystals};
    NeighborOptions options;
    options.cutoff = cutoff;
    options.max_neighbors = max_neighbors;
    options.shell = shell;
    options.tolerance = tolerance;
    options.pad_2018 = pad_2018;
    options.sort = sort_by_distance ? Sort::distance : Sort::source;
    return std::make_unique<NeighborSearch>(batch, n_atoms, largest_crystal, options);
}

inline void count_neighbors(NeighborSearch& search, uintptr_t workspace, uintptr_t status, uintptr_t row_ptr,
                            uintptr_t few, uintptr_t stream) {
    search.count(reinterpret_cast<void*>(workspace), reinterpret_cast<int64_t*>(status),
                 reinterpret_cast<int64_t*>(row_ptr), reinterpret_cast<int64_t*>(few), reinterpret_cast<Stream>(stream));
}

inline void fill_neighbors(const NeighborSearch& search, uintptr_t source, uintptr_t target, uintptr_t shifts,
                           uintptr_t distances, uintptr_t edge_weight, int64_t n_searched_again, uintptr_t stream) {
    search.fill(
        {reinterpret_cast<int64_t*>(source), reinterpret_cast<int64_t*>(target), reinterpret_cast<int32_t*>(shifts),
         reinterpret_cast<double*>(distances), reinterpret_cast<double*>(edge_weight), nullptr, nullptr},
        n_searched_again, reinterpret_cast<Stream>(stream));
}

inline void define_cuda_neighbors(pybind11::module_& m) {
    const auto release = pybind11::call_guard<pybind11::gil_scoped_release>();
    pybind11::class_<NeighborSearch>(m, "CudaNeighborSearch")
        .def(pybind11::init(&make_cuda_neighbor_search))
        .def_property_readonly("workspace_bytes", &NeighborSearch::workspace_bytes)
        .def("count", &count_neighbors, release)
        .def("fill", &fill_neighbors, release);
}

}  // namespace cuda
}  // namespace cgfast
