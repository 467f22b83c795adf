// A caller that flushes denormals, as after torch.set_flush_denormal(True): its threads do not, and still the number of
// threads must not show in any bit.
#include "denormals.hpp"
#include "graph/pool.hpp"
#include "message/edge_moments.hpp"
#include "message/gated_message.hpp"
#include "message_gradients.hpp"
#include "thread_pool.hpp"

using namespace message_tests;

namespace {

// run(n_threads) gives something with same_bits(). The calling thread takes some tasks and the others the rest, so that
// several rounds leave little to chance.
template <class Run>
void check_flushing_caller(const Run& run) {
    cgfast::parallel_for(64, 5, [](int64_t) {});  // the threads begin with the mode of whoever makes them
    const cgfast::FlushDenormals caller;
    const auto one_thread = run(1);
    for (int round = 0; round < 10; ++round) CHECK(run(5).same_bits(one_thread), "five threads differ from one");
}

// A large crystal whose gradients are about as large as the smallest normal numbers.
Problem<float> tiny_gradients(Random& random) {
    Shape shape;
    shape.n_rows = shape.n_sources = 2100;
    shape.degrees = {12};
    shape.n_features = 16;
    shape.term = EdgeTerm::none;
    Problem<float> problem(shape, random);
    for (float& value : problem.grad) value *= 1e-38f;
    for (float& value : problem.mean_grad) value *= 1e-34f;
    for (float& value : problem.variance_grad) value *= 1e-34f;
    return problem;
}

}  // namespace

TEST(denormals_in_pool) {
    using cgfast::Reduction;
    Random random(90);
    Array<float> x(6000);
    for (float& value : x) value = static_cast<float>(random.uniform(-1e-40, 1e-40));
    Array<int64_t> graph_ptr(2001);
    for (int64_t b = 0; b <= 2000; ++b) graph_ptr[b] = 3 * b;
    for (const Reduction reduction : {Reduction::sum, Reduction::mean, Reduction::min, Reduction::max}) {
        check_flushing_caller([&](int n_threads) {
            Array<float> out(2000);
            cgfast::pool(x.data(), 1, 6000, 1, graph_ptr.data(), 2000, reduction, out.data(), n_threads);
            return out;
        });
    }
}

TEST(denormals_in_message_gradients) {
    Random random(91);
    const Problem<float> problem = tiny_gradients(random);
    check_flushing_caller([&](int n_threads) {
        GradientArrays<float> found(problem);
        cgfast::gated_message_backward<float>(problem.edges(), {}, problem.grad.data(), found.pointers(), nullptr,
                                              nullptr, n_threads);
        return found;
    });
}

TEST(denormals_in_moments_gradients) {
    Random random(92);
    const Problem<float> problem = tiny_gradients(random);
    const Array<float> zeros(32, 0.0f);
    check_flushing_caller([&](int n_threads) {
        GradientArrays<float> found(problem);
        cgfast::edge_moments_backward<float>(problem.edges(), zeros.data(), zeros.data(), problem.mean_grad.data(),
                                             problem.variance_grad.data(), found.pointers(), n_threads);
        return found;
    });
}
