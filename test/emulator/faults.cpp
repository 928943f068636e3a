// Kernels and host code with planted faults, each beside a twin without the fault, to show that the emulated device
// finds the first and nothing in the second.
//
//   emulator_faults                the names of the faults
//   emulator_faults NAME fault     runs the fault: prints what the runtime returned and the findings, a line each
//   emulator_faults NAME twin      the same for its twin
#include <cooperative_groups.h>
#include <cuda_pipeline_primitives.h>
#include <cuda_runtime.h>

#include <cstdio>
#include <cstring>
#include <vector>

#include "../../native/cuda/chunk.cuh"
#include "emulator.h"

namespace {

constexpr unsigned kAllLanes = 0xffffffffu;
constexpr int kThreads = 128;
constexpr int kBlocks = 4;
constexpr int kCount = kThreads * kBlocks;

unsigned index_of_thread() { return blockIdx.x * blockDim.x + threadIdx.x; }

template <class T>
T* shared() {
  return reinterpret_cast<T*>(emulated::dynamic_shared());
}

// Memory on the device, filled from the host unless `empty`.
struct DeviceFloats {
  enum State { filled, empty };

  explicit DeviceFloats(size_t count = kCount, State state = filled) : count(count) {
    cudaMalloc(&data, count * sizeof(float));
    const std::vector<float> values(count, 1.0f);
    if (state == filled) cudaMemcpy(data, values.data(), count * sizeof(float), cudaMemcpyHostToDevice);
  }
  ~DeviceFloats() { cudaFree(data); }
  DeviceFloats(const DeviceFloats&) = delete;
  DeviceFloats& operator=(const DeviceFloats&) = delete;

