#include "tiles.hpp"

#include <algorithm>
#include <cmath>

namespace cgfast {
namespace {

constexpr int64_t basis_round = 16;  // the widest vector

int64_t round_up(int64_t n, int64_t unit) { return (n + unit - 1) / unit * unit; }

template <class T>
bool all_finite(const std::vector<T>& values) {
    return std::all_of(values.begin(), values.end(), [](T value) { return std::isfinite(value); });
}

}  // namespace

template <class T>
Tiling<T>::Tiling(const MessageEdges<T>& given, int64_t tile, bool transposed)
    : tile_(tile), n_given_(given.n_features), edges_{given, 0.0, false, nullptr, 0} {
    edges_.n_features = round_up(n_given_, tile);
    edges_.basis_stride = round_up(given.n_basis, basis_round);
    edges_.p = pad(given.p, given.n_rows, given.p_stride, 2);
    edges_.q = pad(given.q, given.n_sources, given.q_stride, 2);
    if (edges_.n_features != n_given_) edges_.p_stride = edges_.q_stride = channels();
    if (given.distances != nullptr) edges_.reach = reach_of<T>(given.basis);
    if (given.weight == nullptr) return;
    pack(given.weight);
    edges_.skip_zeros = given.edge_attr != nullptr && all_finite(packed_);
    if (transposed) transpose(given.weight);
}

template <class T>
const T* Tiling<T>::pad(const T* matrix, int64_t n, int64_t stride, int64_t parts) {
    const int64_t n_features = edges_.n_features;
    if (matrix == nullptr || n_features == n_given_) return matrix;
    padded_.emplace_back(n * parts * n_features, T(0));
    T* to = padded_.back().data();
    for (int64_t i = 0; i < n; ++i) {
        for (int64_t part = 0; part < parts; ++part, to += n_features) {
            std::copy_n(matrix + i * stride + part * n_given_, n_given_, to);
        }
    }
    return padded_.back().data();
}

template <class T>
void Tiling<T>::pack(const T* weight) {
    const WeightLayout<const T>& layout = edges_.weight_layout;
    packed_.assign(edges_.n_basis * channels(), T(0));
    T* to = packed_.data();
    for (int64_t f = 0; f < n_given_; f += tile_) {
        const int64_t n = std::min(tile_, n_given_ - f);
        for (int64_t k = 0; k < edges_.n_basis; ++k, to += 2 * tile_) {
            for (int64_t c = 0; c < n; ++c) {
                to[c] = *layout.at(weight, k, f + c, n_given_);
                to[tile_ + c] = *layout.at(weight, k, n_given_ + f + c, n_given_);
            }
        }
    }
    edges_.weight = packed_.data();
}

template <class T>
void Tiling<T>::transpose(const T* weight) {
    transposed_.assign(channels() * edges_.basis_stride, T(0));
    T* to = transposed_.data();
    for (int64_t f = 0; f < n_given_; f += tile_) {
        for (int64_t part = 0; part < 2; ++part) {
            for (int64_t c = 0; c < tile_; ++c, to += edges_.basis_stride) {
                if (f + c >= n_given_) continue;
                for (int64_t k = 0; k < edges_.n_basis; ++k) {
                    to[k] = *edges_.weight_layout.at(weight, k, part * n_given_ + f + c, n_given_);
                }
            }
        }
    }
    edges_.weight_t = transposed_.data();
}

template <class T>
void Tiling<T>::unpack(const T* tiles, const WeightLayout<T>& layout, T* matrix) const {
    for (int64_t f = 0; f < n_given_; f += tile_) {
        const int64_t n = std::min(tile_, n_given_ - f);
        for (int64_t k = 0; k < edges_.n_basis; ++k, tiles += 2 * tile_) {
            for (int64_t c = 0; c < n; ++c) {
                *layout.at(matrix, k, f + c, n_given_) = tiles[c];
                *layout.at(matrix, k, n_given_ + f + c, n_given_) = tiles[tile_ + c];
            }
        }
    }
}

template <class T>
PaddedOutput<T>::PaddedOutput(T* matrix, int64_t n, int64_t n_given, int64_t n_features, int64_t parts)
    : matrix_(matrix), n_(n), n_given_(n_given), n_features_(n_features), parts_(parts) {
    if (n_features != n_given) padded_.assign(n * parts * n_features, T(0));
}

template <class T>
void PaddedOutput<T>::finish() const {
    if (n_features_ == n_given_) return;
    for (int64_t row = 0; row < n_ * parts_; ++row) {
        std::copy_n(padded_.data() + row * n_features_, n_given_, matrix_ + row * n_given_);
    }
}

template class Tiling<float>;
template class Tiling<double>;
template class PaddedOutput<float>;
template class PaddedOutput<double>;

}  // namespace cgfast
