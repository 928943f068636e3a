// The maximum of every row and its first index. A maximum does not depend on the order in which it is taken, so rows
// are shared out as the memory likes it: lanes of a warp for short rows, blocks for long ones, groups of threads with
// adjacent columns for other axes; slices of a few long rows are merged by a second launch.
#include "../ops/row_max.h"
#include "device.cuh"
#include "launch.h"

namespace softmax_native::cuda {

// What one launch leaves for the next: the maxima of slices, and their indices within the row.
template <class T>
struct Partials {
  T* max;
  int64_t* index;
};

template <class T>
__device__ __forceinline__ MaxWithIndex<T> largest_of_lanes(MaxWithIndex<T> best, int lanes) {
  for (int offset = lanes / 2; offset > 0; offset /= 2) {
    const MaxWithIndex<T> other = {
        __shfl_xor_sync(kAllLanes, best.max, offset),
        static_cast<int64_t>(__shfl_xor_sync(kAllLanes, static_cast<long long>(best.index), offset))};
    best = larger_of(best, other);
  }
  return best;
}

template <class T>
__device__ __forceinline__ void put(MaxWithIndex<T> best, T* max, int32_t* argmax) {
  *max = best.max == best.max ? best.max : canonical_nan<T>();
  if (argmax != nullptr) *argmax = static_cast<int32_t>(best.index);
}

// Maxima that the threads of a block hand each other through shared memory, `count` of them.
template <class T>
struct Candidates {
  int64_t* index;
  T* max;

  __device__ __forceinline__ explicit Candidates(int count)
      : index(reinterpret_cast<int64_t*>(shared_memory())), max(reinterpret_cast<T*>(index + count)) {}
  __host__ static constexpr int64_t bytes(int64_t count) {
    return count * static_cast<int64_t>(sizeof(T) + sizeof(int64_t));
  }

