// A tile: adjacent rows in a block's shared memory, row after row, whatever the axis they lie along.
#pragma once

#include "device.cuh"

namespace softmax_native::cuda {

// The rows (o, i) with o in [outer, outer + tile_outer) and i in [inner, inner + tile_inner), cut off at the array's
// end. Global memory is read and written along `inner`, so that adjacent lanes meet adjacent elements; for contiguous
// rows (inner = 1) along the rows themselves, across their ends: how long a row is and where it starts does not matter.
struct Tiling {
  Layout layout;
  int tile_outer;
  int tile_inner;
  int stride;
  uint32_t inner_tiles;
  Divisor by_tile_inner;

  explicit Tiling(Layout array, const Plan& plan)
      : layout(array),
        tile_outer(static_cast<int>(plan.tile_outer)),
        tile_inner(static_cast<int>(plan.tile_inner)),
        stride(static_cast<int>(plan.stride)),
        inner_tiles(static_cast<uint32_t>(policy::ceil_div(array.inner, plan.tile_inner))),
        by_tile_inner(plan.tile_inner) {}
};

struct Tile {
  int64_t first;  // offset of element 0 of the first row
  int outer;      // how many there are
  int inner;

  __device__ __forceinline__ Tile(const Tiling& tiling, uint32_t index) {
    const int64_t o = static_cast<int64_t>(index / tiling.inner_tiles) * tiling.tile_outer;
    const int64_t i = static_cast<int64_t>(index % tiling.inner_tiles) * tiling.tile_inner;
    outer = static_cast<int>(smaller(tiling.layout.outer - o, static_cast<int64_t>(tiling.tile_outer)));
    inner = static_cast<int>(smaller(tiling.layout.inner - i, static_cast<int64_t>(tiling.tile_inner)));
    first = o * tiling.layout.k * tiling.layout.inner + i;
  }

  __device__ __forceinline__ int rows() const { return outer * inner; }
};

// Calls use(offset in the array from the tile's first element, place in shared memory) for the columns
// [column, column + n) of all rows of a tile; the block's threads share the work, each taking several elements at once.
template <int at_once, class Before, class After>
__device__ __forceinline__ void for_tile(const Tiling& tiling, const Tile& tile, int64_t column, Divisor by_n,
                                         Before before, After after) {
  const uint32_t n = by_n.divisor;
  const uint32_t total = static_cast<uint32_t>(tile.outer) * n * static_cast<uint32_t>(tiling.tile_inner);
  for (uint32_t base = threadIdx.x; base < total; base += at_once * blockDim.x) {
    int64_t offset[at_once];
    int place[at_once];
#pragma unroll
    for (int u = 0; u < at_once; u++) {
      const uint32_t e = base + static_cast<uint32_t>(u) * blockDim.x;
      uint32_t line, i, o, j;
      tiling.by_tile_inner.divide(e, &line, &i);
      by_n.divide(line, &o, &j);
      const bool inside = e < total && static_cast<int>(i) < tile.inner;
      place[u] = inside
                     ? static_cast<int>(o * static_cast<uint32_t>(tile.inner) + i) * tiling.stride + static_cast<int>(j)
                     : -1;
      offset[u] = (o * tiling.layout.k + column + j) * tiling.layout.inner + i;
      if (inside) before(u, offset[u], place[u]);
    }
#pragma unroll
    for (int u = 0; u < at_once; u++) {
      if (place[u] >= 0) after(u, offset[u], place[u]);
    }
  }
}

// Reads a tile into shared memory, where it is once all threads of the block have come to a barrier. x points to the
// tile's first element. All elements are on their way at a time, or 8 a thread where copies go through registers.
template <class T>
__device__ __forceinline__ void load_tile(const T* x, T* memory, const Tiling& tiling, const Tile& tile, int64_t column,
                                          Divisor by_n) {
  if (has_async_copies()) {
    for_tile<1>(
        tiling, tile, column, by_n, [](int, int64_t, int) {},
        [&](int, int64_t offset, int place) { start_copy(memory + place, x + offset); });
    end_group_of_copies();
    wait_for_copies(0);
    return;
  }
  T loaded[policy::kTileLoads];
  for_tile<policy::kTileLoads>(
      tiling, tile, column, by_n, [&](int u, int64_t offset, int) { loaded[u] = x[offset]; },
      [&](int u, int64_t, int place) { memory[place] = loaded[u]; });
}

template <class T>
__device__ __forceinline__ void store_tile(T* y, const T* memory, const Tiling& tiling, const Tile& tile,
                                           int64_t column, Divisor by_n) {
  for_tile<4>(
      tiling, tile, column, by_n, [](int, int64_t, int) {},
      [&](int, int64_t offset, int place) { y[offset] = memory[place]; });
}

}  // namespace softmax_native::cuda
