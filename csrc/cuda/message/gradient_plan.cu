#include "gradient_plan.hpp"

#include "../graph/sort_edges.hpp"

namespace cgfast {
namespace cuda {
namespace {

constexpr int threads = 256;
constexpr int64_t staged_at_most = 48 << 10;  // of weights, in the kernel by sources

// Shared memory of the kernel by targets: as many warps on a multiprocessor as go, each with a tile of sums of its own.
// In memory instead if that is fewer than three.
template <class T>
BlockShape target_shape_of(const DeviceEdges<T>& edges, bool weight_wanted) {
    const int64_t weights = tile_bytes(edges);
    const int64_t coefficients = 2 * basis_chunk * static_cast<int64_t>(sizeof(GroupValues<T>));
    const int64_t most = shared_bytes_at_most();
    BlockShape best = {most_target_warps, 0, coefficients};
    int64_t best_count = 2;
    for (int warps = 1; warps <= most_target_warps; ++warps) {
        const BlockShape shape = {warps, weights, coefficients + (weight_wanted ? weights : 0)};
        const int64_t bytes = shape.shared_bytes();
        if (bytes > most) break;
        const int64_t count = std::min<int64_t>(16, most / bytes * warps);
        if (count >= best_count + (best.weight_bytes > 0 ? 0 : 1)) {
            best = shape;
            best_count = count;
        }
    }
    if (edges.n_basis == 0) best.weight_bytes = 0;
    return best;
}

// targets[e]: of each edge, a warp taking row after row.
__global__ void __launch_bounds__(threads) expand_rows(RowEdges rows, int64_t* targets) {
    const int64_t n_warps = static_cast<int64_t>(gridDim.x) * warps_per_block();
    for (int64_t row = static_cast<int64_t>(blockIdx.x) * warps_per_block() + warp_index(); row < rows.n_rows;
         row += n_warps) {
        const Range range = range_of(rows, row);
        for (int64_t e = range.begin + lane_index(); e < range.end; e += warp_size) targets[e] = row;
    }
}

// The sum over chunks of element blockIdx.x * 32 + lane of `n`; right in the first warp of the block.
template <class U>
__device__ __forceinline__ double sum_chunks(const U* partials, int64_t n_chunks, int64_t n) {
    double* shared = reinterpret_cast<double*>(shared_memory());
    const int64_t element = static_cast<int64_t>(blockIdx.x) * warp_size + lane_index();
    double sum = 0;
    if (element < n) {
        for (int64_t chunk = warp_index(); chunk < n_chunks; chunk += threads / warp_size) {
            sum += static_cast<double>(partials[chunk * n + element]);
        }
    }
    shared[threadIdx.x] = sum;
    sync_block();
    double total = 0;
    for (int w = 0; w < threads / warp_size; ++w) total += shared[w * warp_size + lane_index()];
    return total;
}

constexpr int64_t sum_shared = threads * sizeof(double);

template <class T>
__global__ void __launch_bounds__(threads) sum_weights(const T* partials, int64_t n_chunks, int64_t n_basis,
                                                       int64_t n_features, WeightLayout<T> layout, T* weight) {
    constexpr int n_channels = channels_per_lane<T>;
    constexpr int n_v = features_per_lane<T>;
    const int64_t n_tiles = (n_features + tile_features<T> - 1) / tile_features<T>;
    const int64_t n = n_tiles * n_basis * warp_size * n_channels;
    const double sum = sum_chunks(partials, n_chunks, n);
    const int64_t element = static_cast<int64_t>(blockIdx.x) * warp_size + lane_index();
    if (warp_index() != 0 || element >= n) return;
    const int c = static_cast<int>(element % n_channels);
    const int lane = static_cast<int>(element / n_channels % warp_size);
    const int64_t row = element / n_channels / warp_size;
    const int64_t feature = row / n_basis * tile_features<T> + c % n_v * warp_size + lane;
    if (feature >= n_features) return;
    *layout.at(weight, row % n_basis, c / n_v * n_features + feature, n_features) = static_cast<T>(sum);
}

template <class T>
__global__ void __launch_bounds__(threads)
    sum_channels(const double* partials, int64_t n_chunks, int64_t n_features, T* first, T* second) {
    constexpr int n_channels = channels_per_lane<T>;
    constexpr int n_v = features_per_lane<T>;
    const int64_t n_tiles = (n_features + tile_features<T> - 1) / tile_features<T>;
    const int64_t n = n_tiles * sums_per_lane<T> * warp_size;
    const double sum = sum_chunks(partials, n_chunks, n);
    const int64_t element = static_cast<int64_t>(blockIdx.x) * warp_size + lane_index();
    if (warp_index() != 0 || element >= n) return;
    const int i = static_cast<int>(element / warp_size % sums_per_lane<T>);
    const int c = i % n_channels;
    const int64_t feature =
        element / warp_size / sums_per_lane<T> * tile_features<T> + c % n_v * warp_size + lane_index();
    if (feature >= n_features) return;
    (i < n_channels ? first : second)[c / n_v * n_features + feature] = static_cast<T>(sum);
}

template <class U>
void clear(U* values, int64_t n, Stream stream) {
    if (values == nullptr || n == 0) return;
    CGFAST_CUDA_CHECK(cudaMemsetAsync(values, 0, static_cast<size_t>(n) * sizeof(U), static_cast<cudaStream_t>(stream)));
}

}  // namespace

template <class T>
GradientPlan<T>::GradientPlan(const MessageEdges<T>& given, const EdgeGradients<T>& gradients, bool has_sums,
                              Arena& arena)
    : edges(device_edges(given)), wanted(gradients), partials{nullptr, nullptr} {
    if (edges.n_basis == 0) wanted.weight = wanted.edge_attr = nullptr;
    by_source = wanted.q != nullptr;
    by_target = has_sums || wanted.p != nullptr || wanted.weight != nullptr || wanted.edge_attr != nullptr ||
                wanted.distances != nullptr || wanted.edge_weight != nullptr;
    const int64_t n_tiles = tiles_of(edges);
    const int64_t tile_rows = n_tiles * edges.n_basis * warp_size;
    const int64_t weight_bytes = wanted.weight == nullptr ? 0 : tile_rows * static_cast<int64_t>(sizeof(Channels<T>));
    n_chunks = count_chunks(edges.n_rows, edges.n_edges, weight_bytes);
    target_shape = target_shape_of(edges, wanted.weight != nullptr);
    const int64_t staged = tile_bytes(edges) <= staged_at_most ? tile_bytes(edges) : 0;
    source_shape = {source_warps, staged, basis_chunk * static_cast<int64_t>(sizeof(GroupValues<T>))};
    const bool packed = (by_target && target_shape.weight_bytes == 0) || (by_source && staged == 0);
    pack_into(edges, arena, packed && edges.n_basis > 0);
    if (wanted.weight != nullptr) partials.weight = arena.take<Channels<T>>(n_chunks * tile_rows);
    if (has_sums) partials.sums = arena.take<double>(n_chunks * n_tiles * sums_per_lane<T> * warp_size);
    targets = source_ptr = source_edge = source_target = nullptr;
    sort_workspace = nullptr;
    if (!by_source) return;
    targets = arena.take<int64_t>(edges.n_edges);
    source_ptr = arena.take<int64_t>(edges.n_sources + 1);
    source_edge = arena.take<int64_t>(edges.n_edges);
    source_target = arena.take<int64_t>(edges.n_edges);
    sort_workspace = arena.take<unsigned char>(sort_edges_workspace(edges.n_edges, edges.n_sources));
}

template <class T>
RowEdges GradientPlan<T>::target_rows() const {
    return {edges.row_ptr, edges.n_rows, edges.n_edges, nullptr, edges.source, edges.n_sources};
}

template <class T>
RowEdges GradientPlan<T>::source_rows() const {
    return {source_ptr, edges.n_sources, edges.n_edges, source_edge, source_target, edges.n_rows};
}

template <class T>
void GradientPlan<T>::prepare(Stream stream) const {
    if (edges.n_features == 0) {  // no tile will write them
        clear(wanted.edge_attr, edges.n_edges * edges.n_basis, stream);
        clear(wanted.distances, edges.n_edges, stream);
        clear(wanted.edge_weight, edges.n_edges, stream);
    }
    launch_packing(edges, stream);
    if (!by_source) return;
    const int64_t n_blocks = std::min<int64_t>((edges.n_rows + threads / warp_size - 1) / (threads / warp_size), 65536);
    launch("expand_rows", expand_rows, n_blocks, threads, 0, stream, target_rows(), targets);
    sort_edges(targets, edges.source, edges.n_edges, edges.n_sources, {source_target, source_ptr, source_edge},
               sort_workspace, stream);
}

template <class T>
void GradientPlan<T>::finish(T* const* sums, Stream stream) const {
    const int64_t n_lanes = tiles_of(edges) * warp_size;
    if (wanted.weight != nullptr) {
        launch("sum_weights", sum_weights<T>, n_lanes / warp_size * edges.n_basis * channels_per_lane<T>, threads,
               sum_shared, stream, reinterpret_cast<const T*>(partials.weight), n_chunks, edges.n_basis, edges.n_features,
               wanted.weight_layout, wanted.weight);
    }
    if (partials.sums != nullptr || sums != nullptr) {
        launch("sum_channels", sum_channels<T>, n_lanes / warp_size * sums_per_lane<T>, threads, sum_shared, stream,
               partials.sums, n_chunks, edges.n_features, sums[0], sums[1]);
    }
}

template struct GradientPlan<float>;
template struct GradientPlan<double>;

}  // namespace cuda
}  // namespace cgfast
