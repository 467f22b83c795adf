#include "device_edges.hpp"

#include "../../check.hpp"

namespace cgfast {
namespace cuda {
namespace {

constexpr int threads = 256;

// blockIdx.y: the tile.
template <class T>
__global__ void __launch_bounds__(threads) pack(DeviceEdges<T> edges, Channels<T>* to) {
    const int64_t tile = blockIdx.y;
    const int64_t warp = static_cast<int64_t>(blockIdx.x) * warps_per_block() + warp_index();
    pack_weights(edges, tile, to + tile * edges.n_basis * warp_size, warp,
                 static_cast<int64_t>(gridDim.x) * warps_per_block());
}

}  // namespace

template <class T>
DeviceEdges<T> device_edges(const MessageEdges<T>& edges) {
    constexpr int64_t most_rows = int64_t(1) << 25;  // that fit a sort key beside a lane
    CGFAST_CHECK(edges.n_basis <= most_rows, "weight must have at most " << most_rows << " rows, got " << edges.n_basis);
    const int64_t most_atoms = INT_MAX;
    CGFAST_CHECK(edges.n_rows <= most_atoms && edges.n_sources <= most_atoms,
                 "p and q must have at most " << most_atoms << " rows on CUDA, got " << edges.n_rows << " and "
                                              << edges.n_sources);
    DeviceEdges<T> out = {edges, 0.0, 0.0, nullptr};
    if (out.weight_layout.row == 0) out.weight_layout.row = 2 * edges.n_features;
    if (edges.distances == nullptr) return out;
    check(edges.basis);
    out.steps_per_angstrom = 1.0 / edges.basis.step;
    out.reach = reach_of<T>(edges.basis);
    return out;
}

template <class T>
void pack_into(DeviceEdges<T>& edges, Arena& arena, bool packed) {
    if (packed) edges.packed = arena.take<Channels<T>>(tiles_of(edges) * edges.n_basis * warp_size);
}

template <class T>
void launch_packing(const DeviceEdges<T>& edges, Stream stream) {
    if (edges.packed == nullptr || edges.n_basis == 0) return;
    const int64_t n_blocks = (edges.n_basis * warp_size * channels_per_lane<T> + threads - 1) / threads;
    launch("pack", pack<T>, {n_blocks, tiles_of(edges)}, threads, 0, stream, edges,
           const_cast<Channels<T>*>(edges.packed));
}

#define CGFAST_INSTANTIATE(T)                                                       \
    template DeviceEdges<T> device_edges<T>(const MessageEdges<T>& edges);          \
    template void pack_into<T>(DeviceEdges<T> & edges, Arena & arena, bool packed); \
    template void launch_packing<T>(const DeviceEdges<T>& edges, Stream stream);
CGFAST_INSTANTIATE(float)
CGFAST_INSTANTIATE(double)

}  // namespace cuda
}  // namespace cgfast
