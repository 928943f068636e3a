// Regime `tile`: rows of at most 1024 elements, along any axis, in shared memory. Loads and stores run along the array,
// not along the rows, so that neither the length of a row nor its alignment matters; in between, a few lanes work on
// each row.
#include "chunk.cuh"
#include "regimes.h"
#include "rows_in_tiles.cuh"

namespace softmax_native::cuda {

template <class T, int E>
__global__ void __launch_bounds__(256, sizeof(T) == 4 ? 2 : 1)
    tile_softmax(const T* x, T* y, Tiling tiling, Divisor by_k, int lanes_per_row) {
  T* const memory = reinterpret_cast<T*>(shared_memory());
  const Tile tile(tiling, blockIdx.x);
  load_tile(x + tile.first, memory, tiling, tile, 0, by_k);
  __syncthreads();

  const int k = static_cast<int>(by_k.divisor);
  const PartOfWarp lanes{lanes_per_row};
  const int t = static_cast<int>(threadIdx.x) % lanes_per_row;
  const int group = static_cast<int>(threadIdx.x) / lanes_per_row;
  const int groups = static_cast<int>(blockDim.x) / lanes_per_row;
  for (int first = 0; first < tile.rows(); first += groups) {
    // Lanes without a row go along with one of no columns, as exchanges need whole warps.
    const int n = first + group < tile.rows() ? k : 0;
    T* const row = memory + (n > 0 ? first + group : 0) * tiling.stride;
    Columns<T, 1, E, PartOfWarp> columns;
    columns.load(row, n, t, lanes);
    const T max = columns.max(lanes);
    const T shift = shift_of(max);
    const PartialSum<T> sum = columns.sum(k, max, shift, lanes);
    columns.write(row, n, t, scale_of(sum, shift), sum.exponent, sum.exponent, false, lanes);
  }

  __syncthreads();
  store_tile(y + tile.first, memory, tiling, tile, 0, by_k);
}

template <class T>
cudaError_t softmax_tile(const T* x, T* y, Layout layout, const Plan& plan, cudaStream_t stream) {
  const auto kernel = plan.elements == 8    ? tile_softmax<T, 8>
                      : plan.elements == 16 ? tile_softmax<T, 16>
                                            : tile_softmax<T, 32>;
  return launch(kernel, plan.blocks, plan.warps * kWarpLanes, plan.shared_bytes, 1, stream, x, y, Tiling(layout, plan),
                Divisor(layout.k), plan.lanes_per_row);
}

template cudaError_t softmax_tile(const float*, float*, Layout, const Plan&, cudaStream_t);
template cudaError_t softmax_tile(const double*, double*, Layout, const Plan&, cudaStream_t);

}  // namespace softmax_native::cuda
