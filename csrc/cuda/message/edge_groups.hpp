// The edges of one row as a warp sees them, and their preactivation: p + q + (edge term) @ weight.
//
// A lane owns features_per_lane features, gate and core of each; features beyond a tile of tile_features are another
// tile. Up to 32 edges of a row are looked at together, one by each lane, and put in the order of their distances, so
// that the group_size edges that are computed at a time need nearly the same rows of `weight`: each row is fetched once
// for all of them. Edges count from the nearest one on; with equal distances, from the first.
//
// Nothing outside the arrays is touched, whatever row_ptr, source and order hold: an edge that points outside gives NaN.
#pragma once

#include <climits>
#include <cmath>
#include <cstdint>

#include "../../message/message_edges.hpp"
#include "../launch.hpp"

namespace cgfast {
namespace cuda {

#include "../../message/arithmetic.inl"

constexpr int group_size = 4;
constexpr int basis_chunk = 32;  // rows of `weight` whose coefficients are kept at a time
constexpr int coefficients_per_warp = basis_chunk * group_size;

template <class T>
constexpr int features_per_lane = sizeof(T) == 4 ? 2 : 1;
template <class T>
constexpr int channels_per_lane = 2 * features_per_lane<T>;
template <class T>
constexpr int tile_features = warp_size * features_per_lane<T>;

// The channels of a lane in a tile: gates, then cores. One load of 16 bytes.
template <class T>
struct alignas(16) Channels {
    T at[channels_per_lane<T>];
};

// Coefficients of a row of `weight` for the edges of a group.
template <class T>
struct alignas(16) GroupValues {
    T at[group_size];
};

// MessageEdges on the device, with what is derived from them.
template <class T>
struct DeviceEdges : MessageEdges<T> {
    double steps_per_angstrom;
    double reach;               // Gaussians further than this many steps from the distance do not matter to rounding
    const Channels<T>* packed;  // weights in tiles of K rows of 32 lanes; null if kernels keep them in shared memory
};

// The other ends of the edges of rows: of targets with their sources, or of sources with their targets.
struct RowEdges {
    const int64_t* row_ptr;  // (n_rows + 1,)
    int64_t n_rows, n_edges;
    const int64_t* edge;   // number of the edge at each place; null: the place itself
    const int64_t* other;  // row of the other end at each place
    int64_t n_others;      // below 2^31
};

// Places [begin, end) of a row.
struct Range {
    int64_t begin, end;
};

__device__ __forceinline__ Range range_of(const RowEdges& rows, int64_t row) {
    const int64_t begin = rows.row_ptr[row];
    const int64_t end = rows.row_ptr[row + 1];
    return {begin < 0 || begin > rows.n_edges ? 0 : begin, end > rows.n_edges ? rows.n_edges : end};
}

// One edge of up to 32 of a row.
template <class T>
struct LaneEdge {
    int64_t id;  // row of edge_attr, distances, edge_weight; -1: the edge points outside
    int other;   // -1: likewise
    T weight;
    int first, last;  // rows of `weight` that it needs; INT_MAX and 0: none
    T offset;         // of the first from the distance, in steps
};

template <class T>
__device__ __forceinline__ LaneEdge<T> load_edge(const DeviceEdges<T>& edges, const RowEdges& rows, int64_t place,
                                                 bool exists) {
    LaneEdge<T> out = {-1, -1, T(1), INT_MAX, 0, T(0)};
    if (!exists) return out;
    const int64_t id = edges.id(rows.edge == nullptr ? place : rows.edge[place]);
    const int64_t other = rows.other[place];
    if (id < 0 || id >= edges.n_edges || other < 0 || other >= rows.n_others) return out;
    out.id = id;
    out.other = static_cast<int>(other);
    if (edges.edge_weight != nullptr) out.weight = edges.edge_weight[id];
    if (edges.distances != nullptr) {
        const Window<T> window =
            window_of<T>(edges.basis.start, edges.steps_per_angstrom, edges.reach, edges.n_basis, edges.distances[id]);
        if (window.count > 0) {
            out.first = static_cast<int>(window.first);
            out.last = static_cast<int>(window.first + window.count);
            out.offset = window.offset;
        }
    } else if (edges.edge_attr != nullptr && edges.n_basis > 0) {
        out.first = 0;
        out.last = static_cast<int>(edges.n_basis);
    }
    return out;
}

template <class T>
__device__ __forceinline__ LaneEdge<T> edge_of(const LaneEdge<T>& edge, int lane) {
    return {shuffle(edge.id, lane),    shuffle(edge.other, lane), shuffle(edge.weight, lane),
            shuffle(edge.first, lane), shuffle(edge.last, lane),  shuffle(edge.offset, lane)};
}

// The first `n` lanes' edges by the first row of `weight` that they need. Neighbours by distance are so already.
template <class T>
__device__ __forceinline__ void sort_by_window(LaneEdge<T>& edge, int n, int64_t n_basis) {
    const int lane = lane_index();
    const int rank = edge.first < n_basis ? edge.first : static_cast<int>(n_basis);
    int key = lane < n ? rank * warp_size + lane : INT_MAX - warp_size + lane;
    const int next = shuffle(key, lane + 1);
    if (!any(lane + 1 < warp_size && key > next)) return;
    CGFAST_CUDA_UNROLL
    for (int size = 2; size <= warp_size; size *= 2) {
        CGFAST_CUDA_UNROLL
        for (int d = size / 2; d > 0; d /= 2) {
            const int other = shuffle_xor(key, d);
            const bool low_first = (lane & size) == 0;
            const bool is_low = (lane & d) == 0;
            key = (key < other) == (low_first == is_low) ? key : other;
        }
    }
    edge = edge_of(edge, key % warp_size);
}

// The up to 32 edges of a row that begin at `begin`, a lane's own; `n`: how many there are.
template <class T>
__device__ __forceinline__ LaneEdge<T> load_edges(const DeviceEdges<T>& edges, const RowEdges& rows, int64_t begin,
                                                  int n) {
    const int lane = lane_index();
    LaneEdge<T> edge = load_edge(edges, rows, begin + lane, lane < n);
    if (edges.distances != nullptr) sort_by_window(edge, n, edges.n_basis);
    return edge;
}

// Where the lane's features of a tile are in a row of (2F) channels, and whether they exist.
template <class T>
struct LaneFeatures {
    int64_t first;       // of the lane
    int64_t n_features;  // F

