#include "gated_message.hpp"

#include <algorithm>

#include "device_edges.hpp"

namespace cgfast {
namespace cuda {
namespace {

constexpr int warps = 4;
constexpr int64_t blocks_at_most = 4096;  // beyond, warps take several rows each and share the weights of their block

// Weights go to shared memory if this leaves room for two blocks on most devices, and one on all.
constexpr int64_t weights_at_most = 48 << 10;

template <class T, bool affine>
struct Change {
    T scale[channels_per_lane<T>], shift[channels_per_lane<T>];

    __device__ __forceinline__ Change(const Affine<T>& change, const LaneFeatures<T>& features) {
        features.load(change.scale, scale);
        features.load(change.shift, shift);
    }
    __device__ __forceinline__ T operator()(T y, int c) const { return y * scale[c] + shift[c]; }
};

template <class T>
struct Change<T, false> {
    __device__ __forceinline__ Change(const Affine<T>&, const LaneFeatures<T>&) {}
    __device__ __forceinline__ T operator()(T y, int) const { return y; }
};

// sums += messages of a group.
template <class T, bool affine>
__device__ __forceinline__ void add_messages(const LaneEdge<T>& edge, const Group<T>& group,
                                             const Change<T, affine>& change, const T (*y)[channels_per_lane<T>],
                                             T* sums) {
    constexpr int n_v = features_per_lane<T>;
    CGFAST_CUDA_UNROLL
    for (int g = 0; g < group_size; ++g) {
        const T weight = shuffle(edge.weight, group.lane_of(g));
        if (g >= group.n) continue;
        CGFAST_CUDA_UNROLL
        for (int v = 0; v < n_v; ++v) {
            sums[v] += weight * gated_value(change(y[g][v], v), change(y[g][n_v + v], n_v + v));
        }
    }
}

// blockIdx.y: the tile. A warp takes row after row.
template <class T, bool affine, bool shared_weights>
__global__ void __launch_bounds__(warps* warp_size, sizeof(T) == 4 ? 5 : 4)
    message_rows(DeviceEdges<T> edges, RowEdges rows, Affine<T> affine_change, const T* start, T* out) {
    const int64_t tile = blockIdx.y;
    unsigned char* shared = shared_memory();
    GroupValues<T>* coefficients = reinterpret_cast<GroupValues<T>*>(shared) + warp_index() * basis_chunk;
    Channels<T>* staged = reinterpret_cast<Channels<T>*>(shared + warps * basis_chunk * sizeof(GroupValues<T>));
    const Channels<T>* weights = shared_weights ? staged : edges.packed + tile * edges.n_basis * warp_size;
    if (shared_weights) {
        pack_weights(edges, tile, staged, warp_index(), warps);
        sync_block();
    }
    const LaneFeatures<T> features(edges.n_features, tile);
    const Change<T, affine> change(affine_change, features);
    const int64_t n_warps = static_cast<int64_t>(gridDim.x) * warps;
    for (int64_t row = static_cast<int64_t>(blockIdx.x) * warps + warp_index(); row < rows.n_rows; row += n_warps) {
        T own[channels_per_lane<T>];
        T sums[features_per_lane<T>] = {};
        features.load(edges.p + row * edges.p_stride, own);
        if (affine) {
            T center[channels_per_lane<T>];
            features.load(affine_change.center, center);
            CGFAST_CUDA_UNROLL
            for (int c = 0; c < channels_per_lane<T>; ++c) own[c] -= center[c];
        }
        if (start != nullptr) features.load_half(start + row * edges.n_features, sums);
        const Range range = range_of(rows, row);
        for (int64_t begin = range.begin; begin < range.end; begin += warp_size) {
            const int n = range.end - begin < warp_size ? static_cast<int>(range.end - begin) : warp_size;
            const LaneEdge<T> edge = load_edges(edges, rows, begin, n);
            for (int slot = 0; slot < n; slot += group_size) {
                const Group<T> group(edge, slot, n);
                T y[group_size][channels_per_lane<T>];
                gather(edge, group, own, edges.q, edges.q_stride, features, y);
                add_term<T, false>(edges, group, weights, coefficients, nullptr, y, nullptr);
                add_messages<T, affine>(edge, group, change, y, sums);
            }
        }
        features.store_half(out + row * edges.n_features, sums);
    }
}

template <class T>
BlockShape shape_of(const MessageEdges<T>& edges) {
    const int64_t bytes = tile_bytes(edges);
    return {warps, bytes <= weights_at_most ? bytes : 0, static_cast<int64_t>(basis_chunk * sizeof(GroupValues<T>))};
}

template <class T>
DeviceEdges<T> ready(const MessageEdges<T>& edges, const BlockShape& shape, Arena& arena) {
    DeviceEdges<T> out = device_edges(edges);
    pack_into(out, arena, shape.weight_bytes == 0 && out.n_basis > 0);
    return out;
}

}  // namespace

template <class T>
int64_t gated_message_workspace(const MessageEdges<T>& edges) {
    Arena arena(nullptr);
    ready(edges, shape_of(edges), arena);
    return arena.bytes();
}

template <class T>
void gated_message(const MessageEdges<T>& edges, const Affine<T>& affine, T* out, void* workspace, Stream stream,
                   const T* start) {
    Arena arena(workspace);
    const BlockShape shape = shape_of(edges);
    const DeviceEdges<T> on_device = ready(edges, shape, arena);
    launch_packing(on_device, stream);
    const RowEdges rows = {edges.row_ptr, edges.n_rows, edges.n_edges, nullptr, edges.source, edges.n_sources};
    const int64_t n_blocks = std::min((edges.n_rows + warps - 1) / warps, blocks_at_most);
    const bool shared = shape.weight_bytes > 0 || on_device.n_basis == 0;
    const auto kernel = affine.scale == nullptr ? (shared ? message_rows<T, false, true> : message_rows<T, false, false>)
                                                : (shared ? message_rows<T, true, true> : message_rows<T, true, false>);
    launch("message_rows", kernel, {n_blocks, tiles_of(edges)}, shape.threads(), shape.shared_bytes(), stream, on_device,
           rows, affine, start, out);
}

#define CGFAST_INSTANTIATE(T)                                                                                      \
    template int64_t gated_message_workspace<T>(const MessageEdges<T>& edges);                                     \
    template void gated_message<T>(const MessageEdges<T>& edges, const Affine<T>& affine, T* out, void* workspace, \
                                   Stream stream, const T* start);
CGFAST_INSTANTIATE(float)
CGFAST_INSTANTIATE(double)

}  // namespace cuda
}  // namespace cgfast
