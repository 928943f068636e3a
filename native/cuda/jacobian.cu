// The Jacobian of softmax, J_ij = p_i (delta_ij - p_j), written as one flat stream of 16-byte stores: neighbouring
// threads write neighbouring vectors from one end of a block's span to the other, whatever k is, so that all lines but
// the span's outermost are written whole.
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

template <class T>
__device__ __forceinline__ T jacobian_entry(T p_i, T p_j, bool on_diagonal, T diagonal) {
  if (p_i != p_i) return canonical_nan<T>();
  return on_diagonal ? diagonal : jacobian_off_diagonal(jacobian_scale_up(p_i), p_j);
}

// Short rows: a tile of them, first as logits and then as probabilities, in shared memory, with their diagonals.
template <class T>
__global__ void __launch_bounds__(256, 1)
    tile_jacobian(const T* x, T* out, bool in_vectors, Tiling tiling, Divisor by_k, int lanes_per_row) {
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

  constexpr int V = kVector<T>;
  out += tile.first * k;
  const uint32_t entries = static_cast<uint32_t>(tile.rows() * k) * by_k.divisor;
  for (uint32_t e = threadIdx.x * V; e < entries; e += blockDim.x * V) {
    uint32_t line, row, i, j;
    by_k.divide(e, &line, &j);
    by_k.divide(line, &row, &i);
    const T* p = memory + static_cast<int>(row) * tiling.stride;
    const T* diagonal = diagonals + static_cast<int>(row) * tiling.stride;
    Vector<T, V> vector;
#pragma unroll
    for (int u = 0; u < V; u++) {
      if (u == 0 || e + static_cast<uint32_t>(u) < entries)
        vector.element[u] = jacobian_entry(p[i], p[j], i == j, diagonal[i]);
      if (++j < by_k.divisor) continue;
      j = 0;
      if (++i < by_k.divisor) continue;
      i = 0;
      p += tiling.stride;
      diagonal += tiling.stride;
    }
    if (in_vectors && e + V <= entries) {
      *reinterpret_cast<Vector<T, V>*>(out + e) = vector;
    } else {
#pragma unroll
      for (int u = 0; u < V; u++) {
        if (e + static_cast<uint32_t>(u) < entries) out[e + static_cast<uint32_t>(u)] = vector.element[u];
      }
    }
  }
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

template <class T>
__global__ void __launch_bounds__(256, 1)
    jacobian_stream(const T* probabilities, const T* diagonal, T* out, bool in_vectors, LongDivisor by_k, int64_t first,
                    int64_t entries) {
  constexpr int V = kVector<T>;
  const int64_t span = static_cast<int64_t>(blockDim.x) * kEntriesPerThread;
  const int64_t begin = blockIdx.x * span;
  const int64_t end = smaller(begin + span, entries);
  for (int64_t e = begin + static_cast<int64_t>(threadIdx.x) * V; e < end; e += static_cast<int64_t>(blockDim.x) * V) {
    // Entry (n, i, j) is number line * k + j, where the line n * k + i is also the place of p_i.
    uint64_t j, i;
    uint64_t line = by_k.divide(static_cast<uint64_t>(first + e), &j);
    const T* p = probabilities + by_k.divide(line, &i) * by_k.divisor;
    T p_i = p[i], diagonal_i = diagonal[line];
    Vector<T, V> vector;
#pragma unroll
    for (int u = 0; u < V; u++) {
      if (e + u < end) vector.element[u] = jacobian_entry(p_i, p[j], i == j, diagonal_i);
      if (++j < by_k.divisor || e + u + 1 >= end) continue;
      j = 0;
      line++;
      if (++i == by_k.divisor) {
        i = 0;
        p += by_k.divisor;
      }
      p_i = p[i];
      diagonal_i = diagonal[line];
    }
    if (in_vectors && e + V <= end) {
      *reinterpret_cast<Vector<T, V>*>(out + e) = vector;
    } else {
#pragma unroll
      for (int u = 0; u < V; u++) {
        if (e + u < end) out[e + u] = vector.element[u];
      }
    }
  }
}

template <class T>
static bool starts_at_vector(const T* p) {
  return reinterpret_cast<uintptr_t>(p) % 16 == 0;
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
  const int64_t blocks = policy::ceil_div(last - first, kJacobianThreads * kEntriesPerThread);
  return launch(jacobian_stream<T>, blocks, kJacobianThreads, 0, 1, stream, probabilities, diagonal, out,
                starts_at_vector(out), LongDivisor(k), first, last - first);
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
    const bool in_vectors = starts_at_vector(out) && plan.tile_outer * k * k % kVector<T> == 0;
    return launch(tile_jacobian<T>, plan.blocks, plan.warps * kWarpLanes, plan.shared_bytes, 1, stream, x, out,
                  in_vectors, Tiling({rows, k, 1}, plan), Divisor(k), plan.lanes_per_row);
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