    __device__ __forceinline__ LaneFeatures(int64_t n, int64_t tile)
        : first(tile * tile_features<T> + lane_index()), n_features(n) {}
    __device__ __forceinline__ int64_t feature(int v) const { return first + v * warp_size; }
    __device__ __forceinline__ bool exists(int v) const { return feature(v) < n_features; }

    // Of a row of 2F channels; zeros for features that do not exist.
    __device__ __forceinline__ void load(const T* row, T* channels) const {
        CGFAST_CUDA_UNROLL
        for (int v = 0; v < features_per_lane<T>; ++v) {
            channels[v] = exists(v) ? row[feature(v)] : T(0);
            channels[features_per_lane<T> + v] = exists(v) ? row[n_features + feature(v)] : T(0);
        }
    }
    __device__ __forceinline__ void store(T* row, const T* channels) const {
        CGFAST_CUDA_UNROLL
        for (int v = 0; v < features_per_lane<T>; ++v) {
            if (!exists(v)) continue;
            row[feature(v)] = channels[v];
            row[n_features + feature(v)] = channels[features_per_lane<T> + v];
        }
    }
    // Of a row of F features.
    __device__ __forceinline__ void load_half(const T* row, T* values) const {
        CGFAST_CUDA_UNROLL
        for (int v = 0; v < features_per_lane<T>; ++v) values[v] = exists(v) ? row[feature(v)] : T(0);
    }
    __device__ __forceinline__ void store_half(T* row, const T* values) const {
        CGFAST_CUDA_UNROLL
        for (int v = 0; v < features_per_lane<T>; ++v) {
            if (exists(v)) row[feature(v)] = values[v];
        }
    }
};

// Weights of one tile, by warps [0, n_warps) of whom this is `warp`. Reads what is consecutive in memory together.
template <class T>
__device__ __forceinline__ void pack_weights(const DeviceEdges<T>& edges, int64_t tile, Channels<T>* to, int64_t warp,
                                             int64_t n_warps) {
    constexpr int n_channels = channels_per_lane<T>;
    constexpr int n_v = features_per_lane<T>;
    const auto element = [&](int64_t k, int lane, int c) {
        const int64_t feature = tile * tile_features<T> + (c % n_v) * warp_size + lane;
        if (feature >= edges.n_features) return T(0);
        const int64_t channel = (c / n_v) * edges.n_features + feature;
        return *edges.weight_layout.at(edges.weight, k, channel, edges.n_features);
    };
    if (edges.weight_layout.column == 1) {
        for (int64_t k = warp; k < edges.n_basis; k += n_warps) {
            Channels<T> row;
            CGFAST_CUDA_UNROLL
            for (int c = 0; c < n_channels; ++c) row.at[c] = element(k, lane_index(), c);
            to[k * warp_size + lane_index()] = row;
        }
        return;
    }
    constexpr int rows_per_step = warp_size / n_channels;
    const int c = lane_index() % n_channels;
    const int64_t n_steps = (edges.n_basis + rows_per_step - 1) / rows_per_step * warp_size;
    for (int64_t i = warp; i < n_steps; i += n_warps) {
        const int lane = static_cast<int>(i % warp_size);
        const int64_t k = i / warp_size * rows_per_step + lane_index() / n_channels;
        if (k < edges.n_basis) to[k * warp_size + lane].at[c] = element(k, lane, c);
    }
}

// The group of edges at slots [slot, slot + n) of the 32, n <= group_size; a group that is not full repeats its last
// edge.
template <class T>
struct Group {
    int slot, n;
    int first, last;   // rows of `weight` that any of them needs
    LaneEdge<T> mine;  // the edge for which this lane computes coefficients: that of slot + lane % group_size

