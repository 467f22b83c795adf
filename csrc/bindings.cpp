// The compiled module cgfast._core: a table of contents. Pointers come in as integers whose arrays the Python side has
// checked (dtype, shape, contiguity) and keeps alive; no torch and no NumPy type crosses this boundary.
#include <pybind11/pybind11.h>

#include "isa.hpp"
#include "message/gated_message.hpp"
#include "neighbors/neighbor_search.hpp"

namespace py = pybind11;
using cgfast::NeighborSearch;

namespace {

template <class T>
T* pointer(uintptr_t address) {
    return reinterpret_cast<T*>(address);
}

NeighborSearch* make_neighbor_search(uintptr_t positions, uintptr_t cells, uintptr_t pbc, uintptr_t graph_ptr,
                                     int64_t n_crystals, double cutoff, int64_t max_neighbors, bool shell,
                                     double tolerance, bool pad_2018, bool sort_by_distance, int n_threads) {
    const py::gil_scoped_release release;
    const cgfast::CrystalBatch batch = {pointer<const double>(positions), pointer<const double>(cells),
                                        pointer<const uint8_t>(pbc), pointer<const int64_t>(graph_ptr), n_crystals};
    const cgfast::Sort sort = sort_by_distance ? cgfast::Sort::distance : cgfast::Sort::source;
    return new NeighborSearch(batch, {cutoff, max_neighbors, shell, tolerance, pad_2018, sort, n_threads});
}

void fill(NeighborSearch& search, uintptr_t source, uintptr_t target, uintptr_t shifts, uintptr_t distances,
          uintptr_t edge_weight, uintptr_t row_ptr, uintptr_t few) {
    const py::gil_scoped_release release;
    search.fill({pointer<int64_t>(source), pointer<int64_t>(target), pointer<int32_t>(shifts), pointer<double>(distances),
                 pointer<double>(edge_weight), pointer<int64_t>(row_ptr), pointer<int64_t>(few)});
}

template <class T>
void gated_message(uintptr_t p, int64_t p_stride, uintptr_t q, int64_t q_stride, int64_t n_rows, int64_t n_sources,
                   int64_t n_features, int64_t n_edges, uintptr_t row_ptr, uintptr_t source, uintptr_t edge_weight,
                   uintptr_t weight, int64_t n_basis, uintptr_t edge_attr, uintptr_t distances, double start, double step,
                   double width, uintptr_t out, int n_threads) {
    const py::gil_scoped_release release;
    cgfast::gated_message<T>({pointer<const T>(p),
                              p_stride,
                              pointer<const T>(q),
                              q_stride,
                              n_rows,
                              n_sources,
                              n_features,
                              n_edges,
                              pointer<const int64_t>(row_ptr),
                              pointer<const int64_t>(source),
                              pointer<const T>(edge_weight),
                              pointer<const T>(weight),
                              n_basis,
                              pointer<const T>(edge_attr),
                              pointer<const double>(distances),
                              {start, step, width},
                              pointer<T>(out)},
                             n_threads);
}

}  // namespace

PYBIND11_MODULE(_core, m, py::mod_gil_not_used()) {
    m.doc() = "Native core of cgfast: periodic neighbour search and fused crystal-graph messages.";
    m.def("isa", [] { return cgfast::isa_name(cgfast::active_isa()); }, "Instruction set in use.");
    m.def("isa_supported", [](const std::string& name) {
        for (cgfast::Isa isa : {cgfast::Isa::baseline, cgfast::Isa::avx2, cgfast::Isa::avx512}) {
            if (name == cgfast::isa_name(isa)) return cgfast::isa_supported(isa);
        }
        return false;
    });
    m.def("cuda_built", [] { return false; }, "True if this build holds the CUDA kernels.");
    py::class_<NeighborSearch>(m, "NeighborSearch")
        .def(py::init(&make_neighbor_search))
        .def_property_readonly("n_edges", &NeighborSearch::n_edges)
        .def("fill", &fill);
    m.def("gated_message_float32", &gated_message<float>);
    m.def("gated_message_float64", &gated_message<double>);
}
