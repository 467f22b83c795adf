// exclusive_scan on the emulator, and the emulator itself: what it must refuse.
#include <vector>

#include "cuda/launch.hpp"
#include "cuda/scan.hpp"
#include "emulated_run.hpp"
#include "testing.hpp"

using cgfast::cuda::launch;

namespace {

template <class Count>
void check_scan(int64_t n, testing::Random& random) {
    std::vector<Count> counts(static_cast<size_t>(n));
    std::vector<int64_t> wanted(1, 0);
    for (Count& count : counts) {
        count = static_cast<Count>(random.integer(0, 2000000000));
        wanted.push_back(wanted.back() + count);
    }
    emulated::under_every_schedule([&](uint64_t schedule) {
        std::vector<int64_t> out(static_cast<size_t>(n + 1), -1);
        std::vector<int64_t> workspace(static_cast<size_t>(cgfast::cuda::scan_workspace(n)), -1);
        cgfast::cuda::exclusive_scan(counts.data(), n, out.data(), workspace.data(), nullptr);
        CHECK(out == wanted, "n=" << n << " schedule=" << schedule);
    });
}

void check_scan_in_place(int64_t n, testing::Random& random) {
    std::vector<int64_t> values(static_cast<size_t>(n + 1));
    std::vector<int64_t> wanted(1, 0);
    for (int64_t i = 0; i < n; ++i) {
        values[static_cast<size_t>(i)] = random.integer(0, 9);
        wanted.push_back(wanted.back() + values[static_cast<size_t>(i)]);
    }
    std::vector<int64_t> workspace(static_cast<size_t>(cgfast::cuda::scan_workspace(n)), -1);
    cgfast::cuda::exclusive_scan(values.data(), n, values.data(), workspace.data(), nullptr);
    CHECK(values == wanted, "n=" << n);
}

void barrier_in_branch() {
    if (threadIdx.x < 40) cgfast::cuda::sync_block();
}
void shuffle_after_return() {
    if (cgfast::cuda::lane_index() == 3) return;
    cgfast::cuda::shuffle(1, 0);
}
void two_operations() {
    if (cgfast::cuda::lane_index() % 2 == 0) {
        cgfast::cuda::sync_warp();
    } else {
        cgfast::cuda::ballot(true);
    }
}
// Each thread reads what its neighbour wrote; nothing makes it wait.
void without_barrier(int* out) {
    int* shared = reinterpret_cast<int*>(cgfast::cuda::shared_memory());
    shared[threadIdx.x] = static_cast<int>(threadIdx.x);
    out[threadIdx.x] = shared[(threadIdx.x + 1) % blockDim.x];
}

template <class Error, class Call>
std::string error_of(const Call& call) {
    try {
        call();
    } catch (const Error& error) {
        return error.what();
    }
    return "none";
}

}  // namespace

TEST(cuda_scan_every_size) {
    testing::Random random(70);
    for (const int64_t n : {0, 1, 2, 7, 8, 9, 255, 256, 2047, 2048, 2049, 2056, 4096, 6000}) {
        check_scan<int32_t>(n, random);
        check_scan<int64_t>(n, random);
        check_scan_in_place(n, random);
    }
    check_scan<int32_t>(600000, random);  // more tiles than a block has threads
}

TEST(cuda_emulator_finds_lanes_that_never_meet) {
    for (void (*kernel)() : {&barrier_in_branch, &shuffle_after_return}) {
        const std::string error = error_of<std::logic_error>([&] { launch("bad", kernel, 1, 64, 0, nullptr); });
        CHECK(error.find("cannot go on") != std::string::npos, error);
    }
    const std::string error = error_of<std::logic_error>([] { launch("bad", &two_operations, 1, 64, 0, nullptr); });
    CHECK(error.find("while others") != std::string::npos, error);
}

TEST(cuda_emulator_shows_a_missing_barrier) {
    std::vector<int> out[2] = {std::vector<int>(64), std::vector<int>(64)};
    for (uint64_t schedule = 0; schedule < 2; ++schedule) {
        cuda_emulator::schedule = schedule;
        launch("bad", &without_barrier, 1, 64, 64 * sizeof(int), nullptr, out[schedule].data());
    }
    cuda_emulator::schedule = 0;
    CHECK(out[0] != out[1], "both orders read the same");
}

TEST(cuda_launch_refuses_what_no_device_has) {
    const auto nothing = [](cgfast::cuda::Grid grid, int block, int64_t shared) {
        return error_of<std::runtime_error>([&] { launch("nothing", &barrier_in_branch, grid, block, shared, nullptr); });
    };
    for (const std::string& error : {nothing(int64_t(1) << 31, 64, 0), nothing({1, 70000}, 64, 0), nothing(1, 33, 0),
                                     nothing(1, 2048, 0), nothing(1, 64, int64_t(1) << 20)}) {
        CHECK(error.find("launch of nothing") == 0 && error.find("cudaErrorInvalid") != std::string::npos, error);
    }
    CHECK(nothing(0, 64, 0) == "none" && nothing({3, 0}, 64, 0) == "none", "no blocks must be no launch");
}
