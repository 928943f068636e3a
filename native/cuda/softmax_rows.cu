// Regimes `warp`, `block` and `cluster`: a contiguous row in registers, each chunk of it in one warp. One read, one
// write. Float32 only: the registers would not hold float64 with its exponentials.
#include "chunk.cuh"
#include "regimes.h"

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
  columns.write(y + row * k, k, t, scale_of(sum, shift), sum.exponent, sum.exponent, false);
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

// Rows that need a shift are summed again, from memory and 8 columns a lane at a time. Not a part of the kernel's own
// code, whose registers it would cost.
template <int V>
__device__ __noinline__ void shifted_block_softmax(ChunkOfRow mine, float shift) {
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

template <int V>
__global__ void __launch_bounds__(256, 2) block_softmax(const float* x, float* y, int64_t k, int blocks_per_row) {
  const int64_t row = blockIdx.x / static_cast<unsigned>(blocks_per_row);
  const int rank = static_cast<int>(blockIdx.x % static_cast<unsigned>(blocks_per_row));
  const int chunk = rank * warps_of_block() + warp_of_thread();
  const int64_t first = static_cast<int64_t>(chunk) * kChunk;
  const int n = static_cast<int>(first < k ? smaller(k - first, static_cast<int64_t>(kChunk)) : 0);
  const ChunkOfRow mine{x + row * k + first,
                        y + row * k + first,
                        reinterpret_cast<PartialSum<float>*>(shared_memory()),
                        static_cast<int>((k + kChunk - 1) / kChunk),
                        chunk,
                        n,
                        {blocks_per_row}};
  const int t = lane_of_thread();
  Columns<float, V, 32> columns;
  columns.load(mine.x, n, t);
  mine.blocks.wait_for_start();
  // Nearly every row needs no shift. Whether one does is known with the sums.
  const PartialSum<float> sum = columns.sum(n, columns.max(), 0.0f);
  const PartialSum<float> total = mine.total_with(sum);
  const float shift = is_finite(total.max) ? shift_of(total.max) : 0.0f;
  if (shift != 0.0f) return shifted_block_softmax<V>(mine, shift);
  columns.write(mine.y, n, t, scale_of(total, 0.0f), total.exponent, sum.exponent, true);
}

cudaError_t softmax_warp(const float* x, float* y, int64_t rows, int64_t k, const Plan& plan, cudaStream_t stream) {
  const auto kernel = plan.elements == 16 ? warp_softmax<16> : warp_softmax<32>;
  return launch(kernel, plan.blocks, plan.warps * kWarpLanes, 0, 1, stream, x, y, rows, static_cast<int>(k));
}

cudaError_t softmax_block(const float* x, float* y, int64_t k, const Plan& plan, cudaStream_t stream) {
  const auto kernel = has_vectors(x, k) && has_vectors(y, k) ? block_softmax<kVector<float>> : block_softmax<1>;
  return launch(kernel, plan.blocks, plan.warps * kWarpLanes, plan.shared_bytes, plan.blocks_per_row, stream, x, y, k,
                plan.blocks_per_row);
}

}  // namespace softmax_native::cuda
