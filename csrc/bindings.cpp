// The compiled module cgfast._core: a table of contents. Pointers come in as integers whose arrays the Python side has
// checked (dtype, shape, contiguity) and keeps alive; no torch and no NumPy type crosses this boundary.
#include <pybind11/pybind11.h>

#ifdef CGFAST_CUDA
#include "cuda/bindings_messages.hpp"
#include "cuda/bindings_neighbors.hpp"
#endif
#include "graph/collate.hpp"
#include "graph/pool.hpp"
#include "graph/sort_edges.hpp"
#include "isa.hpp"
#include "message/edge_moments.hpp"
#include "message/gated_message.hpp"
#include "message/node_products.hpp"
#include "neighbors/neighbor_search.hpp"

namespace py = pybind11;
using cgfast::EdgeGradients;
using cgfast::MessageEdges;
using cgfast::NeighborSearch;
using cgfast::SplitLinear;
using cgfast::StoredGraphs;

namespace {

template <class T>
T* pointer(uintptr_t address) {
    return reinterpret_cast<T*>(address);
}

NeighborSearch* make_neighbor_search(uintptr_t positions, uintptr_t cells, uintptr_t pbc, uintptr_t graph_ptr,
                                     int64_t n_crystals, double cutoff, int64_t max_neighbors, bool shell,
                                     double tolerance, bool pad_2018, bool sort_by_distance, int n_threads,
                                     int64_t first_crystal) {
    const py::gil_scoped_release release;
    const cgfast::CrystalBatch batch = {pointer<const double>(positions),
                                        pointer<const double>(cells),
                                        pointer<const uint8_t>(pbc),
                                        pointer<const int64_t>(graph_ptr),
                                        n_crystals,
                                        first_crystal};
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
                                   double width, int64_t weight_row, int64_t weight_column, uintptr_t core_weight) {
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
            {start, step, width},
            {weight_row, weight_column, pointer<const T>(core_weight)}};
}

template <class T>
EdgeGradients<T> make_edge_gradients(uintptr_t p, uintptr_t q, uintptr_t weight, uintptr_t edge_attr, uintptr_t distances,
                                     uintptr_t edge_weight, int64_t weight_row, int64_t weight_column,
                                     uintptr_t core_weight) {
    return {pointer<T>(p),
            pointer<T>(q),
            pointer<T>(weight),
            pointer<T>(edge_attr),
            pointer<double>(distances),
            pointer<T>(edge_weight),
            {weight_row, weight_column, pointer<T>(core_weight)}};
}

