// The Jacobian of softmax, J_ij = p_i (delta_ij - p_j), written as one flat stream: whatever k is and wherever the
// array starts, neighbouring threads write neighbouring vectors of 16 bytes from a line of 128 bytes on to the end of
// the block's span, so that all lines but the span's outermost are written whole.
//
// Short rows are computed in the same launch, from probabilities in shared memory; for longer ones probabilities and
// diagonal entries are made first (a small part of k times as many entries), and any range of entries is written from
// them.
#include "../ops/jacobian.h"
#include "launch.h"
#include "regimes.h"
#include "row_sum.cuh"
#include "rows_in_tiles.cuh"

namespace softmax_native::cuda {

// Division of non-negative numbers below 2^63, as Divisor.
struct LongDivisor {
  uint64_t divisor;
  uint64_t inverse;

  explicit LongDivisor(int64_t d)
      : divisor(static_cast<uint64_t>(d)), inverse(d <= 1 ? ~uint64_t(0) : ~uint64_t(0) / static_cast<uint64_t>(d)) {}

  __device__ __forceinline__ uint64_t divide(uint64_t n, uint64_t* remainder) const {
#if defined(__CUDA_ARCH__)
    uint64_t q = __umul64hi(n, inverse);
#else
    uint64_t q = static_cast<uint64_t>(static_cast<unsigned __int128>(n) * inverse >> 64);
#endif
    uint64_t r = n - q * divisor;
    if (r >= divisor) {
      q++;
      r -= divisor;
    }
    *remainder = r;
    return q;
  }
};

// What the entries of a line (n, i, :) have in common.
template <class T>
struct JacobianLine {
  T scaled_up;  // p_i
  T diagonal;
  uint32_t i;
  bool regular;

  __device__ __forceinline__ JacobianLine(const T* probabilities, const T* diagonals, uint32_t row, uint32_t index)
      : scaled_up(jacobian_scale_up(probabilities[row + index])),
        diagonal(diagonals[row + index]),
        i(index),
        regular(scaled_up == scaled_up) {}

  __device__ __forceinline__ T entry(T p_j, uint32_t j) const {
    const T off_diagonal = jacobian_off_diagonal(scaled_up, p_j);
    return !regular ? canonical_nan<T>() : j == i ? diagonal : off_diagonal;
  }
};

// The entries of rows whose probabilities and diagonals lie `stride` apart, in the order of the array from (0, i, j)
// on. A block has few enough of them for offsets of 32 bits. In long rows hardly a warp meets the end of a line.
template <class T, bool long_rows>
struct JacobianRows {
  static constexpr int V = kVector<T>;

  const T* probabilities;
  const T* diagonals;
  uint32_t stride;
  Divisor by_k;
  uint32_t first_i;
  uint32_t first_j;

  // V entries, from number n on.
  __device__ __forceinline__ Vector<T, V> vector(uint32_t n, bool in_vectors) const {
    const uint32_t k = by_k.divisor;
    Vector<T, V> entries;
    if (k < V) {
#pragma unroll
      for (int u = 0; u < V; u++) entries.element[u] = entry(n + static_cast<uint32_t>(u));
      return entries;
    }
    const Place place = place_of(n);
    const JacobianLine<T> line(probabilities, diagonals, place.row, place.i);
    if (in_vectors || (long_rows && place.j + V <= k)) {
      const T* const p = probabilities + (place.row + place.j);
      Vector<T, V> p_j;
      if (in_vectors) {
        p_j = *reinterpret_cast<const Vector<T, V>*>(p);
      } else {
#pragma unroll
        for (int u = 0; u < V; u++) p_j.element[u] = p[u];
      }
#pragma unroll
      for (int u = 0; u < V; u++) entries.element[u] = line.entry(p_j.element[u], place.j + static_cast<uint32_t>(u));
      return entries;
    }
    // One line at most ends within them.
    const bool ends = place.j + V > k, row_ends = ends && place.i + 1 == k;
    const uint32_t next_row = place.row + (row_ends ? stride : 0);
    const uint32_t next_i = row_ends ? 0 : place.i + (ends ? 1 : 0);
    const JacobianLine<T> next(probabilities, diagonals, next_row, next_i);
#pragma unroll
    for (int u = 0; u < V; u++) {
      const uint32_t j = place.j + static_cast<uint32_t>(u);
      const bool here = j < k;
      const T p_j = probabilities[(here ? place.row : next_row - k) + j];
      JacobianLine<T> mine = line;  // a copy, as a choice between the two would take their addresses
      if (!here) mine = next;
      entries.element[u] = mine.entry(p_j, here ? j : j - k);
    }
    return entries;
  }

