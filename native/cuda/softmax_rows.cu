// Regimes `warp`, `block` and `cluster`: a contiguous row in registers, each chunk of it in one warp. One read, one
// write. Float32 only: the registers would not hold float64 with its exponentials.
//
// Where the plan says `staged`, the blocks of `block` and `cluster` stay for as many rows as there are: a row's logits
// come through shared memory, and the next row's are on their way there while a row is summed and written, so that the
// memory is as busy then as while a block waits for its loads. Other blocks take one row, straight to registers.
#include "regimes.h"
#include "row_sum.cuh"

namespace softmax_native::cuda {

template <int E>
__global__ void __launch_bounds__(128, E == 16 ? 8 : 4) warp_softmax(const float* x, float* y, int64_t rows, int k) {
  const int64_t row = static_cast<int64_t>(blockIdx.x) * warps_of_block() + warp_of_thread();
  if (row >= rows) return;
  const int t = lane_of_thread();
  Columns<float, kVector<float>, E> columns;
  columns.load(x + row * k, k, t);
  const float max = columns.max();
  const float shift = shift_of(max);
  const PartialSum<float> sum = columns.sum(k, max, shift);
  columns.write(y + row * k, k, t, scale_of(sum, shift));
}

// A chunk of a row, held by one warp of the block or the cluster that has the row.
struct ChunkOfRow {
  const float* x;
  float* y;
  PartialSum<float>* sums;  // in shared memory, of which every block of a cluster has a copy
  int chunks;               // of the row
  int chunk;
  int n;  // columns of it: the last warps of a cluster may have none
  BlocksOfRow blocks;

