// What the message ops should give, from the formulas in long double, each value with the size of its rounding errors.
#pragma once

#include <cmath>
#include <string>

#include "message_problem.hpp"

namespace message_tests {

// A value, and by how many epsilons of the compute dtype rounding may move it (to first order).
struct Estimate {
    long double value = 0;
    long double size = 0;
};

constexpr long double smallest = 1e-30L;  // times an epsilon: above what underflow loses

inline Estimate operator*(const Estimate& a, const Estimate& b) {
    const long double value = a.value * b.value;
    return {value, std::fabs(a.value) * b.size + std::fabs(b.value) * a.size + std::fabs(value)};
}

// Every term counts in full, so that no order of summation matters.
inline Estimate& operator+=(Estimate& sum, const Estimate& term) {
    sum.value += term.value;
    sum.size += term.size + std::fabs(term.value);
    return sum;
}

inline Estimate sigmoid(const Estimate& x) {
    const long double value = 1 / (1 + std::exp(-x.value));
    const long double slope = value / (1 + std::exp(x.value));
    return {value, slope * x.size + 4 * value + smallest};
}

inline Estimate softplus(const Estimate& x) {
    const long double value = std::fmax(x.value, 0.0L) + std::log1p(std::exp(-std::fabs(x.value)));
    return {value, sigmoid(x).value * x.size + 4 * value + smallest};
}

using Estimates = std::vector<Estimate>;

struct Moments {
    Estimates mean, variance;
};

struct Gradients {
    Estimates p, q, weight, edge_attr, distances, edge_weight, scale, shift;
};

template <class T>
class Oracle {
public:
    explicit Oracle(const Problem<T>& problem) : problem_(problem), n_channels_(2 * problem.shape.n_features) {
        for (int64_t i = 0; i < problem.shape.n_rows; ++i) target_.resize(problem.row_ptr[i + 1], i);
        find_coefficients();
        y_.resize(problem.n_edges * n_channels_);
        for (int64_t e = 0; e < problem.n_edges; ++e) {
            for (int64_t c = 0; c < n_channels_; ++c) y_[e * n_channels_ + c] = preactivation(e, c);
        }
    }

    // y, less its center if the problem has an affine change.
    const Estimate& y(int64_t e, int64_t c) const { return y_[e * n_channels_ + c]; }
    Estimate edge_weight(int64_t e) const {
        return {problem_.shape.weighted ? static_cast<long double>(problem_.edge_weight[problem_.id(e)]) : 1.0L, 0};
    }

    Estimates messages() const {
        const int64_t n_features = problem_.shape.n_features;
        Estimates out(problem_.shape.n_rows * n_features);
        for (int64_t i = 0; i < problem_.start.size(); ++i) out[i] += {problem_.start[i], 0};
        for (int64_t e = 0; e < problem_.n_edges; ++e) {
            for (int64_t f = 0; f < n_features; ++f) {
                const Estimate message = sigmoid(z(e, f)) * softplus(z(e, n_features + f));
                out[target_[e] * n_features + f] += edge_weight(e) * message;
            }
        }
        return out;
    }

    Gradients message_gradients() const {
        const int64_t n_features = problem_.shape.n_features;
        Gradients found = no_gradients();
        Estimates dz(y_.size());
        for (int64_t e = 0; e < problem_.n_edges; ++e) {
            for (int64_t f = 0; f < n_features; ++f) {
                const Estimate gate = z(e, f);
                const Estimate core = z(e, n_features + f);
                const Estimate grad = {problem_.grad[target_[e] * n_features + f], 0};
                const Estimate open = sigmoid(gate);
                const Estimate strength = softplus(core);
                const Estimate weighted = edge_weight(e) * grad;
                found.edge_weight[problem_.id(e)] += grad * (open * strength);
                dz[e * n_channels_ + f] = weighted * (strength * (open * sigmoid({-gate.value, gate.size})));
                dz[e * n_channels_ + n_features + f] = weighted * (open * sigmoid(core));
            }
        }
        if (problem_.shape.affine) undo_affine(dz, found);
        spread(dz, found);
        return found;
    }

