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

// Room for a chunk's logits in shared memory. Rows whose length or base allows no vectors are copied in vectors too,
// all but what lies beside the vectors at the chunk's ends: the logits then lie as far from a multiple of 16 bytes as
// they do in global memory.
template <int V>
struct StagedChunk {
  static constexpr int kVectorElements = kVector<float>;

  float* memory;  // kStagedColumns

  __device__ __forceinline__ static int beyond_vector(const float* x) {
    return V > 1 ? 0 : static_cast<int>(reinterpret_cast<uintptr_t>(x) / sizeof(float) % kVectorElements);
  }

  // Columns past the chunk's end are -inf, as in Columns::load. Copies of as many columns leave them alone.
  __device__ __forceinline__ void clear() const {
    for (int i = lane_of_thread(); i < policy::kStagedColumns; i += kWarpLanes) memory[i] = -infinity<float>();
    __syncwarp();
  }

  // Starts to copy the n logits from x on. Called when all lanes have loaded those that were there.
  __device__ __forceinline__ void start(const float* x, int n) const {
    const int t = lane_of_thread();
    float* const to = memory + beyond_vector(x);
    // The columns before the first whole vector; then the vectors.
    const int before = V > 1 ? 0 : smaller((kVectorElements - beyond_vector(x)) % kVectorElements, n);
    const int after = V > 1 ? n : before + (n - before) / kVectorElements * kVectorElements;
    const int first = before + t * kVectorElements;
    constexpr int round = kWarpLanes * kVectorElements;
    if (n == kChunk) {
#pragma unroll
      for (int column = 0; column < kChunk - round; column += round) start_vector(x + first, to + first, column);
      if (first + kChunk - round < after) start_vector(x + first, to + first, kChunk - round);
    } else {
#pragma unroll 1
      for (int column = first; column < after; column += round) start_vector(x, to, column);
    }
    if (V == 1) {
      const int column = t < kVectorElements ? t : after + t - kVectorElements;
      if (column < (t < kVectorElements ? before : n)) start_copy(to + column, x + column);
      // Where the row before lay farther from a multiple of 16 bytes, its last columns are past the end of this one.
      if (t < kVectorElements - 1) to[n + t] = -infinity<float>();
    }
    end_group_of_copies();
  }

  __device__ __forceinline__ static void start_vector(const float* x, float* to, int column) {
    using Elements = Vector<float, kVectorElements>;
    start_copy(reinterpret_cast<Elements*>(to + column), reinterpret_cast<const Elements*>(x + column));
  }

  __device__ __forceinline__ void load(Columns<float, V, 32>& columns, const float* x) const {
    wait_for_copies(0);
    __syncwarp();
    columns.load(memory + beyond_vector(x), kChunk, lane_of_thread());
    __syncwarp();
  }
};

// Registers of a lane that are worked on together: of 128 columns. Past a row's end all are left out.
constexpr int kStep = kVector<float>;

// Adds the n columns of a chunk that a warp holds in registers. keep(u, term) gets the term of register u.
template <int V, class Keep>
__device__ __forceinline__ void add_columns(ChunkSum<float, V, WholeWarp>& sum, const Columns<float, V, 32>& columns,
                                            int n, Keep keep) {
  const int used = Columns<float, V, 32>::registers_of(n, WholeWarp());
#pragma unroll
  for (int first = 0; first < 32; first += kGroup) {
    sum.template add<kStep>(columns.head + first, used - first,
                            [&](int i, Pair<float> term) { keep(first + i, term); });
  }
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