  size_t count;
  float* data = nullptr;
};

struct Shape {
  int blocks = kBlocks;
  int threads = kThreads;
  size_t shared_bytes = 0;
  unsigned cluster = 1;
  cudaStream_t stream = nullptr;
};

template <class... Parameters, class... Arguments>
void launch(Shape shape, void (*kernel)(Parameters...), Arguments... arguments) {
  cudaLaunchAttribute attribute = {};
  attribute.id = cudaLaunchAttributeClusterDimension;
  attribute.val.clusterDim = {shape.cluster, 1, 1};
  cudaLaunchConfig_t config = {};
  config.gridDim = dim3(static_cast<unsigned>(shape.blocks));
  config.blockDim = dim3(static_cast<unsigned>(shape.threads));
  config.dynamicSmemBytes = shape.shared_bytes;
  config.stream = shape.stream;
  config.attrs = &attribute;
  config.numAttrs = 1;
  const cudaError_t error = cudaLaunchKernelEx(&config, kernel, arguments...);
  if (error != cudaSuccess) std::printf("launch: %s\n", cudaGetErrorName(error));
}

// Barriers.

template <bool fault>
__global__ void reverse_block(const float* x, float* y) {
  float* const values = shared<float>();
  values[threadIdx.x] = x[index_of_thread()];
  if (!fault) __syncthreads();
  y[index_of_thread()] = values[blockDim.x - 1 - threadIdx.x];
}
template <bool fault>
void missing_syncthreads() {
  const DeviceFloats x, y;
  launch({kBlocks, kThreads, kThreads * sizeof(float)}, reverse_block<fault>, x.data, y.data);
}

// The barrier that is missing is the one that keeps the second step from overwriting what others still read.
template <bool fault>
__global__ void shift_twice(const float* x, float* y) {
  float* const values = shared<float>();
  const unsigned next = (threadIdx.x + 1) % blockDim.x;
  values[threadIdx.x] = x[index_of_thread()];
  __syncthreads();
  const float shifted = values[next];
  if (!fault) __syncthreads();
  values[threadIdx.x] = shifted;
  __syncthreads();
  y[index_of_thread()] = values[next];
}
template <bool fault>
void missing_syncthreads_before_reuse() {
  const DeviceFloats x, y;
  launch({kBlocks, kThreads, kThreads * sizeof(float)}, shift_twice<fault>, x.data, y.data);
}

template <bool fault>
__global__ void exchange_in_warp(const float* x, float* y) {
  float* const values = shared<float>();
  values[threadIdx.x] = x[index_of_thread()];
  if (!fault) __syncwarp();
  y[index_of_thread()] = values[threadIdx.x ^ 1];
}
template <bool fault>
void missing_syncwarp() {
  const DeviceFloats x, y;
  launch({kBlocks, kThreads, kThreads * sizeof(float)}, exchange_in_warp<fault>, x.data, y.data);
}

// A barrier of the warp orders nothing between warps.
template <bool fault>
__global__ void exchange_between_warps(const float* x, float* y) {
  float* const values = shared<float>();
  values[threadIdx.x] = x[index_of_thread()];
  if (fault) {
    __syncwarp();
  } else {
    __syncthreads();
  }
  y[index_of_thread()] = values[threadIdx.x ^ 32];
}
template <bool fault>
void syncwarp_between_warps() {
  const DeviceFloats x, y;
  launch({kBlocks, kThreads, kThreads * sizeof(float)}, exchange_between_warps<fault>, x.data, y.data);
}

// Races between blocks.

template <bool fault>
__global__ void count_blocks(float* y) {
  if (threadIdx.x == 0) y[fault ? 0 : blockIdx.x] = 1;
}
template <bool fault>
void write_race_between_blocks() {
  const DeviceFloats y;
  launch({}, count_blocks<fault>, y.data);
}

template <bool fault>
__global__ void read_neighbour(const float* x, float* y) {
  const unsigned i = index_of_thread();
  y[i] = x[fault ? (i + kThreads) % kCount : i];
}
template <bool fault>
void read_race_between_blocks() {
  const DeviceFloats x;
  launch({}, read_neighbour<fault>, x.data, x.data);
}

// Bounds.

template <bool fault>
__global__ void fill(float* y, int count) {
  const int i = static_cast<int>(index_of_thread());
  if (fault ? i <= count : i < count) y[i] = 1;
}
template <bool fault>
void write_past_the_end() {
  const DeviceFloats y(kCount - 10);
  launch({}, fill<fault>, y.data, kCount - 10);
}

template <bool fault>
__global__ void difference(const float* x, float* y) {
  const unsigned i = index_of_thread();
  y[i] = i > 0 || fault ? x[i] - (x - 1)[i] : x[i];
}
template <bool fault>
void read_before_the_beginning() {
  const DeviceFloats x, y;
  launch({}, difference<fault>, x.data, y.data);
}

// The last four floats of an array whose length is no multiple of four.
template <bool fault>
__global__ void copy_vectors(const float* x, float* y, int count) {
  const int i = static_cast<int>(threadIdx.x) * 4;
  if (fault ? i < count : i + 4 <= count) {
    *reinterpret_cast<float4*>(y + i) = *reinterpret_cast<const float4*>(x + i);
  } else {
    for (int j = i; j < count; j++) y[j] = x[j];
  }
}
template <bool fault>
void vector_past_the_end() {
  const DeviceFloats x(30), y(30);
  launch({1, 32}, copy_vectors<fault>, x.data, y.data, 30);
}

template <bool fault>
__global__ void copy_bytes(const float* x, float* y, int count) {
  if (threadIdx.x == 0) std::memcpy(y, x, static_cast<size_t>(count + fault) * sizeof(float));
}
template <bool fault>
void memcpy_past_the_end() {
  const DeviceFloats x(30), y(30);
  launch({1, 32}, copy_bytes<fault>, x.data, y.data, 30);
}

template <bool fault>
__global__ void use_shared(const float* x, float* y) {
  float* const values = shared<float>();
  const unsigned place = threadIdx.x + (fault ? 1 : 0);
  values[place] = x[index_of_thread()];
  y[index_of_thread()] = values[place];
}
template <bool fault>
void write_past_shared() {
  const DeviceFloats x, y;
  launch({kBlocks, kThreads, kThreads * sizeof(float)}, use_shared<fault>, x.data, y.data);
}

// As many columns in registers as the structure has room for, or one more.
template <bool fault>
__global__ void sum_of_columns(const float* x, float* y, int columns) {
  softmax_native::cuda::Vector<float, 4> vector;
  const int count = fault ? columns + 1 : columns;
  for (int i = 0; i < count; i++) vector.element[i] = x[threadIdx.x];
  float sum = 0;
  for (int i = 0; i < count; i++) sum += vector.element[i];
  y[threadIdx.x] = sum;
}
template <bool fault>
void local_array_overrun() {
  const DeviceFloats x, y;
  launch({1, 32}, sum_of_columns<fault>, x.data, y.data, 4);
}

template <bool fault>
__global__ void copy_reversed(const float* x, float* y) {
  float* const values = shared<float>();
  __pipeline_memcpy_async(values + threadIdx.x, x + index_of_thread(), sizeof(float));
  // Only copies of a group that has ended are waited for.
  if (!fault) __pipeline_commit();
  __pipeline_wait_prior(0);
  __syncthreads();
  y[index_of_thread()] = values[blockDim.x - 1 - threadIdx.x];
  __pipeline_commit();
  __pipeline_wait_prior(0);
}
template <bool fault>
void async_copy_read_too_early() {
  const DeviceFloats x, y;
  launch({kBlocks, kThreads, kThreads * sizeof(float)}, copy_reversed<fault>, x.data, y.data);
}

template <bool fault>
__global__ void leave_copy(const float* x) {
  __pipeline_memcpy_async(shared<float>() + threadIdx.x, x + index_of_thread(), sizeof(float));
  __pipeline_commit();
  if (!fault) __pipeline_wait_prior(0);
}
template <bool fault>
void async_copy_left() {
  const DeviceFloats x;
  launch({kBlocks, kThreads, kThreads * sizeof(float)}, leave_copy<fault>, x.data);
}

template <bool fault>
void kernel_uses_host_memory() {
  const DeviceFloats x, y;
  std::vector<float> host(kCount, 1.0f);
  launch({}, read_neighbour<false>, fault ? host.data() : x.data, y.data);
  cudaDeviceSynchronize();
}

template <bool fault>
void memory_of_another_device() {
  emulated::Settings settings = emulated::settings();
  settings.devices = 2;
  emulated::configure(settings);
  cudaSetDevice(1);
  const DeviceFloats there;
  if (fault) cudaSetDevice(0);
  const DeviceFloats here;
  launch({}, read_neighbour<false>, there.data, here.data);
  cudaDeviceSynchronize();
}

template <bool fault>
void copy_past_the_end() {
  const DeviceFloats x, y(kCount - 1);
  const size_t bytes = (kCount - (fault ? 0 : 1)) * sizeof(float);
  const cudaError_t error = cudaMemcpy(y.data, x.data, bytes, cudaMemcpyDeviceToDevice);
  std::printf("copy: %s\n", cudaGetErrorName(error));
}

constexpr int kMostThreads = kThreads;
__global__ void __launch_bounds__(kMostThreads) bounds_by_name() {}
__global__ void __launch_bounds__(128) bounds_by_number() {}
template <bool fault>
void unknown_launch_bounds() {
  launch({}, fault ? bounds_by_name : bounds_by_number);
}

// Memory that nobody has written.

template <bool fault>
__global__ void sum_shared(const float* x, float* y) {
  float* const values = shared<float>();
  if (!fault || threadIdx.x > 0) values[threadIdx.x] = x[index_of_thread()];
  __syncthreads();
  y[index_of_thread()] = values[threadIdx.x] + values[0];
}
template <bool fault>
void uninitialised_shared() {
  const DeviceFloats x, y;
  launch({kBlocks, kThreads, kThreads * sizeof(float)}, sum_shared<fault>, x.data, y.data);
}

template <bool fault>
void uninitialised_device() {
  const DeviceFloats x(kCount, fault ? DeviceFloats::empty : DeviceFloats::filled), y;
  launch({}, read_neighbour<false>, x.data, y.data);
}

template <bool fault>
void uninitialised_by_copy() {
  const DeviceFloats source(kCount, fault ? DeviceFloats::empty : DeviceFloats::filled), x, y;
  cudaMemcpy(x.data, source.data, kCount * sizeof(float), cudaMemcpyDeviceToDevice);
  launch({}, read_neighbour<false>, x.data, y.data);
}

// Alignment.

template <bool fault>
__global__ void scale_vectors(float* y) {
  float4* const vectors = reinterpret_cast<float4*>(y + (fault ? 1 : 0));
  const float4 v = vectors[threadIdx.x];
  vectors[threadIdx.x] = make_float4(2 * v.x, 2 * v.y, 2 * v.z, 2 * v.w);
}
template <bool fault>
void misaligned_float4() {
  const DeviceFloats y;
  launch({1, 32}, scale_vectors<fault>, y.data);
}

template <bool fault>
__global__ void sum_of_pairs(const float* x, double* y) {
  const double2 pair = *reinterpret_cast<const double2*>(x + threadIdx.x * 4 + (fault ? 2 : 0));
  y[threadIdx.x] = pair.x + pair.y;
}
template <bool fault>
void misaligned_double2() {
  const DeviceFloats x, y;
  launch({1, 32}, sum_of_pairs<fault>, x.data, reinterpret_cast<double*>(y.data));
}

// Divergence.

template <bool fault>
__global__ void sum_of_pair(float* y) {
  const unsigned i = index_of_thread();
  float v = y[i];
  if (!fault || threadIdx.x % 32 < 16) v += __shfl_xor_sync(kAllLanes, v, 1);
  y[i] = v;
}
template <bool fault>
void divergent_shuffle() {
  const DeviceFloats y;
  launch({}, sum_of_pair<fault>, y.data);
}

template <bool fault>
__global__ void sum_in_two_places(float* y) {
  const unsigned i = index_of_thread();
  float v = y[i];
  if (fault && threadIdx.x % 2 == 0) {
    v += __shfl_xor_sync(kAllLanes, v, 1);
  } else {
    v += __shfl_xor_sync(kAllLanes, v, 1);
  }
  y[i] = v;
}
template <bool fault>
void shuffle_in_two_places() {
  const DeviceFloats y;
  launch({}, sum_in_two_places<fault>, y.data);
}

// Half of a warp does one of the library's exchanges, half another, with as many shuffles.
template <bool fault>
__global__ void largest_in_two_ways(float* y) {
  const unsigned i = index_of_thread();
  float v = y[i];
  if (fault && threadIdx.x % 2 == 0) {
    for (int round = 0; round < 4; round++) v = softmax_native::cuda::largest_of_lanes(v, 32);
  } else {
    v = softmax_native::cuda::tree_of_lanes(softmax_native::cuda::PartialSum<float>{v, 0, v, 0}, 32).max;
  }
  y[i] = v;
}
template <bool fault>
void two_exchanges_of_the_library() {
  const DeviceFloats y;
  launch({}, largest_in_two_ways<fault>, y.data);
}

template <bool fault>
__global__ void sum_of_some(float* y, unsigned count) {
  const unsigned i = index_of_thread();
  if (fault && i >= count) return;
  float v = i < count ? y[i] : 0.0f;
  for (int offset = 16; offset > 0; offset /= 2) v += __shfl_down_sync(kAllLanes, v, static_cast<unsigned>(offset));
  if (i < count) y[i] = v;
}
template <bool fault>
void shuffle_after_exit() {
  const DeviceFloats y(kCount - 10);
  launch({}, sum_of_some<fault>, y.data, static_cast<unsigned>(kCount - 10));
}

template <bool fault>
__global__ void vote(float* y) {
  const unsigned i = index_of_thread();
  unsigned lanes = 0;
  if (!fault || threadIdx.x % 32 != 7) lanes = __ballot_sync(kAllLanes, threadIdx.x % 2);
  y[i] = static_cast<float>(__popc(lanes));
}
template <bool fault>
void divergent_vote() {
  const DeviceFloats y;
  launch({}, vote<fault>, y.data);
}

template <bool fault>
__global__ void partial_mask(float* y) {
  const unsigned i = index_of_thread();
  y[i] += __shfl_xor_sync(fault ? 0xffffu : kAllLanes, y[i], 1);
}
template <bool fault>
void shuffle_of_some_lanes() {
  const DeviceFloats y;
  launch({}, partial_mask<fault>, y.data);
}

template <bool fault>
__global__ void barrier_of_some(float* y) {
  if (!fault || threadIdx.x < 64) __syncthreads();
  y[index_of_thread()] = 1;
}
template <bool fault>
void divergent_barrier() {
  const DeviceFloats y;
  launch({}, barrier_of_some<fault>, y.data);
}

template <bool fault>
__global__ void barrier_in_two_places(float* y) {
  if (fault && threadIdx.x < 64) {
    __syncthreads();
  } else {
    __syncthreads();
  }
  y[index_of_thread()] = 1;
}
template <bool fault>
void different_barriers() {
  const DeviceFloats y;
  launch({}, barrier_in_two_places<fault>, y.data);
}

template <bool fault>
__global__ void barrier_in_loop(float* y) {
  const unsigned rounds = fault ? threadIdx.x / 32 : 3;
  for (unsigned round = 0; round < rounds; round++) __syncthreads();
  y[index_of_thread()] = 1;
}
template <bool fault>
void barrier_in_loops_of_different_length() {
  const DeviceFloats y;
  launch({}, barrier_in_loop<fault>, y.data);
}

// Clusters.

template <bool fault>
__global__ void sum_of_cluster(float* y) {
  const auto cluster = cooperative_groups::this_cluster();
  float* const value = shared<float>();
  if (threadIdx.x == 0) *value = static_cast<float>(cluster.block_rank());
  cluster.sync();
  float sum = 0;
  for (unsigned rank = 0; rank < cluster.num_blocks(); rank++) sum += *cluster.map_shared_rank(value, rank);
  if (!fault) cluster.sync();
  y[index_of_thread()] = sum;
}
template <bool fault>
void shared_memory_of_ended_block() {
  const DeviceFloats y;
  launch({kBlocks, kThreads, sizeof(float), kBlocks}, sum_of_cluster<fault>, y.data);
}

template <bool fault>
__global__ void write_to_next_block() {
  const auto cluster = cooperative_groups::this_cluster();
  float* const value = shared<float>();
  if (!fault) cluster.sync();
  if (threadIdx.x == 0) *cluster.map_shared_rank(value, (cluster.block_rank() + 1) % cluster.num_blocks()) = 1;
  cluster.sync();
}
template <bool fault>
void shared_memory_of_block_not_started() {
  launch({kBlocks, kThreads, sizeof(float), kBlocks}, write_to_next_block<fault>);
}

template <bool fault>
__global__ void read_of_next_block(float* y) {
  const auto cluster = cooperative_groups::this_cluster();
  float* const value = shared<float>();
  cluster.sync();
  if (threadIdx.x == 0) *value = static_cast<float>(cluster.block_rank());
  if (fault) {
    __syncthreads();
  } else {
    cluster.sync();
  }
  y[index_of_thread()] = *cluster.map_shared_rank(value, (cluster.block_rank() + 1) % cluster.num_blocks());
  cluster.sync();
}
template <bool fault>
void missing_barrier_of_cluster() {
  const DeviceFloats y;
  launch({kBlocks, kThreads, sizeof(float), kBlocks}, read_of_next_block<fault>, y.data);
}

template <bool fault>
void clusters_of_old_code() {
  emulated::Settings settings = emulated::settings();
  settings.ptx = fault ? 86 : 90;
  emulated::configure(settings);
  launch({kBlocks, kThreads, sizeof(float), kBlocks}, write_to_next_block<false>);
}

// Lifetimes and the order of streams.

template <bool fault>
void use_after_free() {
  const DeviceFloats y;
  float* x;
  cudaMalloc(&x, kCount * sizeof(float));
  cudaMemset(x, 0, kCount * sizeof(float));
  if (fault) cudaFree(x);
  launch({}, read_neighbour<false>, static_cast<const float*>(x), y.data);
  if (!fault) cudaFree(x);
}

template <bool fault>
void use_after_free_in_stream() {
  const DeviceFloats y;
  float* x;
  cudaMallocAsync(&x, kCount * sizeof(float), nullptr);
  cudaMemsetAsync(x, 0, kCount * sizeof(float), nullptr);
  if (fault) cudaFreeAsync(x, nullptr);
  launch({}, read_neighbour<false>, static_cast<const float*>(x), y.data);
  if (!fault) cudaFreeAsync(x, nullptr);
}

struct Streams {
  cudaStream_t first, second;
  cudaEvent_t event;
  Streams() {
    cudaStreamCreateWithFlags(&first, cudaStreamNonBlocking);
    cudaStreamCreateWithFlags(&second, cudaStreamNonBlocking);
    cudaEventCreateWithFlags(&event, cudaEventDisableTiming);
    cudaDeviceSynchronize();
  }
  ~Streams() {
    cudaDeviceSynchronize();
    cudaStreamDestroy(first);
    cudaStreamDestroy(second);
    cudaEventDestroy(event);
  }
  Streams(const Streams&) = delete;
  Streams& operator=(const Streams&) = delete;