  // The row's sum from those of all its chunks, of which this warp's is `sum`.
  __device__ __forceinline__ PartialSum<float> total_with(PartialSum<float> sum) const {
    if (chunk < chunks) blocks.put(sums + chunk, sum);
    blocks.wait_for_all();
    return tree_of_array(sums, chunks, sums + chunks);
  }
};

// The sum of the chunk's n columns in registers, with no shift, in every lane. The terms take the logits' place.
template <int V>
__device__ __forceinline__ PartialSum<float> sum_of_columns(Columns<float, V, 32>& columns, int n) {
  ChunkSum<float, V, WholeWarp> sum(columns.max(), 0.0f);
  add_columns(sum, columns, n, [&](int u, Pair<float> term) {
    columns.head[u] = term.head;
    columns.tail[u] = term.tail;
  });
  return sum.total(WholeWarp());
}

// Writes the probabilities of the terms in registers, which are divided by the sum under the row's reference as they
// are taken to it: a power of two in `inverse`.
template <int V>
__device__ __forceinline__ void write_terms(const Columns<float, V, 32>& columns, float* y, int n_of_chunk,
                                            Pair<float> inverse) {
  auto* const to = reinterpret_cast<Vector<float, V>*>(y) + lane_of_thread();
  const int n = n_of_chunk - lane_of_thread() * V;
#pragma unroll
  for (int first = 0; first < 32; first += kStep) {
    Vector<float, V> vectors[kStep / V];
#pragma unroll
    for (int i = 0; i < kStep; i++) {
      const Pair<float> term{columns.head[first + i], columns.tail[first + i]};
      vectors[i / V].element[i % V] = probability(term, inverse);
    }
    const auto store = [&](int v) { to[(first / V + v) * kWarpLanes] = vectors[v]; };
    if ((first + kStep) * kWarpLanes <= n_of_chunk) {
#pragma unroll
      for (int v = 0; v < kStep / V; v++) store(v);
    } else {
#pragma unroll
      for (int v = 0; v < kStep / V; v++) {
        if ((first + v * V) * kWarpLanes < n) store(v);
      }
      break;
    }
  }
}

// Terms this far below their row's reference (a power of two) are divided exactly as write_terms does: all of the
// smallest product's bits are in the normal range (reciprocal leaves out a second half below 2^-40 of the first, which
// is 2^-31 or more). Chunks below that are rare.
constexpr float kFarBelow = -40.0f;

// The probabilities of such a chunk, or of a row that has none, from memory. Not a part of the kernel's own code, whose
// registers it would cost.
template <int V>
__device__ SOFTMAX_NOINLINE void write_from_memory(const float* x, float* y, int n, RowScale<float> scale) {
  write_probabilities<float, V>(x, y, n, scale);
}

// Rows that need a shift are summed again, from memory and 8 columns a lane at a time.
template <int V>
__device__ SOFTMAX_NOINLINE void shifted_block_softmax(ChunkOfRow mine, float shift) {
  mine.blocks.wait_for_all();  // all have read the first sums before they change
  const int t = lane_of_thread();
  Columns<float, V, kGroup> columns;
  float max = -infinity<float>();
#pragma unroll 1
  for (int first = 0; first < mine.n; first += kLanes) {
    columns.load(mine.x + first, mine.n - first, t);
    max = larger_logit(columns.max(), max);
  }
  ChunkSum<float, V, WholeWarp> sum(max, shift);
#pragma unroll 1
  for (int first = 0; first < mine.n; first += kLanes) {
    columns.load(mine.x + first, mine.n - first, t);
    sum.add(columns.head, Columns<float, V, kGroup>::registers_of(mine.n - first, WholeWarp()),
            [](int, Pair<float>) {});
  }
  const PartialSum<float> total = mine.total_with(sum.total(WholeWarp()));
  write_probabilities<float, V>(mine.x, mine.y, mine.n, scale_of(total, shift));
}

// How rows are dealt to the launch's blocks.
struct RowsOfLaunch {
  int k;
  int rows;
  int at_once;  // blocks, or clusters, of the launch
  int blocks_per_row;
  int chunks;   // of a row
  int slots;    // for the sums of one row's chunks and the tree over them
  bool staged;  // logits come through shared memory where the device has asynchronous copies
};

template <int V>
__global__ void __launch_bounds__(512, 1) block_softmax(const float* x, float* y, RowsOfLaunch deal) {
  int row = static_cast<int>(blockIdx.x / static_cast<unsigned>(deal.blocks_per_row));
  const int rank = static_cast<int>(blockIdx.x % static_cast<unsigned>(deal.blocks_per_row));
  const int chunk = rank * warps_of_block() + warp_of_thread();
  const int first = chunk * kChunk;
  const int n = chunk < deal.chunks ? smaller(deal.k - first, kChunk) : 0;
  const BlocksOfRow blocks{deal.blocks_per_row};
  // Every other row has its sums in the same place: while some warps still read those of one, others put the next.
  auto* const sums = reinterpret_cast<PartialSum<float>*>(shared_memory());
  auto* const logits = reinterpret_cast<float*>(sums + 2 * deal.slots);
  const StagedChunk<V> staged{logits + warp_of_thread() * policy::kStagedColumns};

  if (has_async_copies() && deal.staged) {
    staged.clear();
    staged.start(x + static_cast<int64_t>(row) * deal.k + first, n);
  }
  blocks.wait_for_start();
  for (int first_slot = 0; row < deal.rows; row += deal.at_once, first_slot = deal.slots - first_slot) {
    const int64_t offset = static_cast<int64_t>(row) * deal.k + first;
    const ChunkOfRow mine{x + offset, y + offset, sums + first_slot, deal.chunks, chunk, n, blocks};
    Columns<float, V, 32> columns;
    if (has_async_copies() && deal.staged) {
      staged.load(columns, mine.x);
      if (deal.at_once < deal.rows - row) staged.start(mine.x + static_cast<int64_t>(deal.at_once) * deal.k, n);
    } else {
      columns.load(mine.x, n, lane_of_thread());
    }
    // Nearly every row needs no shift. Whether one does is known with the sums.
    const PartialSum<float> sum = sum_of_columns<V>(columns, n);
    const PartialSum<float> total = mine.total_with(sum);
    const float shift = shift_of_row(total.max);
    if (shift != 0.0f) {
      shifted_block_softmax<V>(mine, shift);
      continue;
    }
    const RowScale<float> scale = scale_of(total, 0.0f);
    const float exponent = sum.exponent - total.exponent;
    if (scale.regular && exponent >= kFarBelow) {
      const float factor = power_of_two(exponent);
      write_terms<V>(columns, mine.y, n, {scale.inverse.head * factor, scale.inverse.tail * factor});
    } else {
      write_from_memory<V>(mine.x, mine.y, n, scale);
    }
  }
}

cudaError_t softmax_warp(const float* x, float* y, int64_t rows, int64_t k, const Plan& plan, cudaStream_t stream) {
  const auto kernel = plan.elements == 16 ? warp_softmax<16> : warp_softmax<32>;
  return launch(kernel, plan.blocks, plan.warps * kWarpLanes, 0, 1, stream, x, y, rows, static_cast<int>(k));
}

template <int V>
static cudaError_t launch_block(const float* x, float* y, int64_t rows, int64_t k, const Plan& plan,
                                cudaStream_t stream) {
  if (rows > INT32_MAX) return cudaErrorInvalidConfiguration;
  const int threads = plan.warps * kWarpLanes;
  int64_t blocks = plan.blocks;
  if (plan.blocks_per_row > 1 && blocks < rows * plan.blocks_per_row) {
    // A cluster keeps to a group of multiprocessors, in which there may be room for fewer than the plan counts on; rows
    // of those that started only when others ended would come late.
    int clusters = 0;
    const cudaError_t error =
        resident_clusters(block_softmax<V>, blocks, threads, plan.shared_bytes, plan.blocks_per_row, &clusters);
    if (error != cudaSuccess) return error;
    if (clusters > 0) blocks = policy::least(blocks, static_cast<int64_t>(clusters) * plan.blocks_per_row);
  }
  const int64_t chunks = policy::ceil_div(k, kChunk);
  RowsOfLaunch deal{};
  deal.k = static_cast<int>(k);
  deal.rows = static_cast<int>(rows);
  deal.at_once = static_cast<int>(blocks / plan.blocks_per_row);
  deal.blocks_per_row = plan.blocks_per_row;
  deal.chunks = static_cast<int>(chunks);
  deal.slots = static_cast<int>(policy::slots_with_tree(chunks));
  deal.staged = plan.staged;
  return launch(block_softmax<V>, blocks, threads, plan.shared_bytes, plan.blocks_per_row, stream, x, y, deal);
}

cudaError_t softmax_block(const float* x, float* y, int64_t rows, int64_t k, const Plan& plan, cudaStream_t stream) {
  return has_vectors(x, k) && has_vectors(y, k) ? launch_block<kVector<float>>(x, y, rows, k, plan, stream)
                                                : launch_block<1>(x, y, rows, k, plan, stream);
}

}  // namespace softmax_native::cuda
