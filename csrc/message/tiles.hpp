// Features in whole tiles, for kernels. A tile is as many features as the registers of an instruction set take; the last
// one is filled up with zeros, so that no kernel knows of partial tiles.
#pragma once

#include <cstdint>
#include <vector>

#include "kernels.hpp"

namespace cgfast {

template <class T>
class Tiling {
public:
    // `transposed`: also make weight_t.
    Tiling(const MessageEdges<T>& given, int64_t tile, bool transposed = false);

    const TiledEdges<T>& edges() const { return edges_; }
    int64_t channels() const { return 2 * edges_.n_features; }
    int64_t n_given() const { return n_given_; }  // features that exist

    // A matrix (n, parts * F) as (n, parts * F rounded up), itself if nothing is missing; null stays null.
    const T* pad(const T* matrix, int64_t n, int64_t stride, int64_t parts);

    // The (K, 2F) matrix out of tiles like those of `weight`.
    void unpack(const T* tiles, const WeightLayout<T>& layout, T* matrix) const;

private:
    void pack(const T* weight);
    void transpose(const T* weight);

    int64_t tile_;
    int64_t n_given_;  // features
    TiledEdges<T> edges_;
    std::vector<T> packed_, transposed_;
    std::vector<std::vector<T>> padded_;
};

// A matrix (n, parts * F) to be written by a kernel, which sees whole tiles.
template <class T>
class PaddedOutput {
public:
    PaddedOutput(T* matrix, int64_t n, int64_t n_given, int64_t n_features, int64_t parts);
    T* data() { return padded_.empty() ? matrix_ : padded_.data(); }
    void finish() const;  // copies what exists to the matrix

private:
    T* matrix_;
    int64_t n_, n_given_, n_features_, parts_;
    std::vector<T> padded_;
};

}  // namespace cgfast
