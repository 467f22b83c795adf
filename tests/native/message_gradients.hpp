// Room for the gradients of a message op, all of them or some.
#pragma once

#include "message_oracle.hpp"

namespace message_tests {

enum Wanted : unsigned {
    of_p = 1,
    of_q = 2,
    of_weight = 4,
    of_edge_attr = 8,
    of_distances = 16,
    of_edge_weight = 32,
    of_everything = 63
};

template <class T>
struct GradientArrays {
    Array<T> p, q, weight, core_weight, edge_attr, edge_weight, scale, shift;
    Array<double> distances;

    explicit GradientArrays(const Problem<T>& problem, unsigned wanted = of_everything) : problem_(&problem) {
        const int64_t n_channels = 2 * problem.shape.n_features;
        const auto size = [wanted](Wanted gradient, int64_t n) { return (wanted & gradient) != 0 ? n : 0; };
        p = Array<T>(size(of_p, problem.shape.n_rows * n_channels));
        q = Array<T>(size(of_q, problem.shape.n_sources * n_channels));
        weight = Array<T>(size(of_weight, problem.weight.size()));
        core_weight = Array<T>(size(of_weight, problem.core_weight.size()));
        edge_attr = Array<T>(size(of_edge_attr, problem.edge_attr.size()));
        edge_weight = Array<T>(size(of_edge_weight, problem.edge_weight.size()));
        distances = Array<double>(size(of_distances, problem.distances.size()));
        scale = Array<T>(problem.scale.size());
        shift = Array<T>(problem.shift.size());
    }

    EdgeGradients<T> pointers() {
        return {p.data(),
                q.data(),
                weight.data(),
                edge_attr.data(),
                distances.data(),
                edge_weight.data(),
                problem_->layout(core_weight.data())};
    }

    void check(const Gradients& expected) const {
        check_one("gradient of p", p, expected.p);
        check_one("gradient of q", q, expected.q);
        check_weight(expected.weight);
        check_one("gradient of edge_attr", edge_attr, expected.edge_attr);
        check_one("gradient of edge_weight", edge_weight, expected.edge_weight);
        check_one("gradient of distances", distances, expected.distances);
        check_one("gradient of scale", scale, expected.scale);
        check_one("gradient of shift", shift, expected.shift);
    }

    bool same_bits(const GradientArrays& other) const {
        return p.same_bits(other.p) && q.same_bits(other.q) && weight.same_bits(other.weight) &&
               core_weight.same_bits(other.core_weight) && edge_attr.same_bits(other.edge_attr) &&
               edge_weight.same_bits(other.edge_weight) && distances.same_bits(other.distances) &&
               scale.same_bits(other.scale) && shift.same_bits(other.shift);
    }

private:
    // The elements that are there as a matrix of their own; those between them stay untouched.
    void check_weight(const Estimates& expected) const {
        if (weight.size() == 0) return;
        const int64_t n_channels = 2 * problem_->shape.n_features;
        Array<T> gathered(static_cast<int64_t>(expected.size()));
        Array<T> rest = weight;
        Array<T> core_rest = core_weight;
        const WeightLayout<T> where = problem_->layout(core_rest.data());
        for (int64_t i = 0; i < gathered.size(); ++i) {
            T& element = *where.at(rest.data(), i / n_channels, i % n_channels, problem_->shape.n_features);
            gathered[i] = std::exchange(element, std::numeric_limits<T>::quiet_NaN());
        }
        check_one("gradient of weight", gathered, expected);
        for (const Array<T>* array : {&rest, &core_rest}) {
            CHECK(array->front_is_intact(), "written in front of the weights");
            for (int64_t i = 0; i < array->size(); ++i) {
                CHECK(std::isnan((*array)[i]), "element " << i << " between the weights is " << (*array)[i]);
            }
        }
    }

    template <class Stored>
    static void check_one(const char* name, const Array<Stored>& got, const Estimates& expected) {
        if (got.size() > 0) check_close<T>(name, got, expected);
    }

    const Problem<T>* problem_;
};

// Which of the gradients a problem has.
template <class T>
unsigned gradients_of(const Problem<T>& problem) {
    unsigned found = of_p | of_q;
    if (problem.weight.size() > 0) found |= of_weight;
    if (problem.edge_attr.size() > 0) found |= of_edge_attr;
    if (problem.distances.size() > 0) found |= of_distances;
    if (problem.edge_weight.size() > 0) found |= of_edge_weight;
    return found;
}

}  // namespace message_tests
