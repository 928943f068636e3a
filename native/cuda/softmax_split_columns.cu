// Regime `split columns`: long rows along another axis than the last that the chip does not hold, or which are few. A
// block takes as many adjacent ones as one transaction reads together, through tiles of one chunk of each in shared
// memory, a warp for each row; rows are cut into slices as in the regime `split`, with the same three launches.
#include "chunk.cuh"
#include "column_tile.cuh"
#include "regimes.h"

namespace softmax_native::cuda {

struct ColumnSlices {
  ColumnTiles tiling;
  int64_t chunks_per_slice;
  unsigned slices;  // of a row
  unsigned tiles;   // neighbours among which work at the same time: they share lines

  __device__ __forceinline__ uint32_t tile() const { return blockIdx.x % tiles; }
  __device__ __forceinline__ uint32_t slice() const { return blockIdx.x / tiles; }
  __device__ __forceinline__ int64_t first_chunk() const { return slice() * chunks_per_slice; }
  __device__ __forceinline__ int64_t chunks() const { return (tiling.layout.k + kChunk - 1) / kChunk; }
  __device__ __forceinline__ int64_t last_chunk() const { return smaller(first_chunk() + chunks_per_slice, chunks()); }
  __device__ __forceinline__ int columns_of(int64_t chunk) const {
    return static_cast<int>(smaller(tiling.layout.k - chunk * kChunk, static_cast<int64_t>(kChunk)));
  }
  // The place of a row's sums: those of all its slices are adjacent.
  __device__ __forceinline__ int64_t sums_of(int row) const {
    return (static_cast<int64_t>(tile()) * tiling.tile_outer * tiling.tile_inner + row) * slices;
  }
};

// `again`: of the slices of rows that need a shift.
template <class T>
__global__ void __launch_bounds__(256, 1)
    column_sums(const T* x, PartialSum<T>* sums, ColumnSlices slices, bool again) {
  T* const memory = reinterpret_cast<T*>(shared_memory());
  const ColumnTile tile(slices.tiling, slices.tile());
  const int t = lane_of_thread(), row = warp_of_thread();
  const bool has_row = row < tile.rows();
  PartialSum<T>* const of_row = sums + slices.sums_of(row);

  T shift = T(0);
  if (again) {
    // Every warp looks at all rows of the tile, so that all agree on whether there is anything to do.
    bool any = false;
    for (int r = 0; r < tile.rows(); r++) {
      const T shift_of_row = shift_of_slices(sums + slices.sums_of(r), static_cast<int>(slices.slices));
      if (shift_of_row != T(0)) any = true;
      if (r == row) shift = shift_of_row;
    }
    if (!any) return;
  }

  WarpTree<T> tree;
  for (int64_t chunk = slices.first_chunk(); chunk < slices.last_chunk(); chunk++) {
    const int n = slices.columns_of(chunk);
    tile.load(x, memory, chunk * kChunk, n);
    __syncthreads();
    if (has_row) tree.push(sum_of_shared(memory + row * slices.tiling.stride, n, shift));
    __syncthreads();
  }
  const PartialSum<T> total = tree.total();
  if (!has_row || t != 0 || (again && shift == T(0))) return;
  PartialSum<T>& mine = of_row[slices.slice()];
  // The maximum stays what it is, as other blocks may be reading it.
  if (!again) mine.max = total.max;
  mine.exponent = total.exponent;
  mine.head = total.head;
  mine.tail = total.tail;
}

template <class T>
__global__ void __launch_bounds__(256, 1)
    column_probabilities(const T* x, T* y, const PartialSum<T>* sums, ColumnSlices slices) {
  T* const memory = reinterpret_cast<T*>(shared_memory());
  const ColumnTile tile(slices.tiling, slices.tile());
  const int row = warp_of_thread();
  const bool has_row = row < tile.rows();

  PartialSum<T> total = no_columns<T>();
  if (has_row) total = tree_of_slices(sums + slices.sums_of(row), static_cast<int>(slices.slices));
  const RowScale<T> scale = scale_of(total, shift_of_row(total.max));
  for (int64_t chunk = slices.first_chunk(); chunk < slices.last_chunk(); chunk++) {
    const int n = slices.columns_of(chunk);
    tile.load(x, memory, chunk * kChunk, n);
    __syncthreads();
    if (has_row) {
      T* const column = memory + row * slices.tiling.stride;
      write_probabilities<T, 1>(column, column, n, scale);
    }
    __syncthreads();
    tile.store(y, memory, chunk * kChunk, n);
    __syncthreads();
  }
}

template <class T>
cudaError_t softmax_split_columns(const T* x, T* y, Layout layout, const Plan& plan, void* workspace,
                                  cudaStream_t stream) {
  const auto sums = static_cast<PartialSum<T>*>(workspace);
  const ColumnSlices slices{ColumnTiles(layout, plan), plan.chunks_per_block, static_cast<unsigned>(plan.slices),
                            static_cast<unsigned>(plan.blocks / plan.slices)};
  const int threads = plan.warps * kWarpLanes;
  cudaError_t error =
      launch(column_sums<T>, plan.blocks, threads, plan.shared_bytes, 1, stream, x, sums, slices, false);
  if (error != cudaSuccess) return error;
  error = launch(column_sums<T>, plan.blocks, threads, plan.shared_bytes, 1, stream, x, sums, slices, true);
  if (error != cudaSuccess) return error;
  return launch(column_probabilities<T>, plan.blocks, threads, plan.shared_bytes, 1, stream, x, y, sums, slices);
}

template cudaError_t softmax_split_columns(const float*, float*, Layout, const Plan&, void*, cudaStream_t);
template cudaError_t softmax_split_columns(const double*, double*, Layout, const Plan&, void*, cudaStream_t);

}  // namespace softmax_native::cuda
