#include "edge_moments.hpp"

#include "chunks.hpp"
#include "device_edges.hpp"
#include "edge_gradients.hpp"

namespace cgfast {
namespace cuda {
namespace {

constexpr int warps = 4;
constexpr int64_t staged_at_most = 48 << 10;  // of weights

// What every chunk leaves behind: mean and sum of squared deviations of each channel, and the weight of its edges.
struct MomentPartials {
    double* channels;  // (n_chunks, n_tiles, 2, channels, 32)
    double* weight;    // (n_chunks,)
};

// y of the nearest edge of the first row that has any: a value near the data, which keeps the sums of squares small.
template <class T>
__device__ __forceinline__ void find_center(const DeviceEdges<T>& edges, const RowEdges& rows, int64_t first,
                                            int64_t last, const LaneFeatures<T>& features, const Channels<T>* weights,
                                            GroupValues<T>* coefficients, T* center) {
    for (int64_t row = first; row < last; ++row) {
        const Range range = range_of(rows, row);
        if (range.begin >= range.end) continue;
        T own[channels_per_lane<T>];
        T y[group_size][channels_per_lane<T>];
        features.load(edges.p + row * edges.p_stride, own);
        const LaneEdge<T> edge = load_edges(edges, rows, range.begin, 1);
        const Group<T> group(edge, 0, 1);
        gather(edge, group, own, edges.q, edges.q_stride, features, y);
        add_term<T, false>(edges, group, weights, coefficients, nullptr, y, nullptr);
        CGFAST_CUDA_UNROLL
        for (int c = 0; c < channels_per_lane<T>; ++c) center[c] = y[0][c];
        return;
    }
}

// blockIdx.y: the tile. A warp takes a chunk of rows.
template <class T, bool shared_weights>
__global__ void __launch_bounds__(warps* warp_size, 4)
    chunk_moments(DeviceEdges<T> edges, RowEdges rows, MomentPartials partials, int64_t n_chunks) {
    constexpr int n_channels = channels_per_lane<T>;
    const int64_t tile = blockIdx.y;
    GroupValues<T>* coefficients = reinterpret_cast<GroupValues<T>*>(shared_memory());
    Channels<T>* staged = reinterpret_cast<Channels<T>*>(coefficients + basis_chunk * warps);
    coefficients += basis_chunk * warp_index();
    const Channels<T>* weights = shared_weights ? staged : edges.packed + tile * edges.n_basis * warp_size;
    if (shared_weights) {
        pack_weights(edges, tile, staged, warp_index(), warps);
        sync_block();
    }
    const int64_t chunk = static_cast<int64_t>(blockIdx.x) * warps + warp_index();
    if (chunk >= n_chunks) return;
    const int64_t first = chunk_begin(rows.row_ptr, rows.n_rows, rows.n_edges, chunk, n_chunks);
    const int64_t last = chunk_begin(rows.row_ptr, rows.n_rows, rows.n_edges, chunk + 1, n_chunks);
    const LaneFeatures<T> features(edges.n_features, tile);
    T center[n_channels] = {};
    find_center(edges, rows, first, last, features, weights, coefficients, center);
    double weight_sum = 0;
    double sums[n_channels] = {};
    double squares[n_channels] = {};
    for (int64_t row = first; row < last; ++row) {
        T own[n_channels];
        features.load(edges.p + row * edges.p_stride, own);
        CGFAST_CUDA_UNROLL
        for (int c = 0; c < n_channels; ++c) own[c] -= center[c];
        const Range range = range_of(rows, row);
        for (int64_t begin = range.begin; begin < range.end; begin += warp_size) {
            const int n = range.end - begin < warp_size ? static_cast<int>(range.end - begin) : warp_size;
            LaneEdge<T> edge = load_edges(edges, rows, begin, n);
            if (edge.weight < T(0)) edge.weight = static_cast<T>(NAN);
            weight_sum += warp_sum(lane_index() < n ? static_cast<double>(edge.weight) : 0.0);
            T short_sums[n_channels] = {};
            T short_squares[n_channels] = {};
            for (int slot = 0; slot < n; slot += group_size) {
                const Group<T> group(edge, slot, n);
                T y[group_size][n_channels];
                gather(edge, group, own, edges.q, edges.q_stride, features, y);
                add_term<T, false>(edges, group, weights, coefficients, nullptr, y, nullptr);
                CGFAST_CUDA_UNROLL
                for (int g = 0; g < group_size; ++g) {
                    const T weight = shuffle(edge.weight, group.lane_of(g));
                    if (g >= group.n) continue;
                    CGFAST_CUDA_UNROLL
                    for (int c = 0; c < n_channels; ++c) {
                        const T weighted = weight * y[g][c];
                        short_sums[c] += weighted;
                        short_squares[c] += weighted * y[g][c];
                    }
                }
            }
            CGFAST_CUDA_UNROLL
            for (int c = 0; c < n_channels; ++c) {
                sums[c] += static_cast<double>(short_sums[c]);
                squares[c] += static_cast<double>(short_squares[c]);
            }
        }
    }
    const int64_t n_tiles = gridDim.y;
    double* to = partials.channels + (chunk * n_tiles + tile) * 2 * n_channels * warp_size + lane_index();
    CGFAST_CUDA_UNROLL
    for (int c = 0; c < n_channels; ++c) {
        const double mean = weight_sum == 0 ? 0 : sums[c] / weight_sum;
        const double rest = squares[c] - sums[c] * mean;
        to[c * warp_size] = static_cast<double>(center[c]) + mean;
        to[(n_channels + c) * warp_size] = rest < 0 ? 0 : rest;
    }
    if (tile == 0 && lane_index() == 0) partials.weight[chunk] = weight_sum;
}

struct Moments {
    double weight, mean, squares;
};

// Chan, Golub & LeVeque, Am. Stat. 37, 242 (1983): the moments of two sets together.
__device__ __forceinline__ Moments together(const Moments& a, const Moments& b) {
    if (b.weight == 0) return a;
    if (a.weight == 0) return b;
    const double weight = a.weight + b.weight;
    const double difference = b.mean - a.mean;
    return {weight, a.mean + difference * (b.weight / weight),
            a.squares + b.squares + difference * difference * (a.weight * b.weight / weight)};
}

// A warp takes one channel.
template <class T>
__global__ void __launch_bounds__(warps* warp_size)
    combine_moments(MomentPartials partials, int64_t n_chunks, int64_t n_features, T* mean, T* variance) {
    constexpr int n_channels = channels_per_lane<T>;
    constexpr int n_v = features_per_lane<T>;
    const int64_t channel = static_cast<int64_t>(blockIdx.x) * warps + warp_index();
    if (channel >= 2 * n_features) return;
    const int64_t feature = channel % n_features;
    const int64_t tile = feature / tile_features<T>;
    const int c = static_cast<int>(channel / n_features * n_v + feature % tile_features<T> / warp_size);
    const int64_t n_tiles = (n_features + tile_features<T> - 1) / tile_features<T>;
    Moments total = {0, 0, 0};
    for (int64_t chunk = lane_index(); chunk < n_chunks; chunk += warp_size) {
        const double* from =
            partials.channels + (chunk * n_tiles + tile) * 2 * n_channels * warp_size + feature % warp_size;
        total = together(total, {partials.weight[chunk], from[c * warp_size], from[(n_channels + c) * warp_size]});
    }
    for (int d = 1; d < warp_size; d *= 2) {
        const Moments other = {shuffle_xor(total.weight, d), shuffle_xor(total.mean, d), shuffle_xor(total.squares, d)};
        total = (lane_index() & d) == 0 ? together(total, other) : together(other, total);
    }
    if (lane_index() != 0) return;
    const bool known = total.weight > 0;
    mean[channel] = static_cast<T>(known ? total.mean : static_cast<double>(NAN));
    variance[channel] = static_cast<T>(known ? total.squares / total.weight : static_cast<double>(NAN));
}

template <class T>
struct MomentsPlan {
    DeviceEdges<T> edges;
    BlockShape shape;
    int64_t n_chunks;
    MomentPartials partials;

