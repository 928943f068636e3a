// Regime `columns`: rows of more than 1024 elements along another axis than the last. A block, or each block of a
// cluster, holds its chunks of adjacent rows in shared memory, as a tile does shorter ones: read once, in the order of
// the array.
#include "chunk.cuh"
#include "column_tile.cuh"
#include "launch.h"
#include "regimes.h"

namespace softmax_native::cuda {

// A tile of rows, whose chunks are dealt to the blocks of a cluster.
struct TilesOfBlocks {
  ColumnTiles tiles;
  int blocks;
  int chunks;            // of a row
  int chunks_per_block;  // the last block may have fewer, and those after it none

  TilesOfBlocks(Layout layout, const Plan& plan)
      : tiles(layout, plan),
        blocks(plan.blocks_per_row),
        chunks(static_cast<int>(policy::ceil_div(layout.k, kChunk))),
        chunks_per_block(static_cast<int>(plan.chunks_per_block)) {}
};

template <class T>
__global__ void __launch_bounds__(512, 1) column_softmax(const T* x, T* y, TilesOfBlocks deal) {
  const ColumnTile tile(deal.tiles, blockIdx.x / static_cast<unsigned>(deal.blocks));
  const int rank = static_cast<int>(blockIdx.x % static_cast<unsigned>(deal.blocks));
  const int first_chunk = rank * deal.chunks_per_block;
  const int chunks = first_chunk < deal.chunks ? smaller(deal.chunks_per_block, deal.chunks - first_chunk) : 0;
  const int64_t first_column = static_cast<int64_t>(first_chunk) * kChunk;
  const int n = static_cast<int>(smaller(deal.tiles.layout.k - first_column, static_cast<int64_t>(chunks) * kChunk));
  const int rows = tile.rows();

  T* const logits = reinterpret_cast<T*>(shared_memory());
  const int logits_bytes =
      deal.tiles.tile_outer * deal.tiles.tile_inner * deal.tiles.stride * static_cast<int>(sizeof(T));
  // The sums of all chunks of each row, of which every block has a copy, and the row's total.
  PartialSum<T>* const sums = reinterpret_cast<PartialSum<T>*>(shared_memory() + (logits_bytes + 15) / 16 * 16);
  PartialSum<T>* const totals = sums + rows * deal.chunks;
  const auto shift_of_total = [&](int row) { return shift_of_row(totals[row].max); };
  // Calls use(row, chunk of the block's, logits, number of them) for what the warp has to do.
  const auto for_chunks = [&](auto use) {
    for (int task = warp_of_thread(); task < rows * chunks; task += warps_of_block()) {
      const int row = task % rows, chunk = task / rows;
      use(row, chunk, logits + row * deal.tiles.stride + chunk * kChunk, smaller(n - chunk * kChunk, kChunk));
    }
  };

  if (chunks > 0) tile.load(x, logits, first_column, n);
  const BlocksOfRow blocks{deal.blocks};
  blocks.wait_for_all();
  // Nearly every row needs no shift; whether one does is known with the sums, which are then taken again.
  for (bool again = false;; again = true) {
    for_chunks([&](int row, int chunk, const T* of_row, int columns) {
      const T shift = again ? shift_of_total(row) : T(0);
      if (again && shift == T(0)) return;
      blocks.put(sums + row * deal.chunks + first_chunk + chunk, sum_of_shared(of_row, columns, shift));
    });
    blocks.wait_for_all();
    for (int row = warp_of_thread(); row < rows; row += warps_of_block()) {
      const PartialSum<T> total = tree_of_slices(sums + row * deal.chunks, deal.chunks);
      if (lane_of_thread() == 0) totals[row] = total;
    }
    blocks.wait_for_all();
    bool any = false;
    for (int row = 0; row < rows; row++) any = any || shift_of_total(row) != T(0);
    if (again || !any) break;
  }

  for_chunks([&](int row, int, T* of_row, int columns) {
    write_probabilities<T, 1>(of_row, of_row, columns, scale_of(totals[row], shift_of_total(row)));
  });
  __syncthreads();
  if (chunks > 0) tile.store(y, logits, first_column, n);
}

template <class T>
cudaError_t softmax_columns(const T* x, T* y, Layout layout, const Plan& plan, cudaStream_t stream) {
  return launch(column_softmax<T>, plan.blocks, plan.warps * kWarpLanes, plan.shared_bytes, plan.blocks_per_row, stream,
                x, y, TilesOfBlocks(layout, plan));
}

cudaError_t launchable_cluster(const DeviceProperties& device, int wanted, int* blocks) {
  *blocks = 1;
  if (wanted == 1) return cudaSuccess;
  // Of all kernels this one needs the most of a multiprocessor.
  const auto kernel = reinterpret_cast<const void*>(column_softmax<double>);
  const cudaError_t error = allow(kernel, device.shared_per_block, wanted);
  if (error != cudaSuccess) return error;
  cudaLaunchConfig_t config{};
  config.gridDim = dim3(static_cast<unsigned>(wanted));
  config.blockDim = dim3(2 * policy::kWarps * kWarpLanes);
  config.dynamicSmemBytes = static_cast<size_t>(device.shared_per_block);
  int most = 0;
  const cudaError_t asked = cudaOccupancyMaxPotentialClusterSize(&most, kernel, &config);
  if (asked != cudaSuccess) return asked;
  // The policy plans with powers of two.
  while (2 * *blocks <= most && 2 * *blocks <= wanted) *blocks *= 2;
  return cudaSuccess;
}

template cudaError_t softmax_columns(const float*, float*, Layout, const Plan&, cudaStream_t);
template cudaError_t softmax_columns(const double*, double*, Layout, const Plan&, cudaStream_t);

}  // namespace softmax_native::cuda
