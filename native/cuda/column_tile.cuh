// Adjacent rows along another axis than the last, in a block's shared memory, row after row.
#pragma once

#include "device.cuh"

namespace softmax_native::cuda {

// How rows are dealt to tiles: those (o, i) with o in [outer, outer + tile_outer) and i in [inner, inner + tile_inner),
// cut off at the array's end.
struct ColumnTiles {
  Layout layout;
  int tile_outer;
  int tile_inner;
  int stride;  // in shared memory, from row to row
  uint32_t inner_tiles;

  ColumnTiles(Layout array, const Plan& plan)
      : layout(array),
        tile_outer(static_cast<int>(plan.tile_outer)),
        tile_inner(static_cast<int>(plan.tile_inner)),
        stride(static_cast<int>(plan.stride)),
        inner_tiles(static_cast<uint32_t>(policy::ceil_div(array.inner, plan.tile_inner))) {}
};

// One of them, with a thread's part in its copies: elements of one inner row, so that adjacent threads meet adjacent
// elements and each of a thread's elements is found from the one before.
class ColumnTile {
 public:
  __device__ __forceinline__ ColumnTile(const ColumnTiles& tiles, uint32_t index)
      : k_(tiles.layout.k), array_inner_(tiles.layout.inner), stride_(tiles.stride) {
    const int64_t o = static_cast<int64_t>(index / tiles.inner_tiles) * tiles.tile_outer;
    const int64_t i = static_cast<int64_t>(index % tiles.inner_tiles) * tiles.tile_inner;
    outer_ = static_cast<int>(smaller(tiles.layout.outer - o, static_cast<int64_t>(tiles.tile_outer)));
    inner_ = static_cast<int>(smaller(tiles.layout.inner - i, static_cast<int64_t>(tiles.tile_inner)));
    lines_ = static_cast<int>(blockDim.x) / inner_;
    line_ = static_cast<int>(threadIdx.x) / inner_;
    row_ = static_cast<int>(threadIdx.x) % inner_;
    first_ = o * k_ * array_inner_ + i + row_;
  }

  __device__ __forceinline__ int rows() const { return outer_ * inner_; }

  // Copies elements [column, column + n) of all rows to shared memory, by all threads of the block. They are there when
  // all have come to a barrier.
  template <class T>
  __device__ __forceinline__ void load(const T* x, T* memory, int64_t column, int n) const {
    for_outer(column, n, [&](int64_t offset, int place) {
      const T* from = x + offset;
      T* to = memory + place;
      if (!has_async_copies()) {
        copy<policy::kTileLoads>(from, step(), to, lines_, n);
        return;
      }
      int j = line_;
      for (; j + 3 * lines_ < n; j += 4 * lines_) {
#pragma unroll
        for (int u = 0; u < 4; u++, from += step(), to += lines_) start_copy(to, from);
      }
      for (; j < n; j += lines_, from += step(), to += lines_) start_copy(to, from);
    });
    end_group_of_copies();
    wait_for_copies(0);
  }

  // The way back.
  template <class T>
  __device__ __forceinline__ void store(T* y, const T* memory, int64_t column, int n) const {
    for_outer(column, n, [&](int64_t offset, int place) { copy<4>(memory + place, lines_, y + offset, step(), n); });
  }

 private:
  // From one of a thread's elements to the next.
  __device__ __forceinline__ int64_t step() const { return lines_ * array_inner_; }

  // Calls use(offset, place) with the thread's first element of each outer row, in the array and in shared memory.
  template <class Use>
  __device__ __forceinline__ void for_outer(int64_t column, int n, Use use) const {
    // Fewer threads than a line has elements are left over.
    if (line_ >= smaller(n, lines_)) return;
    for (int o = 0; o < outer_; o++) {
      use(first_ + (o * k_ + column + line_) * array_inner_, (o * inner_ + row_) * stride_ + line_);
    }
  }

  // Copies the thread's elements of an outer row, of which `at_once` are loaded before the first of them is stored.
  template <int at_once, class T>
  __device__ __forceinline__ void copy(const T* from, int64_t from_step, T* to, int64_t to_step, int n) const {
    int j = line_;
    for (; j + (at_once - 1) * lines_ < n; j += at_once * lines_) {
      T elements[at_once];
#pragma unroll
      for (int u = 0; u < at_once; u++, from += from_step) elements[u] = *from;
#pragma unroll
      for (int u = 0; u < at_once; u++, to += to_step) *to = elements[u];
    }
    for (; j < n; j += lines_, from += from_step, to += to_step) *to = *from;
  }

  int64_t k_;
  int64_t array_inner_;
  int stride_;
  int outer_;
  int inner_;
  int lines_;  // that the block's threads copy at a time
  int line_;   // of the thread
  int row_;
  int64_t first_;  // of the array, in the thread's row
};

}  // namespace softmax_native::cuda
