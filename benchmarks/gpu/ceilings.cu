// What the device can do at most, measured: bytes copied, exponentials of the special-function unit, fused multiply-adds.
// Prints one line of JSON.
#include <cuda_runtime.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <vector>

#define CHECK(call)                                                                    \
    do {                                                                               \
        const cudaError_t error = (call);                                              \
        if (error != cudaSuccess) {                                                    \
            std::fprintf(stderr, "%s failed: %s\n", #call, cudaGetErrorString(error)); \
            std::exit(1);                                                              \
        }                                                                              \
    } while (0)

constexpr int threads = 256;
constexpr int rounds = 4096;
constexpr int chains = 8;  // independent ones in each thread

__global__ void exponentials(float* out) {
    float value[chains];
    for (int c = 0; c < chains; ++c) value[c] = 1e-3f * static_cast<float>(threadIdx.x + c);
    for (int i = 0; i < rounds; ++i) {
#pragma unroll
        for (int c = 0; c < chains; ++c) asm volatile("ex2.approx.ftz.f32 %0, %0;" : "+f"(value[c]));
    }
    float sum = 0.0f;
    for (int c = 0; c < chains; ++c) sum += value[c];
    if (sum == 12345.0f) out[threadIdx.x] = sum;  // never, but the compiler cannot know
}

__global__ void multiply_adds(float* out) {
    float value[chains];
    for (int c = 0; c < chains; ++c) value[c] = 1e-3f * static_cast<float>(threadIdx.x + c);
    for (int i = 0; i < rounds; ++i) {
#pragma unroll
        for (int c = 0; c < chains; ++c) asm volatile("fma.rn.f32 %0, %0, %0, %0;" : "+f"(value[c]));
    }
    float sum = 0.0f;
    for (int c = 0; c < chains; ++c) sum += value[c];
    if (sum == 12345.0f) out[threadIdx.x] = sum;
}

template <class Work>
double median_seconds(const Work& work) {
    cudaEvent_t begin, end;
    CHECK(cudaEventCreate(&begin));
    CHECK(cudaEventCreate(&end));
    std::vector<float> found;
    for (int i = 0; i < 13; ++i) {
        CHECK(cudaEventRecord(begin));
        work();
        CHECK(cudaGetLastError());
        CHECK(cudaEventRecord(end));
        CHECK(cudaEventSynchronize(end));
        float milliseconds = 0.0f;
        CHECK(cudaEventElapsedTime(&milliseconds, begin, end));
        if (i >= 3) found.push_back(milliseconds);
    }
    std::sort(found.begin(), found.end());
    return found[found.size() / 2] / 1e3;
}

int main() {
    cudaDeviceProp device;
    CHECK(cudaGetDeviceProperties(&device, 0));
    size_t free_bytes = 0, all_bytes = 0;
    CHECK(cudaMemGetInfo(&free_bytes, &all_bytes));
    const size_t bytes = std::min<size_t>(size_t(4) << 30, free_bytes / 4);
    char *from, *to;
    CHECK(cudaMalloc(&from, bytes));
    CHECK(cudaMalloc(&to, bytes));
    CHECK(cudaMemset(from, 1, bytes));
    const double copied = median_seconds([&] { CHECK(cudaMemcpyAsync(to, from, bytes, cudaMemcpyDeviceToDevice)); });
    float* out = reinterpret_cast<float*>(to);
    const int blocks = device.multiProcessorCount * 8;
    const double operations = double(blocks) * threads * rounds * chains;
    const double exponential = median_seconds([&] { exponentials<<<blocks, threads>>>(out); });
    const double multiplied = median_seconds([&] { multiply_adds<<<blocks, threads>>>(out); });
    std::printf(
        "{\"name\": \"%s\", \"compute_capability\": \"%d.%d\", \"multiprocessors\": %d, \"memory_GiB\": %.1f, "
        "\"copy_bytes_per_second\": %.4g, \"sfu_per_second\": %.4g, \"fma_per_second\": %.4g}\n",
        device.name, device.major, device.minor, device.multiProcessorCount, double(all_bytes) / (1 << 30),
        2.0 * double(bytes) / copied, operations / exponential, operations / multiplied);
    return 0;
}