  void second_after_first() {
    cudaEventRecord(event, first);
    cudaStreamWaitEvent(second, event);
  }
};

template <bool fault>
void streams_without_event() {
  const DeviceFloats x, y;
  Streams streams;
  launch({kBlocks, kThreads, 0, 1, streams.first}, fill<false>, x.data, kCount);
  if (!fault) streams.second_after_first();
  launch({kBlocks, kThreads, 0, 1, streams.second}, read_neighbour<false>, static_cast<const float*>(x.data), y.data);
}

template <bool fault>
void copy_without_event() {
  const DeviceFloats x, y;
  Streams streams;
  launch({kBlocks, kThreads, 0, 1, streams.first}, fill<false>, x.data, kCount);
  if (!fault) streams.second_after_first();
  cudaMemcpyAsync(y.data, x.data, kCount * sizeof(float), cudaMemcpyDeviceToDevice, streams.second);
}

// What a stream allocates may still be in use by what the stream does before.
struct StreamOrderedFloats {
  StreamOrderedFloats(Streams& streams, bool ordered) {
    cudaMallocAsync(&data, kCount * sizeof(float), streams.first);
    if (ordered) streams.second_after_first();
  }
  ~StreamOrderedFloats() {
    cudaDeviceSynchronize();
    cudaFreeAsync(data, nullptr);
  }
  StreamOrderedFloats(const StreamOrderedFloats&) = delete;
  StreamOrderedFloats& operator=(const StreamOrderedFloats&) = delete;

