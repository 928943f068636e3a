// What all kernels are written with: shared memory, clusters, division by a number known at launch, and launches.
//
// Every .cu file is plain C++ as well (no chevrons, no static shared memory), so that test/emulator can run it on
// machines without a GPU.
#pragma once

#include <cooperative_groups.h>
#include <cuda_pipeline_primitives.h>
#include <cuda_runtime.h>

#include <cstdint>

#include "../numerics/format.h"
#include "policy.h"

namespace softmax_native::cuda {

static_assert(kChunk == kChunkColumns);

constexpr unsigned kAllLanes = 0xffffffffu;
constexpr int kWarpLanes = 32;

// A function of its own. The name that CUDA has for it is one that the headers of GCC's C++ library use.
#if defined(SOFTMAX_EMULATED_CUDA)
#define SOFTMAX_NOINLINE __attribute__((noinline))
#else
#define SOFTMAX_NOINLINE __noinline__
#endif

// The block's shared memory, of the size given at its launch.
__device__ __forceinline__ unsigned char* shared_memory() {
#if defined(SOFTMAX_EMULATED_CUDA)
  return emulated::dynamic_shared();
#else
  extern __shared__ __align__(16) unsigned char memory[];
  return memory;
#endif
}

// Clusters: compiled out where the architecture has none, and then never asked for (policy.h).
#if defined(SOFTMAX_EMULATED_CUDA) || !defined(__CUDA_ARCH__) || __CUDA_ARCH__ >= 900
#define SOFTMAX_HAS_CLUSTERS 1
#else
#define SOFTMAX_HAS_CLUSTERS 0
#endif

__device__ __forceinline__ int lane_of_thread() { return static_cast<int>(threadIdx.x) % kWarpLanes; }
__device__ __forceinline__ int warp_of_thread() { return static_cast<int>(threadIdx.x) / kWarpLanes; }
__device__ __forceinline__ int warps_of_block() { return static_cast<int>(blockDim.x) / kWarpLanes; }

// Waits for every thread of the cluster, and makes their writes to shared memory visible.
__device__ __forceinline__ void synchronize_cluster() {
#if SOFTMAX_HAS_CLUSTERS
  cooperative_groups::this_cluster().sync();
#endif
}

// The same place in the shared memory of another block of the cluster.
template <class T>
__device__ __forceinline__ T* in_block_of_cluster(T* mine, int rank) {
#if SOFTMAX_HAS_CLUSTERS
  return cooperative_groups::this_cluster().map_shared_rank(mine, rank);
#else
  return mine;
#endif
}

// The blocks that work on a row together: one, or all of a cluster.
struct BlocksOfRow {
  int count;

  // Before any of them writes to another's shared memory, which must have started.
  __device__ __forceinline__ void wait_for_start() const {
    if (count > 1) synchronize_cluster();
  }

  __device__ __forceinline__ void wait_for_all() const {
    if (count > 1) {
      synchronize_cluster();
    } else {
      __syncthreads();
    }
  }

  // Puts a value, which all lanes of the calling warp have, into the same place of the shared memory of each.
  template <class Value>
  __device__ __forceinline__ void put(Value* place, Value value) const {
    for (int block = lane_of_thread(); block < count; block += kWarpLanes) {
      *(count > 1 ? in_block_of_cluster(place, block) : place) = value;
    }
  }
};

// Copies from global to shared memory that a thread starts and later waits for, and which hold none of its registers on
// their way. GPUs before 8.0 have none, and would load and store one element after the other: there are loops for them.
__device__ __forceinline__ bool has_async_copies() {
#if defined(SOFTMAX_EMULATED_CUDA)
  return emulated::has_async_copies();
#elif defined(__CUDA_ARCH__)
  return __CUDA_ARCH__ >= 800;
#else
  return false;
#endif
}

template <class Element>
__device__ __forceinline__ void start_copy(Element* to, const Element* from) {
  __pipeline_memcpy_async(to, from, sizeof(Element));
}

__device__ __forceinline__ void end_group_of_copies() { __pipeline_commit(); }

// Waits for the thread's copies but those of the last groups, of which up to 8 are told apart.
__device__ __forceinline__ void wait_for_copies(int groups_left) {
  __pipeline_wait_prior(static_cast<size_t>(groups_left));
}

template <class T>
__device__ __forceinline__ bool is_finite(T v) {
  return v - v == T(0);
}

template <class T>
__device__ __forceinline__ T smaller(T a, T b) {
  return a < b ? a : b;
}

// Division of non-negative integers below 2^31 by a divisor known at launch: the high half of a product with
// 2^32 / divisor is the quotient or one less.
struct Divisor {
  uint32_t divisor;
  uint32_t inverse;

