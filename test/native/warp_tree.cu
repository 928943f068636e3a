// The tree of sums that a warp builds over parts it meets one after the other (chunk.cuh), against the host's
// (numerics/sum.h), bit by bit: as many parts as rows would have of which no test could afford the columns. Prints the
// numbers of parts that differ; ends with 1 when there are any.
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <random>
#include <vector>

#include "cuda/chunk.cuh"
#if defined(SOFTMAX_EMULATED_CUDA)
#include "../emulator/emulator.h"
#endif

namespace softmax_native::cuda {
namespace {

// Around the sizes at which a level of the tree, each of which a warp holds 32 parts of, is full or overflows.
constexpr int kCounts[] = {1, 2, 31, 32, 33, 100, 1023, 1024, 1025, 2047, 32767, 32768, 32768 + 1057};
constexpr int kSizes = sizeof kCounts / sizeof *kCounts;
constexpr int kMost = kCounts[kSizes - 1];

void check(cudaError_t error, const char* what) {
  if (error == cudaSuccess) return;
  std::fprintf(stderr, "%s: %s\n", what, cudaGetErrorName(error));
  std::exit(2);
}

// A warp for each number of parts.
template <class T>
__global__ void __launch_bounds__(32) trees(const PartialSum<T>* parts, const int* counts, PartialSum<T>* totals) {
  WarpTree<T> tree;
  for (int i = 0; i < counts[blockIdx.x]; i++) tree.push(parts[i]);
  const PartialSum<T> total = tree.total();
  if (threadIdx.x == 0) totals[blockIdx.x] = total;
}

template <class T>
T* upload(const std::vector<T>& from, size_t count) {
  T* memory = nullptr;
  check(cudaMalloc(&memory, count * sizeof(T)), "cudaMalloc");
  check(cudaMemcpy(memory, from.data(), from.size() * sizeof(T), cudaMemcpyHostToDevice), "upload");
  return memory;
}

// Sums with all bits of a head and a tail, under references that often differ, so that no two orders of merging agree.
template <class T>
std::vector<PartialSum<T>> random_parts() {
  std::mt19937_64 random(1);
  std::uniform_real_distribution<T> of_head(T(1), T(1024)), of_tail(T(-1), T(1));
  std::vector<PartialSum<T>> parts(kMost);
  for (PartialSum<T>& part : parts) {
    const T max = static_cast<T>(static_cast<int>(random() % 40));
    const T head = of_head(random);
    part = {max, exponent_of(max), head * Format<T>::scale_up, of_tail(random) * head * Format<T>::scale_up / 4096};
  }
  return parts;
}

template <class T>
int compare(const char* type) {
  const std::vector<PartialSum<T>> parts = random_parts<T>();
  std::vector<PartialSum<T>> totals(kSizes);
  PartialSum<T>* const on_device = upload(parts, parts.size());
  int* const counts = upload(std::vector<int>(kCounts, kCounts + kSizes), kSizes);
  PartialSum<T>* const results = upload(std::vector<PartialSum<T>>(), kSizes);
  check(launch(trees<T>, kSizes, kWarpLanes, 0, 1, nullptr, on_device, counts, results), "launch");
  check(cudaMemcpy(totals.data(), results, kSizes * sizeof(PartialSum<T>), cudaMemcpyDeviceToHost), "download");

  int failures = 0;
  for (int i = 0; i < kSizes; i++) {
    ChunkTree<T> tree;
    T max = -infinity<T>();
    for (int part = 0; part < kCounts[i]; part++) {
      tree.push({parts[part].exponent, parts[part].head, parts[part].tail});
      max = larger(parts[part].max, max);
    }
    const Sum<T> sum = tree.total();
    const PartialSum<T> expected = {max, sum.exponent, sum.head, sum.tail};
    if (std::memcmp(&totals[i], &expected, sizeof expected) == 0) continue;
    failures++;
    std::printf("%s, %d parts: %.17g instead of %.17g\n", type, kCounts[i], static_cast<double>(totals[i].head),
                static_cast<double>(sum.head));
  }
  check(cudaFree(on_device), "cudaFree");
  check(cudaFree(counts), "cudaFree");
  check(cudaFree(results), "cudaFree");
  return failures;
}

}  // namespace
}  // namespace softmax_native::cuda

int main() {
  using namespace softmax_native::cuda;
  int failures = compare<float>("float32") + compare<double>("float64");
#if defined(SOFTMAX_EMULATED_CUDA)
  failures += static_cast<int>(emulated::findings().size());
#endif
  std::printf("%d trees, %d failed\n", 2 * kSizes, failures);
  return failures == 0 ? 0 : 1;
}