  __device__ __forceinline__ void put(int i, MaxWithIndex<T> best) const {
    max[i] = best.max;
    index[i] = best.index;
  }
  __device__ __forceinline__ MaxWithIndex<T> get(int i) const { return {max[i], index[i]}; }
};

// The largest of the elements first, first + step ... below end, in ascending order.
template <class T>
__device__ __forceinline__ MaxWithIndex<T> largest_of(const T* x, int64_t stride, int64_t first, int64_t end,
                                                      int64_t step) {
  constexpr int at_once = kRowMaxLoads;
  MaxWithIndex<T> best = no_max<T>();
  for (int64_t base = first; base < end; base += at_once * step) {
    T element[at_once];
#pragma unroll
    for (int u = 0; u < at_once; u++) {
      if (base + u * step < end) element[u] = x[(base + u * step) * stride];
    }
#pragma unroll
    for (int u = 0; u < at_once; u++) {
      if (base + u * step < end) best = max_with(best, element[u], base + u * step);
    }
  }
  return best;
}

template <class T>
__global__ void __launch_bounds__(256)
    short_row_max(const T* x, T* max, int32_t* argmax, int64_t rows, int64_t k, int log2_lanes) {
  const int lanes_per_row = 1 << log2_lanes;
  const int64_t row = static_cast<int64_t>(blockIdx.x) * (blockDim.x >> log2_lanes) + (threadIdx.x >> log2_lanes);
  const int t = static_cast<int>(threadIdx.x) & (lanes_per_row - 1);
  // Lanes past the last row go along, as exchanges need whole warps.
  const MaxWithIndex<T> mine = row < rows ? largest_of(x + row * k, 1, t, k, lanes_per_row) : no_max<T>();
  const MaxWithIndex<T> best = largest_of_lanes(mine, lanes_per_row);
  if (row < rows && t == 0) put(best, max + row, argmax == nullptr ? nullptr : argmax + row);
}

// A block for each slice of a row.
template <class T, int V>
__global__ void __launch_bounds__(256) long_row_max(const T* x, T* max, int32_t* argmax, Partials<T> partials,
                                                    int64_t k, unsigned slices, int64_t slice_columns) {
  constexpr int at_once = kRowMaxVectors;
  const int64_t row = blockIdx.x / slices;
  x += row * k;
  const int64_t first = static_cast<int64_t>(blockIdx.x % slices) * slice_columns;
  const int64_t end = smaller(first + slice_columns, k);
  const int64_t step = static_cast<int64_t>(blockDim.x) * V;

  MaxWithIndex<T> best = no_max<T>();
  for (int64_t base = first + static_cast<int64_t>(threadIdx.x) * V; base < end; base += at_once * step) {
    Vector<T, V> vectors[at_once];
#pragma unroll
    for (int u = 0; u < at_once; u++) {
      if (base + u * step < end) vectors[u] = *reinterpret_cast<const Vector<T, V>*>(x + base + u * step);
    }
#pragma unroll
    for (int u = 0; u < at_once; u++) {
      if (base + u * step >= end) break;
      for (int e = 0; e < V; e++) best = max_with(best, vectors[u].element[e], base + u * step + e);
    }
  }
  best = largest_of_lanes(best, kWarpLanes);

  const Candidates<T> candidates(warps_of_block());
  if (lane_of_thread() == 0) candidates.put(warp_of_thread(), best);
  __syncthreads();
  if (threadIdx.x != 0) return;
  for (int warp = 1; warp < warps_of_block(); warp++) best = larger_of(best, candidates.get(warp));
  if (slices == 1) {
    put(best, max + row, argmax == nullptr ? nullptr : argmax + row);
  } else {
    partials.max[blockIdx.x] = best.max;
    partials.index[blockIdx.x] = best.index;
  }
}

// How a block's threads are dealt to rows along another axis than the last: groups of threads, each with `width`
// adjacent columns of the inner axis, `parts` threads a column, which take its elements in turn.
struct ColumnGroups {
  Layout layout;
  int width;
  int parts;
  int groups;           // of a block
  int64_t inner_tiles;  // groups that the inner axis takes
  unsigned slices;
  int64_t slice_columns;
};

template <class T>
__global__ void __launch_bounds__(256)
    column_max(const T* x, T* max, int32_t* argmax, Partials<T> partials, ColumnGroups deal) {
  const int thread = static_cast<int>(threadIdx.x);
  const int part = thread / deal.width % deal.parts;
  const int64_t group =
      static_cast<int64_t>(blockIdx.x / deal.slices) * deal.groups + thread / (deal.width * deal.parts);
  const int64_t slice = blockIdx.x % deal.slices;
  const int64_t o = group / deal.inner_tiles, i = group % deal.inner_tiles * deal.width + thread % deal.width;
  const Layout layout = deal.layout;
  const bool has_column = thread < deal.groups * deal.width * deal.parts && o < layout.outer && i < layout.inner;

  MaxWithIndex<T> best = no_max<T>();
  if (has_column) {
    const int64_t first = slice * deal.slice_columns;
    best = largest_of(x + o * layout.k * layout.inner + i, layout.inner, first + part,
                      smaller(first + deal.slice_columns, layout.k), deal.parts);
  }
  if (deal.parts > 1) {
    const Candidates<T> candidates(static_cast<int>(blockDim.x));
    // The parts of a column are merged in halves.
    for (int left = deal.parts; left > 1;) {
      candidates.put(thread, best);
      __syncthreads();
      const int half = (left + 1) / 2;
      if (has_column && part + half < left) best = larger_of(best, candidates.get(thread + half * deal.width));
      __syncthreads();
      left = half;
    }
  }
  if (!has_column || part != 0) return;
  const int64_t row = o * layout.inner + i;
  if (deal.slices == 1) {
    put(best, max + row, argmax == nullptr ? nullptr : argmax + row);
  } else {
    partials.max[row * deal.slices + slice] = best.max;
    partials.index[row * deal.slices + slice] = best.index;
  }
}

// A warp for each row.
template <class T>
__global__ void __launch_bounds__(256)
    merge_row_max(Partials<T> partials, T* max, int32_t* argmax, int64_t rows, int slices) {
  const int64_t row = static_cast<int64_t>(blockIdx.x) * warps_of_block() + warp_of_thread();
  if (row >= rows) return;
  MaxWithIndex<T> best = no_max<T>();
  for (int64_t i = row * slices + lane_of_thread(); i < (row + 1) * slices; i += kWarpLanes) {
    best = larger_of(best, MaxWithIndex<T>{partials.max[i], partials.index[i]});
  }
  best = largest_of_lanes(best, kWarpLanes);
  if (lane_of_thread() == 0) put(best, max + row, argmax == nullptr ? nullptr : argmax + row);
}

template <class T>
int64_t row_max_workspace(Layout layout, const DeviceProperties& device) {
  const RowMaxPlan plan = row_max_plan(layout, device);
  const int64_t bytes = static_cast<int64_t>(sizeof(int64_t) + sizeof(T));
  return plan.slices == 1 ? 0 : layout.outer * layout.inner * plan.slices * bytes;
}

template <class T>
cudaError_t row_max(const T* x, T* max, int32_t* argmax, Layout layout, const DeviceProperties& device, void* workspace,
                    cudaStream_t stream) {
  const RowMaxPlan plan = row_max_plan(layout, device);
  const int64_t rows = layout.outer * layout.inner, k = layout.k;
  const auto indices = static_cast<int64_t*>(workspace);
  const Partials<T> partials{reinterpret_cast<T*>(indices + rows * plan.slices), indices};
  const auto slices = static_cast<unsigned>(plan.slices);
  cudaError_t error;
  if (plan.columns > 0) {
    const int width = static_cast<int>(plan.columns), parts = plan.threads_per_column;
    const ColumnGroups deal{layout,
                            width,
                            parts,
                            kRowMaxThreads / (width * parts),
                            policy::ceil_div(layout.inner, plan.columns),
                            slices,
                            plan.slice_columns};
    error = launch(column_max<T>, plan.blocks, kRowMaxThreads, parts > 1 ? Candidates<T>::bytes(kRowMaxThreads) : 0, 1,
                   stream, x, max, argmax, partials, deal);
  } else if (plan.lanes_per_row > 0) {
    int log2_lanes = 0;
    while (1 << log2_lanes < plan.lanes_per_row) log2_lanes++;
    return launch(short_row_max<T>, plan.blocks, kRowMaxThreads, 0, 1, stream, x, max, argmax, rows, k, log2_lanes);
  } else {
    const auto kernel = has_vectors(x, k) ? long_row_max<T, kVector<T>> : long_row_max<T, 1>;
    constexpr int64_t shared_bytes = Candidates<T>::bytes(kRowMaxThreads / kWarpLanes);
    error = launch(kernel, plan.blocks, kRowMaxThreads, shared_bytes, 1, stream, x, max, argmax, partials, k, slices,
                   plan.slice_columns);
  }
  if (error != cudaSuccess || plan.slices == 1) return error;
  const int64_t blocks = policy::ceil_div(rows, kRowMaxThreads / kWarpLanes);
  return launch(merge_row_max<T>, blocks, kRowMaxThreads, 0, 1, stream, partials, max, argmax, rows,
                static_cast<int>(plan.slices));
}

cudaError_t compiled_capability(int* compute_capability) {
  cudaFuncAttributes attributes;
  const cudaError_t error = cudaFuncGetAttributes(&attributes, reinterpret_cast<const void*>(merge_row_max<float>));
  if (error == cudaSuccess) *compute_capability = attributes.ptxVersion;
  return error;
}

template int64_t row_max_workspace<float>(Layout, const DeviceProperties&);
template int64_t row_max_workspace<double>(Layout, const DeviceProperties&);
template cudaError_t row_max(const float*, float*, int32_t*, Layout, const DeviceProperties&, void*, cudaStream_t);
template cudaError_t row_max(const double*, double*, int32_t*, Layout, const DeviceProperties&, void*, cudaStream_t);

}  // namespace softmax_native::cuda