  __device__ __forceinline__ T entry(uint32_t n) const {
    const Place place = place_of(n);
    return JacobianLine<T>(probabilities, diagonals, place.row, place.i)
        .entry(probabilities[place.row + place.j], place.j);
  }

 private:
  struct Place {
    uint32_t row;  // where the row starts
    uint32_t i;
    uint32_t j;
  };

  __device__ __forceinline__ Place place_of(uint32_t n) const {
    Place place;
    uint32_t lines, rows;
    by_k.divide(first_j + n, &lines, &place.j);
    by_k.divide(first_i + lines, &rows, &place.i);
    place.row = rows * stride;
    return place;
  }
};

// Elements by which an array starts after a line of 128 bytes.
template <class T>
__host__ __device__ __forceinline__ int elements_past_line(const T* out) {
  return static_cast<int>(reinterpret_cast<uintptr_t>(out) % 128 / sizeof(T));
}

// Writes the elements [before, end) that follow a line of 128 bytes, by all threads of a block; number `before` is the
// first of the entries. `in_vectors`: whether their probabilities can be read so.
template <class T, bool long_rows>
__device__ __forceinline__ void write_entries(T* line, int before, int end, const JacobianRows<T, long_rows>& rows,
                                              bool in_vectors) {
  constexpr int V = kVector<T>;
  for (int e = static_cast<int>(threadIdx.x) * V; e < end; e += static_cast<int>(blockDim.x) * V) {
    if (e >= before && e + V <= end) {
      *reinterpret_cast<Vector<T, V>*>(line + e) = rows.vector(static_cast<uint32_t>(e - before), in_vectors);
    } else {
#pragma unroll 1
      for (int u = e; u < e + V; u++) {
        if (u >= before && u < end) line[u] = rows.entry(static_cast<uint32_t>(u - before));
      }
    }
  }
}

// Short rows: a tile of them, first as logits and then as probabilities, in shared memory, with their diagonals.
template <class T>
__global__ void __launch_bounds__(256, 1)
    tile_jacobian(const T* x, T* out, Tiling tiling, Divisor by_k, int lanes_per_row) {
  T* const memory = reinterpret_cast<T*>(shared_memory());
  T* const diagonals = memory + tiling.tile_outer * tiling.stride;
  const Tile tile(tiling, blockIdx.x);
  load_tile(x + tile.first, memory, tiling, tile, 0, by_k);
  __syncthreads();

  const int k = static_cast<int>(by_k.divisor);
  const PartOfWarp lanes{lanes_per_row};
  const int t = static_cast<int>(threadIdx.x) % lanes_per_row;
  const int group = static_cast<int>(threadIdx.x) / lanes_per_row;
  const int groups = static_cast<int>(blockDim.x) / lanes_per_row;
  using RowColumns = Columns<T, 1, kGroup, PartOfWarp>;
  for (int first = 0; first < tile.rows(); first += groups) {
    const int n = first + group < tile.rows() ? k : 0;
    const int place = (n > 0 ? first + group : 0) * tiling.stride;
    T* const row = memory + place;
    RowColumns columns;
    columns.load(row, n, t, lanes);
    RowColumns others = columns;
    const T max = columns.max(lanes);
    const T shift = shift_of(max);
    const PartialSum<T> all = columns.sum(k, max, shift, lanes);
    columns.write(row, n, t, scale_of(all, shift), all.exponent, all.exponent, false, lanes);

    // The sum without the column whose probability is above one half, if there is one.
    int peak = -1;
#pragma unroll
    for (int u = 0; u < kGroup; u++) {
      const int column = RowColumns::column_of(u, t, lanes);
      if (column >= n) continue;
      const T p = row[column];
      diagonals[place + column] = jacobian_diagonal(p);
      if (p > T(0.5)) {
        peak = column;
        others.head[u] = -infinity<T>();
      }
    }
    if (!__any_sync(kAllLanes, peak >= 0)) continue;
    const PartialSum<T> rest = others.sum(k, others.max(lanes), shift, lanes);
    if (peak >= 0) {
      diagonals[place + peak] = jacobian_diagonal(row[peak], Sum<T>{all.exponent, all.head, all.tail},
                                                  Sum<T>{rest.exponent, rest.head, rest.tail});
    }
  }
  __syncthreads();

  out += tile.first * k;
  const int before = elements_past_line(out);
  const JacobianRows<T, false> rows{memory, diagonals, static_cast<uint32_t>(tiling.stride), by_k, 0, 0};
  const bool in_vectors = (k | tiling.stride | before) % kVector<T> == 0;
  write_entries(out - before, before, before + tile.rows() * k * k, rows, in_vectors);
}

// A block for each row.
template <class T>
__global__ void __launch_bounds__(256, 1)
    jacobian_diagonals(const T* x, const T* probabilities, T* diagonal, int64_t k, int chunks_per_slot) {
  const int64_t row = blockIdx.x;
  x += row * k;
  probabilities += row * k;
  diagonal += row * k;
  const int64_t chunks = (k + kChunk - 1) / kChunk;
  const Part part{k, 0, chunks, chunks_per_slot};
  T* const place = reinterpret_cast<T*>(shared_memory()) + warp_of_thread() * kChunk;
  PartialSum<T>* const sums = reinterpret_cast<PartialSum<T>*>(shared_memory() + warps_of_block() * kChunk * sizeof(T));
  const int t = lane_of_thread();

  // There is one probability above one half at most.
  int64_t* const found = reinterpret_cast<int64_t*>(sums);
  if (threadIdx.x == 0) *found = -1;
  __syncthreads();
  for (int64_t i = threadIdx.x; i < k; i += blockDim.x) {
    const T p = probabilities[i];
    diagonal[i] = jacobian_diagonal(p);
    if (p > T(0.5)) *found = i;
  }
  __syncthreads();
  const int64_t peak = *found;
  if (peak < 0) return;
  __syncthreads();  // all have read it before sums take its place

  const auto total_of = [&](T shift, bool without_peak) {
    sum_slots(
        part, shift,
        [&](int64_t chunk, int n) {
          copy_chunk<T, 1>(x + chunk * kChunk, place, n);
          if (without_peak && chunk == peak / kChunk) {
            if (t == 0) place[peak % kChunk] = -infinity<T>();
            __syncwarp();
          }
          return place;
        },
        [&](int slot, PartialSum<T> sum) {
          if (t == 0) sums[slot] = sum;
        });
    __syncthreads();
    const PartialSum<T> total = tree_of_array(sums, part.slots(), sums + part.slots());
    __syncthreads();
    return total;
  };
  PartialSum<T> all = total_of(T(0), false);
  const T shift = shift_of(all.max);
  if (shift != T(0)) all = total_of(shift, false);
  const PartialSum<T> others = total_of(shift, true);
  if (threadIdx.x == 0) {
    diagonal[peak] = jacobian_diagonal(probabilities[peak], Sum<T>{all.exponent, all.head, all.tail},
                                       Sum<T>{others.exponent, others.head, others.tail});
  }
}

// The entries [first, first + entries) of the flat result, from out[0] on.
template <class T>
__global__ void __launch_bounds__(256, 1)
    jacobian_stream(const T* probabilities, const T* diagonals, T* out, LongDivisor by_long_k, Divisor by_k,
                    int64_t first, int64_t entries) {
  // Spans are counted from the line in which `out` starts.
  const int past_line = elements_past_line(out);
  const int span = static_cast<int>(blockDim.x) * kEntriesPerThread;
  const int64_t begin = static_cast<int64_t>(blockIdx.x) * span - past_line;
  const int end = static_cast<int>(smaller(entries - begin, static_cast<int64_t>(span)));
  const int before = blockIdx.x == 0 ? past_line : 0;
  // Entry (n, i, j) is number line * k + j, where the line n * k + i is also the place of p_i.
  uint64_t i, j;
  const uint64_t line = by_long_k.divide(static_cast<uint64_t>(first + begin + before), &j);
  const uint64_t row_start = by_long_k.divide(line, &i) * by_long_k.divisor;
  const JacobianRows<T, true> rows{probabilities + row_start, diagonals + row_start,   by_k.divisor, by_k,
                                   static_cast<uint32_t>(i),  static_cast<uint32_t>(j)};
  constexpr int V = kVector<T>;
  const bool rows_at_vectors = reinterpret_cast<uintptr_t>(probabilities) % 16 == 0 && by_k.divisor % V == 0;
  const bool in_vectors = rows_at_vectors && (first - past_line) % V == 0;
  write_entries(out + begin, before, end, rows, in_vectors);
}

template <class T>
static int64_t rows_workspace(int64_t rows, int64_t k, const DeviceProperties& device) {
  return softmax_workspace<T>({rows, k, 1}, device);
}

static int64_t aligned(int64_t bytes) { return policy::ceil_div(bytes, 256) * 256; }

template <class T>
int64_t jacobian_rows_workspace(int64_t rows, int64_t k, const DeviceProperties& device) {
  return rows_workspace<T>(rows, k, device);
}

template <class T>
cudaError_t jacobian_rows(const T* x, T* probabilities, T* diagonal, int64_t rows, int64_t k,
                          const DeviceProperties& device, void* workspace, cudaStream_t stream) {
  const cudaError_t error = softmax(x, probabilities, {rows, k, 1}, device, workspace, stream);
  if (error != cudaSuccess) return error;
  const int64_t chunks = policy::ceil_div(k, kChunk);
  const int64_t chunks_per_slot = policy::chunks_per_slot(chunks);
  const int64_t slots = policy::ceil_div(chunks, chunks_per_slot);
  const int warps = static_cast<int>(policy::least(policy::stream_warps(sizeof(T)), chunks));
  const int64_t shared_bytes = policy::chunk_bytes(sizeof(T), warps) + policy::slot_bytes(sizeof(T), slots);
  return launch(jacobian_diagonals<T>, rows, warps * kWarpLanes, shared_bytes, 1, stream, x, probabilities, diagonal, k,
                static_cast<int>(chunks_per_slot));
}

template <class T>
cudaError_t jacobian_entries(const T* probabilities, const T* diagonal, T* out, int64_t k, int64_t first, int64_t last,
                             cudaStream_t stream) {
  const int64_t blocks = policy::ceil_div(elements_past_line(out) + last - first, kJacobianThreads * kEntriesPerThread);
  return launch(jacobian_stream<T>, blocks, kJacobianThreads, 0, 1, stream, probabilities, diagonal, out,
                LongDivisor(k), Divisor(k), first, last - first);
}

template <class T>
int64_t jacobian_workspace(int64_t rows, int64_t k, const DeviceProperties& device) {
  if (k <= kTileJacobianColumns) return 0;
  return 2 * aligned(rows * k * static_cast<int64_t>(sizeof(T))) + rows_workspace<T>(rows, k, device);
}

template <class T>
cudaError_t jacobian(const T* x, T* out, int64_t rows, int64_t k, const DeviceProperties& device, void* workspace,
                     cudaStream_t stream) {
  if (k <= kTileJacobianColumns) {
    const Plan plan = jacobian_plan(rows, k, sizeof(T), device);
    return launch(tile_jacobian<T>, plan.blocks, plan.warps * kWarpLanes, plan.shared_bytes, 1, stream, x, out,
                  Tiling({rows, k, 1}, plan), Divisor(k), plan.lanes_per_row);
  }
  unsigned char* const memory = static_cast<unsigned char*>(workspace);
  const int64_t array_bytes = aligned(rows * k * static_cast<int64_t>(sizeof(T)));
  T* const probabilities = reinterpret_cast<T*>(memory);
  T* const diagonal = reinterpret_cast<T*>(memory + array_bytes);
  const cudaError_t error =
      jacobian_rows(x, probabilities, diagonal, rows, k, device, memory + 2 * array_bytes, stream);
  if (error != cudaSuccess) return error;
  return jacobian_entries(probabilities, diagonal, out, k, 0, rows * k * k, stream);
}

#define SOFTMAX_INSTANTIATE(T)                                                                                 \
  template int64_t jacobian_rows_workspace<T>(int64_t, int64_t, const DeviceProperties&);                      \
  template int64_t jacobian_workspace<T>(int64_t, int64_t, const DeviceProperties&);                           \
  template cudaError_t jacobian(const T*, T*, int64_t, int64_t, const DeviceProperties&, void*, cudaStream_t); \
  template cudaError_t jacobian_rows(const T*, T*, T*, int64_t, int64_t, const DeviceProperties&, void*,       \
                                     cudaStream_t);                                                            \
  template cudaError_t jacobian_entries(const T*, const T*, T*, int64_t, int64_t, int64_t, cudaStream_t);
SOFTMAX_INSTANTIATE(float)
SOFTMAX_INSTANTIATE(double)

}  // namespace softmax_native::cuda