    // Of y over the edges, which count by their weights. The kernels sum differences from the y of some edge.
    Moments moments() const {
        const long double total = total_weight().value;
        const long double eps = std::numeric_limits<T>::epsilon();
        const long double long_sums =
            1 + float64_bits * std::sqrt(problem_.n_edges / 16.0L);  // one term for each 16 edges
        Moments found = {Estimates(n_channels_), Estimates(n_channels_)};
        for (int64_t c = 0; c < n_channels_; ++c) {
            Estimate& mean = found.mean[c];
            Estimate& variance = found.variance[c];
            long double largest = 0;
            for (int64_t e = 0; e < problem_.n_edges; ++e) {
                mean += edge_weight(e) * y(e, c);
                largest = std::fmax(largest, std::fabs(y(e, c).value));
            }
            mean = {mean.value / total, mean.size / total + long_sums * largest};
            long double furthest = 0;
            for (int64_t e = 0; e < problem_.n_edges; ++e) {
                const long double deviation = std::fabs(y(e, c).value - mean.value);
                const long double share = edge_weight(e).value / total;
                const long double size = y(e, c).size + largest;
                variance.value += share * deviation * deviation;
                variance.size += share * (2 * deviation + eps * size) * size;
                furthest = std::fmax(furthest, deviation);
            }
            variance.size += 2 * long_sums * furthest * furthest;
        }
        return found;
    }

    // `mean` and `variance` are those that a forward pass gave.
    Gradients moments_gradients(const Array<T>& mean, const Array<T>& variance) const {
        Gradients found = no_gradients();
        Estimates dy(y_.size());
        const Estimate total = total_weight();
        const Estimate share = {1 / total.value, total.size / total.value / total.value};
        for (int64_t e = 0; e < problem_.n_edges; ++e) {
            for (int64_t c = 0; c < n_channels_; ++c) {
                Estimate deviation = y(e, c);
                deviation += {-mean[c], 0};
                Estimate square = deviation * deviation;
                square += {-variance[c], 0};
                const Estimate constant = share * Estimate{problem_.mean_grad[c], 0};
                const Estimate slope = share * Estimate{problem_.variance_grad[c], 0};
                Estimate change = constant;
                change += Estimate{2, 0} * (slope * deviation);
                dy[e * n_channels_ + c] = edge_weight(e) * change;
                found.edge_weight[problem_.id(e)] += constant * deviation;
                found.edge_weight[problem_.id(e)] += slope * square;
            }
        }
        spread(dy, found);
        return found;
    }

    // From the gradient of y, (E, 2F), to those of all that y is made of.
    void spread(const Estimates& dy, Gradients& found) const {
        const int64_t n_basis = problem_.n_basis();
        for (int64_t e = 0; e < problem_.n_edges; ++e) {
            for (int64_t c = 0; c < n_channels_; ++c) {
                const Estimate& d = dy[e * n_channels_ + c];
                found.p[target_[e] * n_channels_ + c] += d;
                found.q[problem_.source[e] * n_channels_ + c] += d;
            }
            const int64_t id = problem_.id(e);
            for (int64_t k = 0; k < n_basis; ++k) {
                const Estimate& coefficient = coefficients_[e * n_basis + k];
                if (problem_.shape.term == EdgeTerm::gaussian && coefficient.size == 0) continue;  // too far to matter
                Estimate by_coefficient;
                for (int64_t c = 0; c < n_channels_; ++c) {
                    const Estimate& d = dy[e * n_channels_ + c];
                    found.weight[k * n_channels_ + c] += coefficient * d;
                    by_coefficient += weight(k, c) * d;
                }
                if (problem_.shape.term == EdgeTerm::dense)
                    found.edge_attr[id * n_basis + k] += by_coefficient;
                else
                    found.distances[id] += slopes_[e * n_basis + k] * by_coefficient;
            }
        }
    }

    Gradients no_gradients() const {
        Gradients none;
        none.p.resize(problem_.shape.n_rows * n_channels_);
        none.q.resize(problem_.shape.n_sources * n_channels_);
        none.weight.resize(problem_.n_basis() * n_channels_);
        none.edge_attr.resize(problem_.edge_attr.size());
        none.distances.resize(problem_.distances.size());
        none.edge_weight.resize(problem_.n_edges);
        none.scale.resize(n_channels_);
        none.shift.resize(n_channels_);
        return none;
    }

private:
    // An epsilon of float64 in those of T.
    static constexpr long double float64_bits =
        static_cast<long double>(std::numeric_limits<double>::epsilon()) / std::numeric_limits<T>::epsilon();

