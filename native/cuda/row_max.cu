// The maximum of every row and its first index. A maximum does not depend on the order in which it is taken, so rows
// are shared out as the memory likes it: tiles of many short rows in shared memory, blocks for long ones, groups of
// threads with adjacent columns for other axes. Slices of a few long rows are merged within a cluster, or by a second
// launch.
#include "../ops/row_max.h"
#include "device.cuh"
#include "launch.h"

namespace softmax_native::cuda {

// The largest of some elements of a row and the index of the first such. Indices of a row fit 32 bits, as results do.
// Where no element is above -inf the index stays kNoIndex: a row whose maximum is -inf has it everywhere, so that its
// first index is 0.
template <class T>
struct Candidate {
  T max;
  uint32_t index;
};

constexpr uint32_t kNoIndex = 0xffffffffu;

template <class T>
__device__ __forceinline__ Candidate<T> no_candidate() {
  return {-infinity<T>(), kNoIndex};
}

// Whether an element that comes later in the row takes the place of the largest so far: a number that is larger, or the
// first NaN.
template <class T>
__device__ __forceinline__ bool replaces(T later, T so_far) {
  return !(later <= so_far) && so_far == so_far;
}

template <class T>
__device__ __forceinline__ void take_later(Candidate<T>* so_far, Candidate<T> later) {
  if (replaces(later.max, so_far->max)) *so_far = later;
}

// Of two candidates from anywhere in the row.
template <class T>
__device__ __forceinline__ void take_other(Candidate<T>* best, Candidate<T> other) {
  const bool is_first = other.index < best->index;
  if (is_first ? !replaces(best->max, other.max) : replaces(other.max, best->max)) *best = other;
}

// Of adjacent elements, from `index` on. Pairs first, so that comparisons need not wait for each other.
template <class T, int n>
__device__ __forceinline__ Candidate<T> largest_of(const T (&element)[n], uint32_t index) {
  Candidate<T> best[n];
#pragma unroll
  for (int i = 0; i < n; i++) best[i] = {element[i], static_cast<uint32_t>(i)};
#pragma unroll
  for (int step = 1; step < n; step *= 2) {
#pragma unroll
    for (int i = 0; i + step < n; i += 2 * step) take_later(&best[i], best[i + step]);
  }
  return {best[0].max, best[0].index + index};
}

template <class T>
__device__ __forceinline__ Candidate<T> largest_of_lanes(Candidate<T> best, int lanes) {
  for (int offset = lanes / 2; offset > 0; offset /= 2) {
    take_other(&best, Candidate<T>{__shfl_xor_sync(kAllLanes, best.max, offset),
                                   __shfl_xor_sync(kAllLanes, best.index, offset)});
  }
  return best;
}

// The results, one of each for every row.
template <class T>
struct Results {
  T* max;
  int32_t* argmax;  // or null

  __device__ __forceinline__ void put(int64_t row, Candidate<T> best, bool is_empty) const {
    max[row] = best.max == best.max ? best.max : canonical_nan<T>();
    const uint32_t index = best.index == kNoIndex && !is_empty ? 0 : best.index;
    if (argmax != nullptr) argmax[row] = static_cast<int32_t>(index);
  }
};

// Candidates in memory: those that threads hand each other, or one launch leaves for the next.
template <class T>
struct Candidates {
  T* max;
  uint32_t* index;

  Candidates() = default;
  __host__ __device__ __forceinline__ Candidates(void* memory, int64_t count)
      : max(static_cast<T*>(memory)), index(reinterpret_cast<uint32_t*>(max + count)) {}
  static constexpr int64_t bytes(int64_t count) { return count * static_cast<int64_t>(sizeof(T) + sizeof(uint32_t)); }

  __device__ __forceinline__ void put(int64_t i, Candidate<T> best) const {
    max[i] = best.max;
    index[i] = best.index;
  }
  __device__ __forceinline__ Candidate<T> get(int64_t i) const { return {max[i], index[i]}; }
};

// Adjacent elements: all in vectors but the ends, which are so few that threads take one each.
template <class T>
struct Stretch {
  using Whole = Vector<T, kVector<T>>;
  uint32_t head;  // elements before the first multiple of 16 bytes
  uint32_t vectors;
  bool has_end;  // whether the calling thread takes one, and which
  uint32_t end;

