// The compiled module cgfast._core: a table of contents. Pointers come in as integers whose arrays the Python side has
// checked (dtype, shape, contiguity) and keeps alive; no torch and no NumPy type crosses this boundary.
#include <pybind11/pybind11.h>

#include "graph/pool.hpp"
#include "graph/sort_edges.hpp"
#include "isa.hpp"
#include "message/edge_moments.hpp"
#include "message/gated_message.hpp"
#include "neighbors/neighbor_search.hpp"

namespace py = pybind11;
using cgfast::EdgeGradients;
using cgfast::MessageEdges;
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
MessageEdges<T> make_message_edges(uintptr_t p, int64_t p_stride, uintptr_t q, int64_t q_stride, int64_t n_rows,
                                   int64_t n_sources, int64_t n_features, int64_t n_edges, uintptr_t row_ptr,
                                   uintptr_t source, uintptr_t order, uintptr_t edge_weight, uintptr_t weight,
                                   int64_t n_basis, uintptr_t edge_attr, uintptr_t distances, double start, double step,
                                   double width) {
    return {pointer<const T>(p),
            p_stride,
            pointer<const T>(q),
            q_stride,
            n_rows,
            n_sources,
            n_features,
            n_edges,
            pointer<const int64_t>(row_ptr),
            pointer<const int64_t>(source),
            pointer<const int64_t>(order),
            pointer<const T>(edge_weight),
            pointer<const T>(weight),
            n_basis,
            pointer<const T>(edge_attr),
            pointer<const double>(distances),
            {start, step, width}};
}

template <class T>
EdgeGradients<T> make_edge_gradients(uintptr_t p, uintptr_t q, uintptr_t weight, uintptr_t edge_attr,
                                     uintptr_t distances, uintptr_t edge_weight) {
    return {pointer<T>(p),         pointer<T>(q),          pointer<T>(weight),
            pointer<T>(edge_attr), pointer<double>(distances), pointer<T>(edge_weight)};
}

template <class T>
void gated_message(const MessageEdges<T>& edges, uintptr_t center, uintptr_t scale, uintptr_t shift, uintptr_t out,
                   int n_threads) {
    const cgfast::Affine<T> affine = {pointer<const T>(center), pointer<const T>(scale), pointer<const T>(shift)};
    cgfast::gated_message<T>(edges, affine, pointer<T>(out), n_threads);
}

template <class T>
void gated_message_backward(const MessageEdges<T>& edges, uintptr_t center, uintptr_t scale, uintptr_t shift,
                            uintptr_t grad, const EdgeGradients<T>& gradients, uintptr_t scale_gradient,
                            uintptr_t shift_gradient, int n_threads) {
    const cgfast::Affine<T> affine = {pointer<const T>(center), pointer<const T>(scale), pointer<const T>(shift)};
    cgfast::gated_message_backward<T>(edges, affine, pointer<const T>(grad), gradients, pointer<T>(scale_gradient),
                                      pointer<T>(shift_gradient), n_threads);
}

template <class T>
void edge_moments(const MessageEdges<T>& edges, uintptr_t mean, uintptr_t variance, int n_threads) {
    cgfast::edge_moments<T>(edges, pointer<T>(mean), pointer<T>(variance), n_threads);
}

template <class T>
void edge_moments_backward(const MessageEdges<T>& edges, uintptr_t mean, uintptr_t variance, uintptr_t mean_grad,
                           uintptr_t variance_grad, const EdgeGradients<T>& gradients, int n_threads) {
    cgfast::edge_moments_backward<T>(edges, pointer<const T>(mean), pointer<const T>(variance),
                                     pointer<const T>(mean_grad), pointer<const T>(variance_grad), gradients, n_threads);
}

template <class T>
void pool(uintptr_t x, int64_t stride, int64_t n_rows, int64_t n_features, uintptr_t graph_ptr, int64_t n_graphs,
          cgfast::Reduction reduction, uintptr_t out, int n_threads) {
    cgfast::pool<T>(pointer<const T>(x), stride, n_rows, n_features, pointer<const int64_t>(graph_ptr), n_graphs,
                    reduction, pointer<T>(out), n_threads);
}

void sort_edges(uintptr_t source, uintptr_t target, int64_t n_edges, int64_t n_targets, uintptr_t sorted_source,
                uintptr_t row_ptr, uintptr_t order) {
    cgfast::sort_edges(pointer<const int64_t>(source), pointer<const int64_t>(target), n_edges, n_targets,
                       {pointer<int64_t>(sorted_source), pointer<int64_t>(row_ptr), pointer<int64_t>(order)});
}

// Every op of one dtype, under names that end in it.
template <class T>
void define_message_ops(py::module_& m, const std::string& dtype) {
    const auto release = py::call_guard<py::gil_scoped_release>();
    py::class_<MessageEdges<T>>(m, ("MessageEdges_" + dtype).c_str()).def(py::init(&make_message_edges<T>));
    py::class_<EdgeGradients<T>>(m, ("EdgeGradients_" + dtype).c_str()).def(py::init(&make_edge_gradients<T>));
    m.def(("gated_message_" + dtype).c_str(), &gated_message<T>, release);
    m.def(("gated_message_backward_" + dtype).c_str(), &gated_message_backward<T>, release);
    m.def(("edge_moments_" + dtype).c_str(), &edge_moments<T>, release);
    m.def(("edge_moments_backward_" + dtype).c_str(), &edge_moments_backward<T>, release);
    m.def(("pool_" + dtype).c_str(), &pool<T>, release);
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
    py::enum_<cgfast::Reduction>(m, "Reduction")
        .value("sum", cgfast::Reduction::sum)
        .value("mean", cgfast::Reduction::mean)
        .value("min", cgfast::Reduction::min)
        .value("max", cgfast::Reduction::max);
    m.def("sort_edges", &sort_edges, py::call_guard<py::gil_scoped_release>());
    define_message_ops<float>(m, "float32");
    define_message_ops<double>(m, "float64");
}
