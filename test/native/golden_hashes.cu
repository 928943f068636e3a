// Prints the golden hashes of the numerics as a CUDA device computes them: the same lines as golden_hashes prints on
// the host, and as golden_hashes.txt holds.
#include <cinttypes>
#include <cstdio>
#include <cstdlib>

#include "golden.h"

using namespace softmax_native;

constexpr int kThreads = 128;
constexpr int kBlocks = 64;

template <class T>
static __global__ void exponentials(unsigned long long* hash) {
  unsigned long long sum = 0;
  const uint64_t step = uint64_t(gridDim.x) * blockDim.x;
  for (uint64_t i = uint64_t(blockIdx.x) * blockDim.x + threadIdx.x; i < kGoldenExponentials; i += step) {
    sum += golden_exponential<T>(i);
  }
  atomicAdd(hash, sum);  // integers: any order gives the same sum
}

template <class T>
static __global__ void rows(T* x, T* y, unsigned long long* hash) {
  const int row = blockIdx.x;
  atomicAdd(hash, golden_softmax(row, x + int64_t(row) * kLongestGoldenRow, y + int64_t(row) * kLongestGoldenRow));
}

static void check(cudaError_t error, const char* what) {
  if (error == cudaSuccess) return;
  std::fprintf(stderr, "%s: %s (%s)\n", what, cudaGetErrorName(error), cudaGetErrorString(error));
  std::exit(2);
}

template <class T>
static void print_hashes(const char* type) {
  unsigned long long hashes[2] = {0, 0};
  unsigned long long* on_device;
  T* x;
  T* y;
  check(cudaMalloc(&on_device, sizeof hashes), "cudaMalloc");
  check(cudaMalloc(&x, sizeof(T) * kGoldenRows * kLongestGoldenRow), "cudaMalloc");
  check(cudaMalloc(&y, sizeof(T) * kGoldenRows * kLongestGoldenRow), "cudaMalloc");
  check(cudaMemcpy(on_device, hashes, sizeof hashes, cudaMemcpyHostToDevice), "cudaMemcpy");
  exponentials<T><<<kBlocks, kThreads>>>(&on_device[0]);
  rows<T><<<kGoldenRows, 1>>>(x, y, &on_device[1]);
  check(cudaGetLastError(), "launch");
  check(cudaMemcpy(hashes, on_device, sizeof hashes, cudaMemcpyDeviceToHost), "running");
  std::printf("exp %s %016" PRIx64 "\n", type, static_cast<uint64_t>(hashes[0]));
  std::printf("softmax %s %016" PRIx64 "\n", type, static_cast<uint64_t>(hashes[1]));
  check(cudaFree(on_device), "cudaFree");
  check(cudaFree(x), "cudaFree");
  check(cudaFree(y), "cudaFree");
}

int main() {
  std::printf("contract %d\n", kContractVersion);
  print_hashes<float>("float32");
  print_hashes<double>("float64");
  return 0;
}
