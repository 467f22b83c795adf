// From the gradient of y to those of all that y is made of. Two kernels: one goes through the rows of targets and gives
// the gradients of p, of single edges, and sums for those of the weights; one goes through the edges of each source and
// gives the gradient of q. Both compute every edge again. `Op` is a formula for the gradient of y
// (gated_message_backward.cu, edge_moments_backward.cu):
//
//   Op::Lane                        what a lane keeps of it for a tile; Lane(op, features)
//   Op::takes_grad, op.grad         whether it reads a row of (n_rows, F) for each target, and where
//   Op::has_sums                    whether it sums something up over all edges, 2 numbers for each channel
//   op.center                       (2F,), subtracted from y, or null
//   op.apply<summing>(lane, grad, weight, y, sums)   y of an edge becomes its gradient, `sums` grows if `summing`;
//   returns
//                                           the lane's part of the gradient of the edge's weight
#pragma once

#include "chunks.hpp"
#include "device_edges.hpp"
#include "reduce_lanes.hpp"

namespace cgfast {
namespace cuda {

constexpr int most_target_warps = 4;
constexpr int source_warps = 4;

// What the chunks leave behind, to be summed in their order; null: not wanted.
template <class T>
struct Partials {
    Channels<T>* weight;  // (n_chunks, n_tiles, K, 32)
    double* sums;         // (n_chunks, n_tiles, 2, channels, 32)
};

template <class T>
constexpr int sums_per_lane = 2 * channels_per_lane<T>;

// Gradients of single edges: the first tile writes them, the others add.
template <class U>
__device__ __forceinline__ void put_single(U* to, U value, bool first) {
    *to = first ? value : *to + value;
}

// out[k] (+)= weight row k . dy, for the edges of a group.
template <class T>
__device__ __forceinline__ void put_attr_gradients(const DeviceEdges<T>& edges, const Group<T>& group,
                                                   const Channels<T>* weights, const T (*dy)[channels_per_lane<T>],
                                                   T* out, bool first) {
    constexpr int rows = warp_size / group_size;
    const int lane = lane_index();
    for (int64_t k = 0; k < edges.n_basis; k += rows) {
        T values[rows * group_size];
        CGFAST_CUDA_UNROLL
        for (int i = 0; i < rows; ++i) {
            Channels<T> w = {};
            if (k + i < edges.n_basis) w = weights[(k + i) * warp_size + lane];
            CGFAST_CUDA_UNROLL
            for (int g = 0; g < group_size; ++g) {
                T sum = T(0);
                CGFAST_CUDA_UNROLL
                for (int c = 0; c < channels_per_lane<T>; ++c) sum += w.at[c] * dy[g][c];
                values[i * group_size + g] = sum;
            }
        }
        const T total = sum_lanes(values);
        const int64_t own = k + lane / group_size;
        if (lane % group_size < group.n && group.mine.id >= 0 && own < edges.n_basis) {
            put_single(out + group.mine.id * edges.n_basis + own, total, first);
        }
    }
}

// sums += coefficients^T dy over the edges of a group. The coefficients are there already if they are one chunk.
template <class T>
__device__ __forceinline__ void add_weight_gradients(const DeviceEdges<T>& edges, const Group<T>& group,
                                                     GroupValues<T>* coefficients, const T (*dy)[channels_per_lane<T>],
                                                     Channels<T>* sums) {
    const bool filled = group.last - group.first <= basis_chunk;
    for (int k = group.first; k < group.last; k += basis_chunk) {
        const int n = group.last - k < basis_chunk ? group.last - k : basis_chunk;
        if (!filled) {
            sync_warp();
            fill_coefficients<T>(edges, group, k, n, coefficients, nullptr);
            sync_warp();
        }
        Channels<T>* row = sums + static_cast<int64_t>(k) * warp_size + lane_index();
        CGFAST_CUDA_NO_UNROLL
        for (int i = 0; i < n; ++i, row += warp_size) {
            Channels<T> sum = *row;
            const GroupValues<T> values = coefficients[i];
            CGFAST_CUDA_UNROLL
            for (int g = 0; g < group_size; ++g) {
                CGFAST_CUDA_UNROLL
                for (int c = 0; c < channels_per_lane<T>; ++c) sum.at[c] += values.at[g] * dy[g][c];
            }
            *row = sum;
        }
    }
}

// The gradients that belong to single edges, from dy and what the op says of the weight.
template <class T>
__device__ __forceinline__ void put_singles(const Group<T>& group, const T (*dy)[channels_per_lane<T>],
                                            const T (*moves)[channels_per_lane<T>], T* of_weight,
                                            const EdgeGradients<T>& wanted, bool first) {
    const bool mine = lane_index() < group.n && group.mine.id >= 0;
    if (wanted.edge_weight != nullptr) {
        T values[group_size];
        CGFAST_CUDA_UNROLL
        for (int g = 0; g < group_size; ++g) values[g] = of_weight[g];
        const T total = sum_lanes(values);
        if (mine) put_single(wanted.edge_weight + group.mine.id, total, first);
    }
    if (wanted.distances != nullptr) {
        T values[group_size];
        CGFAST_CUDA_UNROLL
        for (int g = 0; g < group_size; ++g) {
            values[g] = T(0);
            CGFAST_CUDA_UNROLL
            for (int c = 0; c < channels_per_lane<T>; ++c) values[g] += dy[g][c] * moves[g][c];
        }
        const T total = sum_lanes(values);
        if (mine) put_single(wanted.distances + group.mine.id, static_cast<double>(total), first);
    }
}

// own - center: what a row adds to y of its edges.
template <class T>
__device__ __forceinline__ void load_own(const T* row, const T* center, const LaneFeatures<T>& features, T* own) {
    features.load(row, own);
    if (center == nullptr) return;
    T middle[channels_per_lane<T>];
    features.load(center, middle);
    CGFAST_CUDA_UNROLL
    for (int c = 0; c < channels_per_lane<T>; ++c) own[c] -= middle[c];
}

// Where a warp of target_gradients works.
template <class T>
struct TargetWarp {
    GroupValues<T>* coefficients;
    GroupValues<T>* slopes;
    Channels<T>* sums;  // (K, 32): of the weight gradient; every lane its own channels
    bool first_tile;
};

// All edges of one row: dp becomes their sum.
template <class T, class Op>
__device__ __forceinline__ void target_row(const DeviceEdges<T>& edges, const RowEdges& rows, const Op& op,
                                           const typename Op::Lane& lane, const LaneFeatures<T>& features, int64_t row,
                                           const Channels<T>* weights, const EdgeGradients<T>& wanted,
                                           const TargetWarp<T>& warp, T* dp, double* long_sums) {
    constexpr int n_channels = channels_per_lane<T>;
    T own[n_channels];
    T grad[features_per_lane<T>] = {};
    load_own(edges.p + row * edges.p_stride, op.center, features, own);
    if (Op::takes_grad) features.load_half(op.grad + row * edges.n_features, grad);
    const Range range = range_of(rows, row);
    for (int64_t begin = range.begin; begin < range.end; begin += warp_size) {
        const int n = range.end - begin < warp_size ? static_cast<int>(range.end - begin) : warp_size;
        const LaneEdge<T> edge = load_edges(edges, rows, begin, n);
        T sums[sums_per_lane<T>] = {};
        for (int slot = 0; slot < n; slot += group_size) {
            const Group<T> group(edge, slot, n);
            T y[group_size][n_channels];
            T moves[group_size][n_channels] = {};
            gather(edge, group, own, edges.q, edges.q_stride, features, y);
            if (wanted.distances != nullptr) {
                add_term<T, true>(edges, group, weights, warp.coefficients, warp.slopes, y, moves);
            } else {
                add_term<T, false>(edges, group, weights, warp.coefficients, nullptr, y, nullptr);
            }
            T of_weight[group_size];
            CGFAST_CUDA_UNROLL
            for (int g = 0; g < group_size; ++g) {
                const T weight = shuffle(edge.weight, group.lane_of(g));
                of_weight[g] = T(0);
                if (g < group.n) of_weight[g] = op.template apply<true>(lane, grad, weight, y[g], sums);
                CGFAST_CUDA_UNROLL
                for (int c = 0; c < n_channels; ++c) {
                    if (g >= group.n) y[g][c] = T(0);
                    dp[c] += y[g][c];
                }
            }
            if (warp.sums != nullptr) add_weight_gradients(edges, group, warp.coefficients, y, warp.sums);
            put_singles(group, y, moves, of_weight, wanted, warp.first_tile);
            if (wanted.edge_attr != nullptr) {
                put_attr_gradients(edges, group, weights, y, wanted.edge_attr, warp.first_tile);
            }
        }
        if (Op::has_sums) {
            CGFAST_CUDA_UNROLL
            for (int i = 0; i < sums_per_lane<T>; ++i) long_sums[i] += static_cast<double>(sums[i]);
        }
    }
}

// A warp takes a chunk of rows through all tiles.
template <class T, class Op, bool all_shared>
__global__ void __launch_bounds__(most_target_warps* warp_size, 2)
    target_gradients(DeviceEdges<T> edges, RowEdges rows, Op op, EdgeGradients<T> wanted, Partials<T> partials,
                     int64_t n_chunks) {
    constexpr int n_channels = channels_per_lane<T>;
    const int64_t tile_rows = edges.n_basis * warp_size;  // Channels<T> of a tile
    const int n_warps = warps_per_block();
    GroupValues<T>* coefficients = reinterpret_cast<GroupValues<T>*>(shared_memory());
    Channels<T>* staged = reinterpret_cast<Channels<T>*>(coefficients + 2 * basis_chunk * n_warps);
    Channels<T>* shared_sums = staged + tile_rows * (1 + warp_index());
    TargetWarp<T> warp = {coefficients + 2 * basis_chunk * warp_index(),
                          coefficients + 2 * basis_chunk * warp_index() + basis_chunk, nullptr, true};
    const int64_t chunk = static_cast<int64_t>(blockIdx.x) * n_warps + warp_index();
    const int64_t first = chunk_begin(rows.row_ptr, rows.n_rows, rows.n_edges, chunk, n_chunks);
    const int64_t last = chunk_begin(rows.row_ptr, rows.n_rows, rows.n_edges, chunk + 1, n_chunks);
    const int64_t n_tiles = (edges.n_features + tile_features<T> - 1) / tile_features<T>;
    for (int64_t tile = 0; tile < n_tiles; ++tile) {
        if (all_shared) {
            sync_block();  // all are done with the tile before
            pack_weights(edges, tile, staged, warp_index(), n_warps);
            sync_block();
        }
        if (chunk >= n_chunks) continue;
        const Channels<T>* weights = all_shared ? staged : edges.packed + tile * tile_rows;
        Channels<T>* kept = partials.weight == nullptr ? nullptr : partials.weight + (chunk * n_tiles + tile) * tile_rows;
        if (kept != nullptr) {
            warp.sums = all_shared ? shared_sums : kept;
            for (int64_t i = lane_index(); i < tile_rows; i += warp_size) warp.sums[i] = Channels<T>{};
        }
        warp.first_tile = tile == 0;
        const LaneFeatures<T> features(edges.n_features, tile);
        const typename Op::Lane lane(op, features);
        double long_sums[sums_per_lane<T>] = {};
        for (int64_t row = first; row < last; ++row) {
            T dp[n_channels] = {};
            target_row<T, Op>(edges, rows, op, lane, features, row, weights, wanted, warp, dp, long_sums);
            if (wanted.p != nullptr) features.store(wanted.p + row * 2 * edges.n_features, dp);
        }
        if (all_shared && kept != nullptr) {
            for (int64_t i = lane_index(); i < tile_rows; i += warp_size) kept[i] = warp.sums[i];
        }
        if (Op::has_sums && partials.sums != nullptr) {
            double* to = partials.sums + (chunk * n_tiles + tile) * sums_per_lane<T> * warp_size + lane_index();
            CGFAST_CUDA_UNROLL
            for (int i = 0; i < sums_per_lane<T>; ++i) to[i * warp_size] = long_sums[i];
        }
    }
}

// rows: the edges of sources. blockIdx.y: the tile. A warp takes row after row.
template <class T, class Op, bool shared_weights>
__global__ void __launch_bounds__(source_warps* warp_size, 4)
    source_gradients(DeviceEdges<T> edges, RowEdges rows, Op op, T* q_gradient) {
    constexpr int n_channels = channels_per_lane<T>;
    const int64_t tile = blockIdx.y;
    GroupValues<T>* coefficients = reinterpret_cast<GroupValues<T>*>(shared_memory());
    Channels<T>* staged = reinterpret_cast<Channels<T>*>(coefficients + basis_chunk * source_warps);
    coefficients += basis_chunk * warp_index();
    const Channels<T>* weights = shared_weights ? staged : edges.packed + tile * edges.n_basis * warp_size;
    if (shared_weights) {
        pack_weights(edges, tile, staged, warp_index(), source_warps);
        sync_block();
    }
    const LaneFeatures<T> features(edges.n_features, tile);
    const typename Op::Lane lane(op, features);
    const int64_t n_warps = static_cast<int64_t>(gridDim.x) * source_warps;
    for (int64_t row = static_cast<int64_t>(blockIdx.x) * source_warps + warp_index(); row < rows.n_rows;
         row += n_warps) {
        T own[n_channels];
        T sums[n_channels] = {};
        load_own(edges.q + row * edges.q_stride, op.center, features, own);
        const Range range = range_of(rows, row);
        for (int64_t begin = range.begin; begin < range.end; begin += warp_size) {
            const int n = range.end - begin < warp_size ? static_cast<int>(range.end - begin) : warp_size;
            const LaneEdge<T> edge = load_edges(edges, rows, begin, n);
            for (int slot = 0; slot < n; slot += group_size) {
                const Group<T> group(edge, slot, n);
                T y[group_size][n_channels];
                gather(edge, group, own, edges.p, edges.p_stride, features, y);
                add_term<T, false>(edges, group, weights, coefficients, nullptr, y, nullptr);
                CGFAST_CUDA_UNROLL
                for (int g = 0; g < group_size; ++g) {
                    const T weight = shuffle(edge.weight, group.lane_of(g));
                    const int other = shuffle(edge.other, group.lane_of(g));
                    if (g >= group.n) continue;
                    T grad[features_per_lane<T>] = {};
                    if (Op::takes_grad && other >= 0) features.load_half(op.grad + other * edges.n_features, grad);
                    op.template apply<false>(lane, grad, weight, y[g], nullptr);
                    CGFAST_CUDA_UNROLL
                    for (int c = 0; c < n_channels; ++c) sums[c] += y[g][c];
                }
            }
        }
        features.store(q_gradient + row * 2 * edges.n_features, sums);
    }
}

}  // namespace cuda
}  // namespace cgfast
