// The message ops of the GPU in cgfast._core. Each op NAME has two functions, NAME_cuda_workspace_DTYPE(arguments...),
// bytes of workspace, and NAME_cuda_DTYPE(arguments..., workspace, stream): the arguments are those of the CPU's
// NAME_DTYPE without its number of threads. Addresses are those of memory on the current device; stream is a
// cudaStream_t.
#pragma once

#include <pybind11/pybind11.h>

#include <string>

#include "graph/pool.hpp"
#include "graph/sort_edges.hpp"
#include "message/edge_moments.hpp"
#include "message/gated_message.hpp"
#include "message/gated_message_backward.hpp"

namespace cgfast {
namespace cuda {

template <class T>
struct MessageBindings {
    using Edges = const MessageEdges<T>&;
    using Gradients = const EdgeGradients<T>&;
    using Address = uintptr_t;

    static const T* in(Address address) { return reinterpret_cast<const T*>(address); }
    static T* out(Address address) { return reinterpret_cast<T*>(address); }
    static void* memory(Address address) { return reinterpret_cast<void*>(address); }
    static Affine<T> affine(Address center, Address scale, Address shift) { return {in(center), in(scale), in(shift)}; }

    static int64_t message_workspace(Edges edges, Address, Address, Address, Address, Address) {
        return gated_message_workspace(edges);
    }
    static void message(Edges edges, Address center, Address scale, Address shift, Address start, Address result,
                        Address workspace, Address stream) {
        gated_message(edges, affine(center, scale, shift), out(result), memory(workspace), memory(stream), in(start));
    }
    static int64_t message_backward_workspace(Edges edges, Address center, Address scale, Address shift, Address,
                                              Gradients gradients, Address, Address) {
        return gated_message_backward_workspace(edges, affine(center, scale, shift), gradients);
    }
    static void message_backward(Edges edges, Address center, Address scale, Address shift, Address grad,
                                 Gradients gradients, Address scale_gradient, Address shift_gradient, Address workspace,
                                 Address stream) {
        gated_message_backward(edges, affine(center, scale, shift), in(grad), gradients, out(scale_gradient),
                               out(shift_gradient), memory(workspace), memory(stream));
    }
    static int64_t moments_workspace(Edges edges, Address, Address) { return edge_moments_workspace(edges); }
    static void moments(Edges edges, Address mean, Address variance, Address workspace, Address stream) {
        edge_moments(edges, out(mean), out(variance), memory(workspace), memory(stream));
    }
    static int64_t moments_backward_workspace(Edges edges, Address, Address, Address, Address, Gradients gradients) {
        return edge_moments_backward_workspace(edges, gradients);
    }
    static void moments_backward(Edges edges, Address mean, Address variance, Address mean_grad, Address variance_grad,
                                 Gradients gradients, Address workspace, Address stream) {
        edge_moments_backward(edges, in(mean), in(variance), in(mean_grad), in(variance_grad), gradients,
                              memory(workspace), memory(stream));
    }
    static int64_t pool_workspace(Address, int64_t, int64_t, int64_t, Address, int64_t, const std::string&, Address) {
        return 0;
    }
    static void pool_rows(Address x, int64_t stride, int64_t n_rows, int64_t n_features, Address graph_ptr,
                          int64_t n_graphs, const std::string& reduction_name, Address result, Address, Address stream) {
        pool(in(x), stride, n_rows, n_features, reinterpret_cast<const int64_t*>(graph_ptr), n_graphs,
             reduction(reduction_name), out(result), memory(stream));
    }

    static void define(pybind11::module_& m, const std::string& dtype) {
        const auto release = pybind11::call_guard<pybind11::gil_scoped_release>();
        const auto both = [&](const std::string& name, auto workspace, auto function) {
            m.def((name + "_cuda_workspace_" + dtype).c_str(), workspace, release);
            m.def((name + "_cuda_" + dtype).c_str(), function, release);
        };
        both("gated_message", &message_workspace, &message);
        both("gated_message_backward", &message_backward_workspace, &message_backward);
        both("edge_moments", &moments_workspace, &moments);
        both("edge_moments_backward", &moments_backward_workspace, &moments_backward);
        both("pool", &pool_workspace, &pool_rows);
    }
};

inline int64_t sort_workspace(uintptr_t, uintptr_t, int64_t n_edges, int64_t n_targets, uintptr_t, uintptr_t, uintptr_t) {
    return sort_edges_workspace(n_edges, n_targets);
}

inline void sort(uintptr_t source, uintptr_t target, int64_t n_edges, int64_t n_targets, uintptr_t sorted_source,
                 uintptr_t row_ptr, uintptr_t order, uintptr_t workspace, uintptr_t stream) {
    sort_edges(reinterpret_cast<const int64_t*>(source), reinterpret_cast<const int64_t*>(target), n_edges, n_targets,
               {reinterpret_cast<int64_t*>(sorted_source), reinterpret_cast<int64_t*>(row_ptr),
                reinterpret_cast<int64_t*>(order)},
               reinterpret_cast<void*>(workspace), reinterpret_cast<Stream>(stream));
}

inline void define_cuda_messages(pybind11::module_& m) {
    const auto release = pybind11::call_guard<pybind11::gil_scoped_release>();
    MessageBindings<float>::define(m, "float32");
    MessageBindings<double>::define(m, "float64");
    m.def("sort_edges_cuda_workspace", &sort_workspace, release);
    m.def("sort_edges_cuda", &sort, release);
}

}  // namespace cuda
}  // namespace cgfast
