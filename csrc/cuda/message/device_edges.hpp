// MessageEdges made ready for kernels: where their weights are kept, and how blocks and shared memory are laid out.
#pragma once

#include "../arena.hpp"
#include "edge_groups.hpp"

namespace cgfast {
namespace cuda {

// Shared memory for the weights of a tile and what each warp needs besides.
struct BlockShape {
    int warps;
    int64_t weight_bytes;  // 0: the weights are read from memory
    int64_t warp_bytes;

    int64_t shared_bytes() const { return weight_bytes + warps * warp_bytes; }
    int threads() const { return warps * warp_size; }
};

template <class T>
int64_t tiles_of(const MessageEdges<T>& edges) {
    return (edges.n_features + tile_features<T> - 1) / tile_features<T>;
}

// Bytes of the weights of a tile.
template <class T>
int64_t tile_bytes(const MessageEdges<T>& edges) {
    return edges.n_basis * warp_size * static_cast<int64_t>(sizeof(Channels<T>));
}

// Throws std::invalid_argument for a basis that is none; indices are on the device and are minded by the kernels.
template <class T>
DeviceEdges<T> device_edges(const MessageEdges<T>& edges);

// Weights that shared memory has no room for, packed into the arena (if `packed`), by a kernel of their own.
template <class T>
void pack_into(DeviceEdges<T>& edges, Arena& arena, bool packed);
template <class T>
void launch_packing(const DeviceEdges<T>& edges, Stream stream);

}  // namespace cuda
}  // namespace cgfast