  __device__ __forceinline__ Stretch(const T* p, uint32_t count) {
    const auto to_boundary = static_cast<uint32_t>((16 - reinterpret_cast<uintptr_t>(p) % 16) % 16 / sizeof(T));
    head = smaller(to_boundary, count);
    vectors = (count - head) / kVector<T>;
    const uint32_t tail = (count - head) % kVector<T>;
    has_end = threadIdx.x < head + tail;
    end = threadIdx.x < head ? threadIdx.x : count - tail + threadIdx.x - head;
  }
};

// Copies adjacent elements to shared memory, where they are once all threads of the block have come to a barrier. Both
// places are equally far from a multiple of 16 bytes, so that all but the ends goes in vectors.
template <class T>
__device__ __forceinline__ void copy_to_shared(const T* from, T* to, uint32_t count) {
  using Whole = typename Stretch<T>::Whole;
  const Stretch<T> part(from, count);
  const auto* const whole = reinterpret_cast<const Whole*>(from + part.head);
  auto* const whole_to = reinterpret_cast<Whole*>(to + part.head);
  if (has_async_copies()) {
    for (uint32_t v = threadIdx.x; v < part.vectors; v += kRowMaxThreads) start_copy(whole_to + v, whole + v);
    if (part.has_end) start_copy(to + part.end, from + part.end);
    end_group_of_copies();
    wait_for_copies(0);
    return;
  }
  constexpr int at_once = kRowMaxVectors;
  for (uint32_t base = threadIdx.x; base < part.vectors; base += at_once * kRowMaxThreads) {
    Whole loaded[at_once];
#pragma unroll
    for (int u = 0; u < at_once; u++) {
      if (base + u * kRowMaxThreads < part.vectors) loaded[u] = whole[base + u * kRowMaxThreads];
    }
#pragma unroll
    for (int u = 0; u < at_once; u++) {
      if (base + u * kRowMaxThreads < part.vectors) whole_to[base + u * kRowMaxThreads] = loaded[u];
    }
  }
  if (part.has_end) to[part.end] = from[part.end];
}

// How short rows are dealt: `rows` of them to a block, a segment of each row to each of its lanes.
struct RowTile {
  int rows;
  int log2_lanes;
  uint32_t segment;
};

// A tile of adjacent rows is read into shared memory as one stretch, whatever their length and alignment. Segments begin
// at multiples of V elements.
template <class T, int V>
__global__ void __launch_bounds__(256)
    short_row_max(const T* x, Results<T> results, int64_t all_rows, uint32_t k, RowTile deal) {
  const int64_t first_row = static_cast<int64_t>(blockIdx.x) * deal.rows;
  const int rows = static_cast<int>(smaller(all_rows - first_row, static_cast<int64_t>(deal.rows)));
  x += first_row * k;
  T* tile = reinterpret_cast<T*>(shared_memory());
  if (V == 1) tile += reinterpret_cast<uintptr_t>(x) % 16 / sizeof(T);
  copy_to_shared(x, tile, static_cast<uint32_t>(rows) * k);
  __syncthreads();

  const int lanes = 1 << deal.log2_lanes;
  const int t = static_cast<int>(threadIdx.x) & (lanes - 1);
  const uint32_t first = static_cast<uint32_t>(t) * deal.segment, end = smaller(first + deal.segment, k);
  for (int base = 0; base < rows; base += kRowMaxThreads >> deal.log2_lanes) {
    const int row = base + (static_cast<int>(threadIdx.x) >> deal.log2_lanes);
    Candidate<T> best = no_candidate<T>();
    // Lanes past the last row go along, as exchanges need whole warps.
    if (row < rows) {
      const T* const element = tile + static_cast<uint32_t>(row) * k;
      uint32_t j = first;
      if (V > 1) {
        for (; j < end; j += V) {
          const auto vector = *reinterpret_cast<const Vector<T, V>*>(element + j);
          take_later(&best, largest_of(vector.element, j));
        }
      } else {
        constexpr int at_once = 4;
        for (; j + at_once <= end; j += at_once) {
          T some[at_once];
#pragma unroll
          for (int u = 0; u < at_once; u++) some[u] = element[j + u];
          take_later(&best, largest_of(some, j));
        }
        for (; j < end; j++) take_later(&best, Candidate<T>{element[j], j});
      }
    }
    // The lanes' segments lie in order.
    for (int offset = 1; offset < lanes; offset *= 2) {
      take_later(&best, Candidate<T>{__shfl_down_sync(kAllLanes, best.max, offset),
                                     __shfl_down_sync(kAllLanes, best.index, offset)});
    }
    if (row < rows && t == 0) results.put(first_row + row, best, k == 0);
  }
}

// A block for each slice of a row. Slices of a cluster are merged by its first block.
template <class T>
__global__ void __launch_bounds__(256) long_row_max(const T* x, Results<T> results, Candidates<T> partials, uint32_t k,
                                                    uint32_t slices, uint32_t slice_columns, bool is_cluster) {
  constexpr int at_once = kRowMaxVectors, V = kVector<T>;
  const uint32_t row = blockIdx.x / slices, slice = blockIdx.x % slices;
  const uint32_t first = slice * slice_columns, n = smaller(slice_columns, k - first);
  x += static_cast<int64_t>(row) * k + first;
  const Stretch<T> part(x, n);
  const auto* const whole = reinterpret_cast<const Vector<T, V>*>(x + part.head);
  const T end_element = part.has_end ? x[part.end] : T(0);

  Candidate<T> best = no_candidate<T>();
  for (uint32_t base = threadIdx.x; base < part.vectors; base += at_once * blockDim.x) {
    Vector<T, V> loaded[at_once];
#pragma unroll
    for (int u = 0; u < at_once; u++) {
      if (base + u * blockDim.x < part.vectors) loaded[u] = whole[base + u * blockDim.x];
    }
#pragma unroll
    for (int u = 0; u < at_once; u++) {
      const uint32_t v = base + u * blockDim.x;
      if (v < part.vectors) take_later(&best, largest_of(loaded[u].element, first + part.head + v * V));
    }
  }
  // Used after all else was read, as it may come late.
  Candidate<T> at_end = no_candidate<T>();
  if (part.has_end) take_later(&at_end, Candidate<T>{end_element, first + part.end});
  take_other(&best, at_end);
  best = largest_of_lanes(best, kWarpLanes);

  // One candidate for each warp of the block, or of all blocks of the cluster.
  const BlocksOfRow blocks{is_cluster ? static_cast<int>(slices) : 1};
  const int rank = is_cluster ? static_cast<int>(slice) : 0, warps = warps_of_block(), count = blocks.count * warps;
  const Candidates<T> candidates(shared_memory(), count);
  blocks.wait_for_start();
  if (lane_of_thread() == 0) {
    const int place = rank * warps + warp_of_thread();
    *(is_cluster ? in_block_of_cluster(candidates.max + place, 0) : candidates.max + place) = best.max;
    *(is_cluster ? in_block_of_cluster(candidates.index + place, 0) : candidates.index + place) = best.index;
  }
  blocks.wait_for_all();
  if (rank != 0 || warp_of_thread() != 0) return;
  best = no_candidate<T>();
  for (int i = lane_of_thread(); i < count; i += kWarpLanes) take_other(&best, candidates.get(i));
  best = largest_of_lanes(best, kWarpLanes);
  if (lane_of_thread() != 0) return;
  if (slices == 1 || is_cluster) {
    results.put(row, best, false);
  } else {
    partials.put(blockIdx.x, best);
  }
}

// How a block's threads are dealt to rows along another axis than the last: groups of `width` threads, each with V
// adjacent columns of the inner axis, times `parts`, which take the columns' elements in turn.
struct ColumnGroups {
  Layout layout;
  int parts;
  int groups;  // of a block, one after the other along the outer axis
  Divisor width;
  Divisor width_and_parts;  // their product
  Divisor inner_tiles;      // groups that the inner axis takes
  Divisor slices;
  uint32_t slice_columns;
};

template <class T, int V>
__global__ void __launch_bounds__(256)
    column_max(const T* x, Results<T> results, Candidates<T> partials, ColumnGroups deal) {
  constexpr int at_once = V > 1 ? kRowMaxColumnVectors : kRowMaxLoads;
  uint32_t tile, slice, outer_tile, inner_tile, group, thread_of_group, part, column;
  deal.slices.divide(blockIdx.x, &tile, &slice);
  deal.inner_tiles.divide(tile, &outer_tile, &inner_tile);
  deal.width_and_parts.divide(threadIdx.x, &group, &thread_of_group);
  deal.width.divide(thread_of_group, &part, &column);
  const Layout layout = deal.layout;
  const int64_t o = static_cast<int64_t>(outer_tile) * deal.groups + group;
  const int64_t i = (static_cast<int64_t>(inner_tile) * deal.width.divisor + column) * V;
  const bool has_column = group < static_cast<uint32_t>(deal.groups) && o < layout.outer && i < layout.inner;
  const auto parts = static_cast<uint32_t>(deal.parts);

  Candidate<T> best[V];
  for (int c = 0; c < V; c++) best[c] = no_candidate<T>();
  if (has_column) {
    const uint32_t first = slice * deal.slice_columns;
    const uint32_t end = smaller(first + deal.slice_columns, static_cast<uint32_t>(layout.k));
    const T* element = x + (o * layout.k + first + part) * layout.inner + i;
    const int64_t step = layout.inner * parts;
    for (uint32_t base = first + part; base < end; base += at_once * parts) {
      Vector<T, V> loaded[at_once];
#pragma unroll
      for (int u = 0; u < at_once; u++) {
        if (base + u * parts < end) loaded[u] = *reinterpret_cast<const Vector<T, V>*>(element);
        element += step;
      }
#pragma unroll
      for (int u = 0; u < at_once; u++) {
        if (base + u * parts >= end) break;
#pragma unroll
        for (int c = 0; c < V; c++) take_later(&best[c], Candidate<T>{loaded[u].element[c], base + u * parts});
      }
    }
  }
  if (parts > 1) {
    const Candidates<T> candidates(shared_memory(), V * kRowMaxThreads);
    // The parts of a column are merged in halves.
    for (uint32_t left = parts; left > 1;) {
      for (int c = 0; c < V; c++) candidates.put(c * kRowMaxThreads + threadIdx.x, best[c]);
      __syncthreads();
      const uint32_t half = (left + 1) / 2;
      if (has_column && part + half < left) {
        const uint32_t other = threadIdx.x + half * deal.width.divisor;
        for (int c = 0; c < V; c++) take_other(&best[c], candidates.get(c * kRowMaxThreads + other));
      }
      __syncthreads();
      left = half;
    }
  }
  if (!has_column || part != 0) return;
  const int64_t row = o * layout.inner + i;
  const uint32_t slices = deal.slices.divisor;
  for (int c = 0; c < V; c++) {
    if (slices == 1) {
      results.put(row + c, best[c], layout.k == 0);
    } else {
      partials.put((row + c) * slices + slice, best[c]);
    }
  }
}

// As many lanes for each row as it has slices, 32 at most.
template <class T>
__global__ void __launch_bounds__(256)
    merge_row_max(Candidates<T> partials, Results<T> results, int64_t rows, int slices, int log2_lanes) {
  const int lanes = 1 << log2_lanes, t = static_cast<int>(threadIdx.x) & (lanes - 1);
  const int64_t row = static_cast<int64_t>(blockIdx.x) * (kRowMaxThreads >> log2_lanes) + (threadIdx.x >> log2_lanes);
  Candidate<T> best = no_candidate<T>();
  if (row < rows) {
    for (int i = t; i < slices; i += lanes) take_other(&best, partials.get(row * slices + i));
  }
  best = largest_of_lanes(best, lanes);
  if (row < rows && t == 0) results.put(row, best, false);
}

template <class T>
int64_t row_max_workspace(Layout layout, const DeviceProperties& device) {
  const RowMaxPlan plan = row_max_plan(layout, device);
  return plan.slices == 1 || plan.is_cluster ? 0 : Candidates<T>::bytes(layout.outer * layout.inner * plan.slices);
}

static int log2_from(int64_t n) {
  int log2 = 0;
  while (int64_t{1} << log2 < n) log2++;
  return log2;
}

template <class T>
static cudaError_t short_rows(const T* x, Results<T> results, int64_t rows, int64_t k, const RowMaxPlan& plan,
                              cudaStream_t stream) {
  const bool vectors = has_vectors(x, k);
  const int64_t unit = vectors ? kVector<T> : 1;
  const int lanes = row_max_lanes(k, unit, 128 / (unit * static_cast<int64_t>(sizeof(T))));
  // An odd number of vectors, or elements, spreads the lanes of a row over the banks.
  int64_t units = policy::ceil_div(policy::ceil_div(k, unit), lanes);
  if (lanes > 1 && units > 2 && units % 2 == 0) units++;
  const RowTile deal{static_cast<int>(plan.rows_per_block), log2_from(lanes), static_cast<uint32_t>(units * unit)};
  const int64_t shared_bytes = plan.rows_per_block * k * static_cast<int64_t>(sizeof(T)) + 16;
  return launch(vectors ? short_row_max<T, kVector<T>> : short_row_max<T, 1>, plan.blocks, kRowMaxThreads, shared_bytes,
                1, stream, x, results, rows, k, deal);
}

template <class T>
static cudaError_t columns(const T* x, Results<T> results, Candidates<T> partials, Layout layout,
                           const RowMaxPlan& plan, cudaStream_t stream) {
  const bool vectors = has_vectors(x, layout.inner) && plan.columns % kVector<T> == 0;
  const int64_t V = vectors ? kVector<T> : 1, inner_tiles = policy::ceil_div(layout.inner, plan.columns);
  const RowMaxColumns threads = row_max_columns(plan, V);
  const ColumnGroups deal{layout,
                          static_cast<int>(threads.parts),
                          static_cast<int>(threads.groups),
                          Divisor(threads.width),
                          Divisor(threads.width * threads.parts),
                          Divisor(inner_tiles),
                          Divisor(plan.slices),
                          static_cast<uint32_t>(plan.slice_columns)};
  const int64_t blocks = policy::ceil_div(layout.outer, threads.groups) * inner_tiles * plan.slices;
  return launch(vectors ? column_max<T, kVector<T>> : column_max<T, 1>, blocks, kRowMaxThreads,
                threads.parts > 1 ? Candidates<T>::bytes(V * kRowMaxThreads) : 0, 1, stream, x, results, partials,
                deal);
}

template <class T>
cudaError_t row_max(const T* x, T* max, int32_t* argmax, Layout layout, const DeviceProperties& device, void* workspace,
                    cudaStream_t stream) {
  const RowMaxPlan plan = row_max_plan(layout, device);
  const int64_t rows = layout.outer * layout.inner;
  const Results<T> results{max, argmax};
  // Without a workspace there are none, and nothing may be added to its null pointer.
  const Candidates<T> partials(workspace, workspace == nullptr ? 0 : rows * plan.slices);
  cudaError_t error;
  if (plan.columns > 0) {
    error = columns(x, results, partials, layout, plan, stream);
  } else if (plan.lanes_per_row > 0) {
    return short_rows(x, results, rows, layout.k, plan, stream);
  } else {
    const int64_t warps = plan.threads / kWarpLanes;
    error = launch(long_row_max<T>, plan.blocks, plan.threads,
                   Candidates<T>::bytes(warps * (plan.is_cluster ? plan.slices : 1)),
                   plan.is_cluster ? static_cast<int>(plan.slices) : 1, stream, x, results, partials, layout.k,
                   plan.slices, plan.slice_columns, plan.is_cluster);
  }
  if (error != cudaSuccess || plan.slices == 1 || plan.is_cluster) return error;
  const int log2_lanes = log2_from(policy::least(kWarpLanes, plan.slices));
  return launch(merge_row_max<T>, policy::ceil_div(rows, kRowMaxThreads >> log2_lanes), kRowMaxThreads, 0, 1, stream,
                partials, results, rows, plan.slices, log2_lanes);
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