    // Summed in float64, one by one.
    Estimate total_weight() const {
        long double sum = 0;
        for (int64_t e = 0; e < problem_.n_edges; ++e) sum += edge_weight(e).value;
        return {sum, sum * (1 + float64_bits * std::sqrt(static_cast<long double>(problem_.n_edges)))};
    }

    Estimate weight(int64_t k, int64_t c) const { return {problem_.weight_at(k, c), 0}; }

    Estimate z(int64_t e, int64_t c) const {
        if (!problem_.shape.affine) return y(e, c);
        Estimate z = y(e, c) * Estimate{problem_.scale[c], 0};
        return z += {problem_.shift[c], 0};
    }

    void undo_affine(Estimates& dz, Gradients& found) const {
        for (int64_t e = 0; e < problem_.n_edges; ++e) {
            for (int64_t c = 0; c < n_channels_; ++c) {
                Estimate& d = dz[e * n_channels_ + c];
                found.scale[c] += d * y(e, c);
                found.shift[c] += d;
                d = d * Estimate{problem_.scale[c], 0};
            }
        }
    }

    // An error of a distance counts by what it does to the Gaussian; distances are float64 whatever the compute dtype.
    // The kernels count from the nearest centres on, whose places they round to the compute dtype: 5 epsilons of a width.
    void find_gaussian(double d, int64_t k, Estimate& coefficient, Estimate& slope) const {
        const GaussianBasis& basis = problem_.shape.basis;
        const long double center = basis.start + static_cast<long double>(k) * basis.step;
        const long double u = (d - center) / basis.width;
        const long double value = std::exp(-u * u);
        if (value < 1e-40L) return;
        const long double size = std::fabs(d) + std::fabs(center) + std::fabs(basis.start);
        const long double of_u = 5 + size / basis.width * float64_bits;
        const long double beyond = 0.0625L;  // Gaussians below an eighth of an epsilon may be left out
        coefficient = {value, 2 * std::fabs(u) * value * of_u + value + beyond};
        slope = {-2 * u * value / basis.width,
                 2 / basis.width * (std::fabs(1 - 2 * u * u) * value * of_u + std::fabs(u) * value + 7 * beyond)};
    }

    void find_coefficients() {
        const int64_t n_basis = problem_.n_basis();
        coefficients_.resize(problem_.n_edges * n_basis);
        slopes_.resize(coefficients_.size());
        for (int64_t e = 0; e < problem_.n_edges; ++e) {
            for (int64_t k = 0; k < n_basis; ++k) {
                Estimate& coefficient = coefficients_[e * n_basis + k];
                const int64_t id = problem_.id(e);
                if (problem_.shape.term == EdgeTerm::dense)
                    coefficient.value = problem_.edge_attr[id * n_basis + k];
                else
                    find_gaussian(problem_.distances[id], k, coefficient, slopes_[e * n_basis + k]);
            }
        }
    }

    Estimate preactivation(int64_t e, int64_t c) const {
        Estimate sum;
        sum += {problem_.p[target_[e] * problem_.p_stride + c], 0};
        sum += {problem_.q[problem_.source[e] * problem_.q_stride + c], 0};
        if (problem_.shape.affine) sum += {-problem_.center[c], 0};
        for (int64_t k = 0; k < problem_.n_basis(); ++k) {
            sum += coefficients_[e * problem_.n_basis() + k] * weight(k, c);
        }
        return sum;
    }

    const Problem<T>& problem_;
    int64_t n_channels_;
    std::vector<int64_t> target_;
    Estimates coefficients_, slopes_, y_;
};

// `got` was computed in T, whatever it is stored in.
template <class T, class Stored>
void check_close(const std::string& name, const Array<Stored>& got, const Estimates& wanted) {
    // Random terms come to a half; the sum of many equal ones rounds to the same side again and again.
    constexpr long double factor = 4.0L;
    const long double eps = std::numeric_limits<T>::epsilon();
    CHECK(got.front_is_intact(), name << ": written in front of the array");
    CHECK(got.size() == static_cast<int64_t>(wanted.size()),
          name << ": " << got.size() << " values, not " << wanted.size());
    for (int64_t i = 0; i < got.size(); ++i) {
        const long double error = std::fabs(got[i] - wanted[i].value);
        CHECK(error <= factor * eps * wanted[i].size, name << "[" << i << "] of " << got.size() << " in " << sizeof(T) * 8
                                                           << " bits: " << got[i] << ", wanted " << wanted[i].value
                                                           << " within " << factor * eps * wanted[i].size);
    }
}

}  // namespace message_tests