    MomentsPlan(const MessageEdges<T>& given, Arena& arena) : edges(device_edges(given)) {
        const int64_t bytes = tile_bytes(edges);
        shape = {warps, bytes <= staged_at_most ? bytes : 0, basis_chunk * static_cast<int64_t>(sizeof(GroupValues<T>))};
        n_chunks = count_chunks(edges.n_rows, edges.n_edges, 0);
        pack_into(edges, arena, shape.weight_bytes == 0 && edges.n_basis > 0);
        partials.channels = arena.take<double>(n_chunks * tiles_of(edges) * 2 * channels_per_lane<T> * warp_size);
        partials.weight = arena.take<double>(n_chunks);
    }
};

}  // namespace

template <class T>
int64_t edge_moments_workspace(const MessageEdges<T>& edges) {
    Arena arena(nullptr);
    const MomentsPlan<T> plan(edges, arena);
    (void)plan;
    return arena.bytes();
}

template <class T>
void edge_moments(const MessageEdges<T>& edges, T* mean, T* variance, void* workspace, Stream stream) {
    Arena arena(workspace);
    const MomentsPlan<T> plan(edges, arena);
    launch_packing(plan.edges, stream);
    const RowEdges rows = {edges.row_ptr, edges.n_rows, edges.n_edges, nullptr, edges.source, edges.n_sources};
    const bool shared = plan.shape.weight_bytes > 0 || plan.edges.n_basis == 0;
    launch("chunk_moments", shared ? chunk_moments<T, true> : chunk_moments<T, false>,
           {(plan.n_chunks + warps - 1) / warps, tiles_of(plan.edges)}, plan.shape.threads(), plan.shape.shared_bytes(),
           stream, plan.edges, rows, plan.partials, plan.n_chunks);
    launch("combine_moments", combine_moments<T>, (2 * edges.n_features + warps - 1) / warps, warps * warp_size, 0,
           stream, plan.partials, plan.n_chunks, edges.n_features, mean, variance);
}

#define CGFAST_INSTANTIATE(T)                                                 \
    template int64_t edge_moments_workspace<T>(const MessageEdges<T>& edges); \
    template void edge_moments<T>(const MessageEdges<T>& edges, T* mean, T* variance, void* workspace, Stream stream);
CGFAST_INSTANTIATE(float)
CGFAST_INSTANTIATE(double)

}  // namespace cuda
}  // namespace cgfast