template <class T>
void gated_message(const MessageEdges<T>& edges, uintptr_t center, uintptr_t scale, uintptr_t shift, uintptr_t start,
                   uintptr_t out, int n_threads) {
    const cgfast::Affine<T> affine = {pointer<const T>(center), pointer<const T>(scale), pointer<const T>(shift)};
    cgfast::gated_message<T>(edges, affine, pointer<T>(out), n_threads, pointer<const T>(start));
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

// Two pieces of a weight or its gradient: lin_f and lin_s, or all of it in the first.
template <class T>
cgfast::StackedRows<T> stacked(uintptr_t first, uintptr_t second, int64_t n_first, int64_t n, int64_t stride) {
    return {pointer<T>(first), pointer<T>(second), n_first, n, stride};
}

template <class T>
SplitLinear<T> make_split_linear(uintptr_t target, int64_t target_stride, int64_t n_targets, int64_t target_width,
                                 uintptr_t source, int64_t source_stride, int64_t n_sources, int64_t source_width,
                                 uintptr_t weight, uintptr_t second_weight, int64_t n_first, int64_t n_out,
                                 int64_t weight_stride, uintptr_t bias, uintptr_t second_bias) {
    return {{pointer<const T>(target), target_stride, n_targets, target_width},
            {pointer<const T>(source), source_stride, n_sources, source_width},
            stacked<const T>(weight, second_weight, n_first, n_out, weight_stride),
            stacked<const T>(bias, second_bias, n_first, n_out, 1)};
}

template <class T>
void split_linear(const SplitLinear<T>& layer, uintptr_t p, uintptr_t q, int n_threads) {
    cgfast::split_linear<T>(layer, pointer<T>(p), pointer<T>(q), n_threads);
}

// The gradients of weights have the stride of the weights.
template <class T>
void split_linear_backward(const SplitLinear<T>& layer, uintptr_t p_grad, uintptr_t q_grad, uintptr_t target,
                           uintptr_t source, uintptr_t weight, uintptr_t second_weight, uintptr_t bias,
                           uintptr_t second_bias, uintptr_t start, int n_threads) {
    const auto& rows = layer.weight;
    cgfast::split_linear_backward<T>(
        layer, pointer<const T>(p_grad), pointer<const T>(q_grad),
        {pointer<T>(target), pointer<T>(source), stacked<T>(weight, second_weight, rows.n_first, rows.n, rows.stride),
         stacked<T>(bias, second_bias, rows.n_first, rows.n, 1), pointer<const T>(start)},
        n_threads);
}

template <class T>
void pool(uintptr_t x, int64_t stride, int64_t n_rows, int64_t n_features, uintptr_t graph_ptr, int64_t n_graphs,
          const std::string& reduction, uintptr_t out, int n_threads) {
    cgfast::pool<T>(pointer<const T>(x), stride, n_rows, n_features, pointer<const int64_t>(graph_ptr), n_graphs,
                    cgfast::reduction(reduction), pointer<T>(out), n_threads);
}

void sort_edges(uintptr_t source, uintptr_t target, int64_t n_edges, int64_t n_targets, uintptr_t sorted_source,
                uintptr_t row_ptr, uintptr_t order) {
    cgfast::sort_edges(pointer<const int64_t>(source), pointer<const int64_t>(target), n_edges, n_targets,
                       {pointer<int64_t>(sorted_source), pointer<int64_t>(row_ptr), pointer<int64_t>(order)});
}

StoredGraphs make_stored_graphs(uintptr_t graph_ptr, uintptr_t edge_ptr, int64_t n_crystals, int64_t n_atoms,
                                int64_t n_edges, uintptr_t degree, uintptr_t source, uintptr_t atomic_numbers,
                                uintptr_t distances, uintptr_t edge_weight, int64_t value_bytes) {
    return {pointer<const int64_t>(graph_ptr),
            pointer<const int64_t>(edge_ptr),
            n_crystals,
            n_atoms,
            n_edges,
            pointer<const int32_t>(degree),
            pointer<const int32_t>(source),
            pointer<const uint8_t>(atomic_numbers),
            pointer<const void>(distances),
            pointer<const void>(edge_weight),
            value_bytes};
}

void collate(const StoredGraphs& stored, uintptr_t indices, int64_t n_indices, int64_t n_atoms, int64_t n_edges,
             uintptr_t source, uintptr_t target, uintptr_t row_ptr, uintptr_t graph_ptr, uintptr_t atomic_numbers,
             uintptr_t distances, uintptr_t edge_weight, int n_threads) {
    cgfast::collate(stored, pointer<const int64_t>(indices), n_indices,
                    {n_atoms, n_edges, pointer<int64_t>(source), pointer<int64_t>(target), pointer<int64_t>(row_ptr),
                     pointer<int64_t>(graph_ptr), pointer<int32_t>(atomic_numbers), pointer<void>(distances),
                     pointer<void>(edge_weight)},
                    n_threads);
}

// Every op of one dtype (float32, float64), under names that end in it.
template <class T>
void define_message_ops(py::module_& m, const std::string& dtype) {
    const std::string bits = sizeof(T) == 4 ? "Float32" : "Float64";
    const auto release = py::call_guard<py::gil_scoped_release>();
    py::class_<MessageEdges<T>>(m, ("MessageEdges" + bits).c_str()).def(py::init(&make_message_edges<T>));
    py::class_<EdgeGradients<T>>(m, ("EdgeGradients" + bits).c_str()).def(py::init(&make_edge_gradients<T>));
    m.def(("gated_message_" + dtype).c_str(), &gated_message<T>, release);
    m.def(("gated_message_backward_" + dtype).c_str(), &gated_message_backward<T>, release);
    m.def(("edge_moments_" + dtype).c_str(), &edge_moments<T>, release);
    m.def(("edge_moments_backward_" + dtype).c_str(), &edge_moments_backward<T>, release);
    py::class_<SplitLinear<T>>(m, ("SplitLinear" + bits).c_str()).def(py::init(&make_split_linear<T>));
    m.def(("split_linear_" + dtype).c_str(), &split_linear<T>, release);
    m.def(("split_linear_backward_" + dtype).c_str(), &split_linear_backward<T>, release);
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
#ifdef CGFAST_CUDA
    constexpr bool cuda_built = true;
    m.def("cuda_architectures", [] { return CGFAST_CUDA_ARCHITECTURES; });
    m.def("cuda_version", [] { return CGFAST_CUDA_VERSION; });
    cgfast::cuda::define_cuda_messages(m);
    cgfast::cuda::define_cuda_neighbors(m);
#else
    constexpr bool cuda_built = false;
    m.def("cuda_architectures", [] { return ""; });
    m.def("cuda_version", [] { return ""; });
#endif
    m.def("cuda_built", [] { return cuda_built; }, "True if this build holds the CUDA kernels.");
    py::class_<NeighborSearch>(m, "NeighborSearch")
        .def(py::init(&make_neighbor_search))
        .def_property_readonly("n_edges", &NeighborSearch::n_edges)
        .def("fill", &fill);
    m.def("sort_edges", &sort_edges, py::call_guard<py::gil_scoped_release>());
    py::class_<StoredGraphs>(m, "StoredGraphs")
        .def(py::init(&make_stored_graphs))
        .def("collate", &collate, py::call_guard<py::gil_scoped_release>());
    define_message_ops<float>(m, "float32");
    define_message_ops<double>(m, "float64");
}
