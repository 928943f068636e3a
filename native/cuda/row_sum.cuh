// The sum of a contiguous row, or of a slice of one, by all warps of a block.
#pragma once

#include "chunk.cuh"

namespace softmax_native::cuda {

// The part of a row that a block sums: chunks [first, last), of which each slot of the array of sums takes
// `chunks_per_slot` (a power of two, and `first` a multiple of it: a slot is then a subtree of the row's tree).
struct Part {
  int64_t k;  // columns of the row
  int64_t first;
  int64_t last;
  int chunks_per_slot;

  __device__ __forceinline__ int slots() const {
    return static_cast<int>((last - first + chunks_per_slot - 1) / chunks_per_slot);
  }
  __device__ __forceinline__ int columns_of(int64_t chunk) const {
    return static_cast<int>(smaller(k - chunk * kChunk, static_cast<int64_t>(kChunk)));
  }
};

// Copies a chunk from global to shared memory, by the lanes of a warp: half of its loads are under way before the first
// is waited for (all of them would take twice the registers, and leave half the warps).
template <class T, int V>
__device__ __forceinline__ void copy_chunk(const T* x, T* memory, int n) {
  constexpr int registers = policy::kChunkLoads;
  __syncwarp();  // all lanes have read what was there
#pragma unroll 1
  for (int first = 0; first < n; first += registers * kWarpLanes) {
    Columns<T, V, registers> columns;
    columns.load(x + first, n - first, lane_of_thread());
    columns.store_logits(memory + first, lane_of_thread());
  }
  __syncwarp();
}

// The same, on its way until the lanes wait for it (device.cuh) and meet.
template <class T, int V>
__device__ __forceinline__ void start_copy_of_chunk(const T* x, T* memory, int n) {
  for (int column = lane_of_thread() * V; column < n; column += kWarpLanes * V) {
    start_copy(reinterpret_cast<Vector<T, V>*>(memory + column), reinterpret_cast<const Vector<T, V>*>(x + column));
  }
  end_group_of_copies();
}

// Calls put(slot, sum) from every lane of a warp for each of the part's slots. `fetch(chunk, n)` gives the n logits of
// a chunk in shared memory.
template <class T, class Fetch, class Put>
__device__ __forceinline__ void sum_slots(const Part& part, T shift, Fetch fetch, Put put) {
  for (int slot = warp_of_thread(); slot < part.slots(); slot += warps_of_block()) {
    const int64_t begin = part.first + static_cast<int64_t>(slot) * part.chunks_per_slot;
    const int64_t end = smaller(begin + part.chunks_per_slot, part.last);
    WarpTree<T> tree;
    for (int64_t chunk = begin; chunk < end; chunk++) {
      const int n = part.columns_of(chunk);
      tree.push(sum_of_shared(fetch(chunk, n), n, shift));
    }
    put(slot, tree.total());
  }
}

}  // namespace softmax_native::cuda