    __device__ __forceinline__ Group(const LaneEdge<T>& edge, int slot, int n_edges)
        : slot(slot), n(n_edges - slot < group_size ? n_edges - slot : group_size) {
        mine = edge_of(edge, lane_of(lane_index() % group_size));
        first = mine.first;
        last = mine.last;
        CGFAST_CUDA_UNROLL
        for (int d = 1; d < group_size; d *= 2) {
            const int other_first = shuffle_xor(first, d);
            const int other_last = shuffle_xor(last, d);
            first = other_first < first ? other_first : first;
            last = other_last > last ? other_last : last;
        }
    }
    __device__ __forceinline__ int lane_of(int g) const { return slot + (g < n ? g : n - 1); }
};

// Coefficients (and their slopes by the distance, or null) of the rows [k, k + n) of `weight`, n <= basis_chunk, for the
// edges of a group. To be followed by sync_warp().
template <class T>
__device__ __forceinline__ void fill_coefficients(const DeviceEdges<T>& edges, const Group<T>& group, int k, int n,
                                                  GroupValues<T>* coefficients, GroupValues<T>* slopes) {
    const int g = lane_index() % group_size;
    const T scale = static_cast<T>(edges.basis.step / edges.basis.width);
    const T slope = static_cast<T>(2.0 / edges.basis.width);
    CGFAST_CUDA_NO_UNROLL
    for (int i = lane_index() / group_size; i < n; i += warp_size / group_size) {
        T value = T(0);
        if (edges.distances != nullptr) {
            const T u = (static_cast<T>(k + i - group.mine.first) + group.mine.offset) * scale;
            value = gaussian(u);
            if (group.mine.last == 0 || value < T(1e-30)) value = T(0);
            if (slopes != nullptr) slopes[i].at[g] = slope * u * value;
        } else if (group.mine.id >= 0) {
            value = edges.edge_attr[group.mine.id * edges.n_basis + k + i];
        }
        coefficients[i].at[g] = value;
    }
}

// y[g] = own + row of the other end of edge g.
template <class T>
__device__ __forceinline__ void gather(const LaneEdge<T>& edge, const Group<T>& group, const T* own, const T* others,
                                       int64_t stride, const LaneFeatures<T>& features, T (*y)[channels_per_lane<T>]) {
    CGFAST_CUDA_UNROLL
    for (int g = 0; g < group_size; ++g) {
        const int other = shuffle(edge.other, group.lane_of(g));
        if (other < 0) {
            CGFAST_CUDA_UNROLL
            for (int c = 0; c < channels_per_lane<T>; ++c) y[g][c] = static_cast<T>(NAN);
        } else {
            features.load(others + static_cast<int64_t>(other) * stride, y[g]);
            CGFAST_CUDA_UNROLL
            for (int c = 0; c < channels_per_lane<T>; ++c) y[g][c] += own[c];
        }
    }
}

// y[g] += coefficients of edge g @ weights, and with `with_slopes` moves[g] += slopes of edge g @ weights.
template <class T, bool with_slopes>
__device__ __forceinline__ void add_term(const DeviceEdges<T>& edges, const Group<T>& group, const Channels<T>* weights,
                                         GroupValues<T>* coefficients, GroupValues<T>* slopes,
                                         T (*y)[channels_per_lane<T>], T (*moves)[channels_per_lane<T>]) {
    const int lane = lane_index();
    for (int k = group.first; k < group.last; k += basis_chunk) {
        const int n = group.last - k < basis_chunk ? group.last - k : basis_chunk;
        sync_warp();  // all have read what was there
        fill_coefficients<T>(edges, group, k, n, coefficients, with_slopes ? slopes : nullptr);
        sync_warp();
        const Channels<T>* row = weights + static_cast<int64_t>(k) * warp_size + lane;
        CGFAST_CUDA_NO_UNROLL
        for (int i = 0; i < n; ++i, row += warp_size) {
            const Channels<T> w = *row;
            const GroupValues<T> values = coefficients[i];
            CGFAST_CUDA_UNROLL
            for (int g = 0; g < group_size; ++g) {
                CGFAST_CUDA_UNROLL
                for (int c = 0; c < channels_per_lane<T>; ++c) y[g][c] += values.at[g] * w.at[c];
            }
            if (!with_slopes) continue;
            const GroupValues<T> by_distance = slopes[i];
            CGFAST_CUDA_UNROLL
            for (int g = 0; g < group_size; ++g) {
                CGFAST_CUDA_UNROLL
                for (int c = 0; c < channels_per_lane<T>; ++c) moves[g][c] += by_distance.at[g] * w.at[c];
            }
        }
    }
}

}  // namespace cuda
}  // namespace cgfast
