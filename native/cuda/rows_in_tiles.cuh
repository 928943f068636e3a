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

// The elements that a thread meets of the columns [column, column + n) of all rows of a tile: in the order of the array
// every blockDim.x-th. Divisions find the first; from there on it steps. Rows that lie whole one after the other need
// less for a step.
template <bool contiguous>
class TileWalk {
 public:
  __device__ __forceinline__ TileWalk(const Tiling& tiling, const Tile& tile, int64_t column, Divisor by_n)
      : e_(threadIdx.x), n_(by_n.divisor) {
    const int64_t k = tiling.layout.k, inner = tiling.layout.inner;
    uint32_t line = threadIdx.x, lines = blockDim.x, i = 0, i_step = 0, o, o_step;
    if (!contiguous) {
      tiling.by_tile_inner.divide(threadIdx.x, &line, &i);
      tiling.by_tile_inner.divide(blockDim.x, &lines, &i_step);
    }
    by_n.divide(line, &o, &j_);
    by_n.divide(lines, &o_step, &j_step_);
    const auto columns = static_cast<uint32_t>(contiguous ? 1 : tile.inner);
    place_ = static_cast<int>(o * columns + i) * tiling.stride + static_cast<int>(j_);
    place_step_ = static_cast<int>(o_step * columns + i_step) * tiling.stride + static_cast<int>(j_step_);
    place_to_rows_ = static_cast<int>(columns) * tiling.stride - static_cast<int>(n_);
    end_ = static_cast<uint32_t>(tile.outer) * n_;
    if (contiguous) return;
    i_ = i;
    i_step_ = i_step;
    columns_ = columns;
    width_ = static_cast<uint32_t>(tiling.tile_inner);
    end_ *= width_;
    place_to_line_ = 1 - tiling.tile_inner * tiling.stride;
    offset_ = (o * k + column + j_) * inner + i;
    offset_step_ = (o_step * k + j_step_) * inner + i_step;
    offset_to_line_ = inner - tiling.tile_inner;
    offset_to_rows_ = (k - n_) * inner;
  }

  __device__ __forceinline__ bool ends() const { return e_ >= end_; }
  // At the array's end a tile has fewer columns than the walk goes over.
  __device__ __forceinline__ bool is_inside() const { return e_ < end_ && (contiguous || i_ < columns_); }
  // From the tile's first element of column 0.
  __device__ __forceinline__ int64_t offset() const { return contiguous ? e_ : offset_; }
  // In shared memory.
  __device__ __forceinline__ int place() const { return place_; }

  __device__ __forceinline__ void step() {
    e_ += blockDim.x;
    place_ += place_step_;
    j_ += j_step_;
    if (!contiguous) {
      offset_ += offset_step_;
      i_ += i_step_;
      // Past the last of the adjacent columns comes the next element of the first one.
      if (i_ >= width_) {
        i_ -= width_;
        j_++;
        place_ += place_to_line_;
        offset_ += offset_to_line_;
      }
    }
    // Past element n of these rows come the next rows.
    if (j_ >= n_) {
      j_ -= n_;
      place_ += place_to_rows_;
      if (!contiguous) offset_ += offset_to_rows_;
    }
  }

 private:
  uint32_t e_, end_;  // counted as if every tile had all its columns
  uint32_t j_, j_step_, n_;
  int place_, place_step_, place_to_rows_;
  // Of rows that are not contiguous:
  uint32_t i_, i_step_, width_, columns_;
  int place_to_line_;
  int64_t offset_, offset_step_, offset_to_line_, offset_to_rows_;
};

// Calls before(u, offset, place) and then after(...) for the elements of a walk, `at_once` of them at a time.
template <int at_once, class Walk, class Before, class After>
__device__ __forceinline__ void for_walk(Walk walk, Before before, After after) {
  while (!walk.ends()) {
    int64_t offset[at_once];
    int place[at_once];
    bool inside[at_once];
#pragma unroll
    for (int u = 0; u < at_once; u++) {
      inside[u] = walk.is_inside();
      offset[u] = walk.offset();
      place[u] = walk.place();
      if (inside[u]) before(u, offset[u], place[u]);
      walk.step();
    }
#pragma unroll
    for (int u = 0; u < at_once; u++) {
      if (inside[u]) after(u, offset[u], place[u]);
    }
  }
}

// The same for a part of a tile; the block's threads share the work.
template <int at_once, class Before, class After>
__device__ __forceinline__ void for_tile(const Tiling& tiling, const Tile& tile, int64_t column, Divisor by_n,
                                         Before before, After after) {
  if (tiling.layout.inner == 1 && tiling.layout.k == by_n.divisor) {
    for_walk<at_once>(TileWalk<true>(tiling, tile, column, by_n), before, after);
  } else {
    for_walk<at_once>(TileWalk<false>(tiling, tile, column, by_n), before, after);
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