  float* data = nullptr;
};

template <bool fault>
void use_before_stream_allocation() {
  Streams streams;
  const StreamOrderedFloats x(streams, !fault);
  launch({kBlocks, kThreads, 0, 1, streams.second}, fill<false>, x.data, kCount);
}

template <bool fault>
void copy_before_stream_allocation() {
  const DeviceFloats y;
  Streams streams;
  const StreamOrderedFloats x(streams, !fault);
  cudaMemcpyAsync(x.data, y.data, kCount * sizeof(float), cudaMemcpyDeviceToDevice, streams.second);
}

template <bool fault>
void free_before_stream_allocation() {
  Streams streams;
  float* x;
  cudaMallocAsync(&x, kCount * sizeof(float), streams.first);
  if (!fault) streams.second_after_first();
  cudaFreeAsync(x, streams.second);
}

template <bool fault>
void free_without_event() {
  const DeviceFloats y;
  Streams streams;
  float* x;
  cudaMallocAsync(&x, kCount * sizeof(float), streams.first);
  cudaMemsetAsync(x, 0, kCount * sizeof(float), streams.first);
  streams.second_after_first();
  launch({kBlocks, kThreads, 0, 1, streams.first}, read_neighbour<false>, static_cast<const float*>(x), y.data);
  if (!fault) streams.second_after_first();
  cudaFreeAsync(x, streams.second);
}

// Not a finding: the host just does not see the result.
template <bool fault>
void read_before_the_copy() {
  const DeviceFloats x;
  float* host;
  cudaMallocHost(&host, kCount * sizeof(float));
  std::memset(host, 0, kCount * sizeof(float));
  Streams streams;
  cudaMemcpyAsync(host, x.data, kCount * sizeof(float), cudaMemcpyDeviceToHost, streams.first);
  if (!fault) cudaStreamSynchronize(streams.first);
  std::printf("host sees %g\n", static_cast<double>(host[0]));
  cudaStreamSynchronize(streams.first);
  cudaFreeHost(host);
}

template <bool fault>
void write_before_the_copy() {
  const DeviceFloats x;
  float* host;
  cudaMallocHost(&host, kCount * sizeof(float));
  Streams streams;
  for (int i = 0; i < kCount; i++) host[i] = 2;
  cudaMemcpyAsync(x.data, host, kCount * sizeof(float), cudaMemcpyHostToDevice, streams.first);
  if (!fault) cudaStreamSynchronize(streams.first);
  for (int i = 0; i < kCount; i++) host[i] = 3;
  cudaStreamSynchronize(streams.first);
  float first;
  cudaMemcpy(&first, x.data, sizeof first, cudaMemcpyDeviceToHost);
  std::printf("device has %g\n", static_cast<double>(first));
  cudaFreeHost(host);
}

// The pinned memory is written by the stream on the way, but its last element by the host.
template <bool fault>
void write_again_before_the_copy() {
  const DeviceFloats x, y;
  float* host;
  cudaMallocHost(&host, kCount * sizeof(float));
  for (int i = 0; i < kCount; i++) host[i] = 4;
  Streams streams;
  cudaMemcpyAsync(host, x.data, (kCount - 1) * sizeof(float), cudaMemcpyDeviceToHost, streams.first);
  if (!fault) host[kCount - 1] = 1;
  cudaMemcpyAsync(y.data, host, kCount * sizeof(float), cudaMemcpyHostToDevice, streams.first);
  if (fault) host[kCount - 1] = 5;
  cudaStreamSynchronize(streams.first);
  float last;
  cudaMemcpy(&last, y.data + kCount - 1, sizeof last, cudaMemcpyDeviceToHost);
  std::printf("device has %g\n", static_cast<double>(last));
  cudaFreeHost(host);
}

template <bool fault>
void runtime_call_in_host_function() {
  Streams streams;
  cudaLaunchHostFunc(
      streams.first,
      [](void*) {
        int device;
        if (fault) cudaGetDevice(&device);
      },
      nullptr);
  cudaStreamSynchronize(streams.first);
}

struct Fault {
  const char* name;
  void (*fault)();
  void (*twin)();
};

#define FAULT(name)                    \
  {                                    \
#name, name < true>, name < false> \
  }
constexpr Fault kFaults[] = {
    FAULT(missing_syncthreads),
    FAULT(missing_syncthreads_before_reuse),
    FAULT(missing_syncwarp),
    FAULT(syncwarp_between_warps),
    FAULT(write_race_between_blocks),
    FAULT(read_race_between_blocks),
    FAULT(write_past_the_end),
    FAULT(read_before_the_beginning),
    FAULT(vector_past_the_end),
    FAULT(memcpy_past_the_end),
    FAULT(write_past_shared),
    FAULT(local_array_overrun),
    FAULT(async_copy_read_too_early),
    FAULT(async_copy_left),
    FAULT(kernel_uses_host_memory),
    FAULT(memory_of_another_device),
    FAULT(copy_past_the_end),
    FAULT(unknown_launch_bounds),
    FAULT(uninitialised_shared),
    FAULT(uninitialised_device),
    FAULT(uninitialised_by_copy),
    FAULT(misaligned_float4),
    FAULT(misaligned_double2),
    FAULT(divergent_shuffle),
    FAULT(shuffle_in_two_places),
    FAULT(two_exchanges_of_the_library),
    FAULT(shuffle_after_exit),
    FAULT(divergent_vote),
    FAULT(shuffle_of_some_lanes),
    FAULT(divergent_barrier),
    FAULT(different_barriers),
    FAULT(barrier_in_loops_of_different_length),
    FAULT(shared_memory_of_ended_block),
    FAULT(shared_memory_of_block_not_started),
    FAULT(missing_barrier_of_cluster),
    FAULT(clusters_of_old_code),
    FAULT(use_after_free),
    FAULT(use_after_free_in_stream),
    FAULT(streams_without_event),
    FAULT(copy_without_event),
    FAULT(use_before_stream_allocation),
    FAULT(copy_before_stream_allocation),
    FAULT(free_before_stream_allocation),
    FAULT(free_without_event),
    FAULT(read_before_the_copy),
    FAULT(write_before_the_copy),
    FAULT(write_again_before_the_copy),
    FAULT(runtime_call_in_host_function),
};

}  // namespace

int main(int argc, char** argv) {
  for (const Fault& each : kFaults) {
    if (argc < 2) std::puts(each.name);
    if (argc < 3 || std::strcmp(each.name, argv[1]) != 0) continue;
    (std::strcmp(argv[2], "fault") == 0 ? each.fault : each.twin)();
    std::printf("%s\n", cudaGetErrorName(cudaDeviceSynchronize()));
    for (const std::string& finding : emulated::findings()) std::puts(finding.c_str());
    return 0;
  }
  return argc < 2 ? 0 : 2;
}