  Divisor() = default;
  __host__ explicit Divisor(int64_t d)
      : divisor(static_cast<uint32_t>(d)), inverse(d <= 1 ? ~0u : static_cast<uint32_t>((uint64_t(1) << 32) / d)) {}

  __device__ __forceinline__ void divide(uint32_t n, uint32_t* quotient, uint32_t* remainder) const {
    uint32_t q = static_cast<uint32_t>(uint64_t(n) * inverse >> 32);
    uint32_t r = n - q * divisor;
    if (r >= divisor) {
      q++;
      r -= divisor;
    }
    *quotient = q;
    *remainder = r;
  }
};

// Adjacent elements of a row that a lane loads and stores together: 16 bytes of them, or one.
template <class T>
constexpr int kVector = 16 / sizeof(T);

template <class T, int V>
struct alignas(V == 1 ? sizeof(T) : 16) Vector {
  T element[V];
};

// Whether rows of k elements from p on start at multiples of 16 bytes.
template <class T>
bool has_vectors(const T* p, int64_t k) {
  return reinterpret_cast<uintptr_t>(p) % 16 == 0 && k % kVector<T> == 0;
}

// Lets a kernel be launched with more shared memory and larger clusters than without asking. The limits belong to the
// kernel, for all threads of the process: the one of shared memory is always set to the most there is, as another thread
// may be about to launch the same kernel with more.
inline cudaError_t allow(const void* kernel, int64_t shared_bytes, int cluster) {
  constexpr int64_t without_opt_in = 48 * 1024;
  cudaError_t error = cudaSuccess;
  if (shared_bytes > without_opt_in) {
    int device = 0, most = 0;
    error = cudaGetDevice(&device);
    if (error == cudaSuccess) error = cudaDeviceGetAttribute(&most, cudaDevAttrMaxSharedMemoryPerBlockOptin, device);
    if (error == cudaSuccess) error = cudaFuncSetAttribute(kernel, cudaFuncAttributeMaxDynamicSharedMemorySize, most);
  }
  if (error == cudaSuccess && cluster > 8) {
    error = cudaFuncSetAttribute(kernel, cudaFuncAttributeNonPortableClusterSizeAllowed, 1);
  }
  return error;
}

// The configuration of a launch in blocks of `threads`, in clusters of `cluster`. It points to `attribute`.
inline cudaLaunchConfig_t configuration(int64_t blocks, int threads, int64_t shared_bytes, int cluster,
                                        cudaLaunchAttribute* attribute) {
  attribute->id = cudaLaunchAttributeClusterDimension;
  attribute->val.clusterDim.x = static_cast<unsigned>(cluster);
  attribute->val.clusterDim.y = attribute->val.clusterDim.z = 1;
  cudaLaunchConfig_t config{};
  config.gridDim = dim3(static_cast<unsigned>(blocks));
  config.blockDim = dim3(static_cast<unsigned>(threads));
  config.dynamicSmemBytes = static_cast<size_t>(shared_bytes);
  config.attrs = attribute;
  config.numAttrs = cluster > 1 ? 1 : 0;
  return config;
}

// Launches `kernel`.
template <class... Parameters, class... Arguments>
cudaError_t launch(void (*kernel)(Parameters...), int64_t blocks, int threads, int64_t shared_bytes, int cluster,
                   cudaStream_t stream, Arguments... arguments) {
  if (blocks > INT32_MAX) return cudaErrorInvalidConfiguration;
  const cudaError_t error = allow(reinterpret_cast<const void*>(kernel), shared_bytes, cluster);
  if (error != cudaSuccess) return error;
  cudaLaunchAttribute attribute{};
  cudaLaunchConfig_t config = configuration(blocks, threads, shared_bytes, cluster, &attribute);
  config.stream = stream;
  return cudaLaunchKernelEx(&config, kernel, static_cast<Parameters>(arguments)...);
}

// The clusters of such a launch that the current device runs at the same time.
template <class... Parameters>
cudaError_t resident_clusters(void (*kernel)(Parameters...), int64_t blocks, int threads, int64_t shared_bytes,
                              int cluster, int* clusters) {
  const cudaError_t error = allow(reinterpret_cast<const void*>(kernel), shared_bytes, cluster);
  if (error != cudaSuccess) return error;
  cudaLaunchAttribute attribute{};
  const cudaLaunchConfig_t config = configuration(blocks, threads, shared_bytes, cluster, &attribute);
  return cudaOccupancyMaxActiveClusters(clusters, kernel, &config);
}

}  // namespace softmax_native::cuda
