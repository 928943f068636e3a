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
  unsigned long long* hashes;
  T* x;
  T* y;
  check(cudaMallocManaged(&hashes, 2 * sizeof *hashes), "cudaMallocManaged");
  check(cudaMalloc(&x, sizeof(T) * kGoldenRows * kLongestGoldenRow), "cudaMalloc");
  check(cudaMalloc(&y, sizeof(T) * kGoldenRows * kLongestGoldenRow), "cudaMalloc");
  hashes[0] = hashes[1] = 0;
  exponentials<T><<<kBlocks, kThreads>>>(&hashes[0]);
  rows<T><<<kGoldenRows, 1>>>(x, y, &hashes[1]);
  check(cudaGetLastError(), "launch");
  check(cudaDeviceSynchronize(), "cudaDeviceSynchronize");
  std::printf("exp %s %016" PRIx64 "\n", type, static_cast<uint64_t>(hashes[0]));
  std::printf("softmax %s %016" PRIx64 "\n", type, static_cast<uint64_t>(hashes[1]));
  check(cudaFree(hashes), "cudaFree");
  check(cudaFree(x), "cudaFree");
  check(cudaFree(y), "cudaFree");
}

int main() {
  std::printf("contract %d\n", kContractVersion);
  print_hashes<float>("float32");
  print_hashes<double>("float64");
  return 0;
}
