// Regime `split`: contiguous rows cut into slices that are spread over the whole GPU. One launch writes the sums of all
// slices, one sums the slices of shifted rows again (and ends at once where there are none), and one merges a row's
// sums in every block that writes a slice of its probabilities.
#include "regimes.h"
#include "row_sum.cuh"

namespace softmax_native::cuda {

// What all three launches know.
struct Slices {
  int64_t k;
  int64_t chunks_per_slice;
  int chunks_per_slot;
  unsigned slices;  // of a row
  // Each block of a launch that sums takes this many adjacent slices, and the first `longer` blocks one more.
  unsigned of_block;
  unsigned longer;

  __device__ __forceinline__ int64_t row_of(unsigned slice) const { return slice / slices; }
  __device__ __forceinline__ Part part_of(unsigned slice) const {
    const int64_t chunks = (k + kChunk - 1) / kChunk;
    const int64_t first = static_cast<int64_t>(slice % slices) * chunks_per_slice;
    return {k, first, smaller(first + chunks_per_slice, chunks), chunks_per_slot};
  }
  __device__ __forceinline__ unsigned first_of_block(unsigned block) const {
    return block * of_block + smaller(block, longer);
  }
};

// The sum of a slice, whose chunks' logits come through shared memory, for every thread of the block.
template <class T, int V>
__device__ __forceinline__ PartialSum<T> sum_of_slice(const T* row, const Part& part, T shift, T* chunks,
                                                      PartialSum<T>* slots) {
  T* const place = chunks + warp_of_thread() * kChunk;
  sum_slots(
      part, shift,
      [&](int64_t chunk, int n) {
        copy_chunk<T, V>(row + chunk * kChunk, place, n);
        return place;
      },
      [&](int slot, PartialSum<T> sum) {
        if (lane_of_thread() == 0) slots[slot] = sum;
      });
  __syncthreads();
  return tree_of_array(slots, part.slots(), slots + part.slots());
}

// The chunks of a block's slices that one warp sums, one after the other.
struct ChunksOfWarp {
  Slices slices;
  unsigned slice;
  unsigned end;
  int64_t row;  // the place of its first element
  int64_t first;
  int64_t last;
  int64_t chunk;

  __device__ __forceinline__ ChunksOfWarp(const Slices& of, unsigned first_slice, unsigned last_slice)
      : slices(of), slice(first_slice), end(last_slice) {
    enter();
  }
  __device__ __forceinline__ bool more() const { return slice < end; }
  __device__ __forceinline__ void advance() {
    chunk += warps_of_block();
    if (chunk < last) return;
    slice++;
    enter();
  }
  __device__ __forceinline__ int64_t place() const { return row + chunk * kChunk; }
  __device__ __forceinline__ int columns() const {
    return static_cast<int>(smaller(slices.k - chunk * kChunk, static_cast<int64_t>(kChunk)));
  }

 private:
  // The warp's first chunk of this slice, or of the next one that has enough.
  __device__ __forceinline__ void enter() {
    for (; slice < end; slice++) {
      const Part part = slices.part_of(slice);
      row = slices.row_of(slice) * slices.k;
      first = part.first;
      last = part.last;
      chunk = first + warp_of_thread();
      if (chunk < last) return;
    }
  }
};

// The sums of float32 slices whose chunks have a slot each: a chunk is summed in registers, while the warp's next one is
// on its way to shared memory.
template <int V>
__device__ __forceinline__ void sum_in_registers(const float* x, PartialSum<float>* sums, const Slices& slices,
                                                 float* logits, PartialSum<float>* all_slots) {
  const StagedChunk<V> staged{logits + warp_of_thread() * policy::kStagedColumns};
  const unsigned end = slices.first_of_block(blockIdx.x + 1);
  unsigned slice = slices.first_of_block(blockIdx.x);
  ChunksOfWarp next(slices, slice, end);
  const auto start_next = [&] {
    // A row's last chunk may follow a longer one, whose logits are no part of it.
    if (next.columns() < kChunk) staged.clear();
    staged.start(x + next.place(), next.columns());
  };
  if (has_async_copies()) {
    if (next.more()) start_next();
  }
  // Every other slice has its slots in the same place: one warp may still read those of the slice before.
  PartialSum<float>* slots = all_slots;
  for (; slice < end; slice++) {
    while (next.slice == slice) {
      const int slot = static_cast<int>(next.chunk - next.first);
      const int n = next.columns();
      const float* const from = x + next.place();
      Columns<float, V, 32> columns;
      next.advance();
      if (has_async_copies()) {
        staged.load(columns, from);
        if (next.more()) start_next();
      } else {
        columns.load(from, n, lane_of_thread());
      }
      ChunkSum<float, V, WholeWarp> sum(columns.max(), 0.0f);
      add_columns(sum, columns, n, [](int, Pair<float>) {});
      const PartialSum<float> total = sum.total(WholeWarp());
      if (lane_of_thread() == 0) slots[slot] = total;
    }
    __syncthreads();
    if (warp_of_thread() == 0) {
      const int count = slices.part_of(slice).slots();
      const PartialSum<float> total =
          count > kWarpLanes
              ? tree_of_slices(slots, count)
              : tree_of_lanes(lane_of_thread() < count ? slots[lane_of_thread()] : no_columns<float>(), count);
      if (lane_of_thread() == 0) sums[slice] = total;
    }
    slots = slots == all_slots ? all_slots + slices.chunks_per_slice : all_slots;
  }
}

template <class T, int V>
__global__ void __launch_bounds__(256, 2) split_sums(const T* x, PartialSum<T>* sums, Slices slices) {
  T* const logits = reinterpret_cast<T*>(shared_memory());
  auto* const slots = reinterpret_cast<PartialSum<T>*>(logits + warps_of_block() * policy::kStagedColumns);
  if constexpr (sizeof(T) == sizeof(float)) {
    if (slices.chunks_per_slot == 1) return sum_in_registers<V>(x, sums, slices, logits, slots);
  }
  const unsigned end = slices.first_of_block(blockIdx.x + 1);
  for (unsigned slice = slices.first_of_block(blockIdx.x); slice < end; slice++) {
    const T* const row = x + slices.row_of(slice) * slices.k;
    const PartialSum<T> total = sum_of_slice<T, V>(row, slices.part_of(slice), T(0), logits, slots);
    if (threadIdx.x == 0) sums[slice] = total;
    __syncthreads();  // all have read the slots before they change
  }
}

// The slices of rows that need a shift, again. There are few such rows: a block looks once for each row of its slices.
template <class T, int V>
__global__ void __launch_bounds__(256, 1) split_sums_again(const T* x, PartialSum<T>* sums, Slices slices) {
  T* const logits = reinterpret_cast<T*>(shared_memory());
  auto* const slots = reinterpret_cast<PartialSum<T>*>(logits + warps_of_block() * policy::kStagedColumns);
  const unsigned end = slices.first_of_block(blockIdx.x + 1);
  unsigned slice = slices.first_of_block(blockIdx.x);
  while (slice < end) {
    const int64_t row = slices.row_of(slice);
    const auto end_of_row = static_cast<unsigned>(row + 1) * slices.slices;
    const T shift = shift_of_slices(sums + row * slices.slices, static_cast<int>(slices.slices));
    for (; shift != T(0) && slice < smaller(end, end_of_row); slice++) {
      const PartialSum<T> total = sum_of_slice<T, V>(x + row * slices.k, slices.part_of(slice), shift, logits, slots);
      if (threadIdx.x == 0) {
        // The maximum stays what it is, as other blocks may be reading it.
        sums[slice].exponent = total.exponent;
        sums[slice].head = total.head;
        sums[slice].tail = total.tail;
      }
      __syncthreads();  // all have read the slots before they change
    }
    slice = end_of_row;
  }
}

template <class T, int V>
__global__ void __launch_bounds__(256, sizeof(T) == 4 ? 4 : 1)
    split_probabilities(const T* x, T* y, const PartialSum<T>* sums, Slices slices) {
  const int64_t row = slices.row_of(blockIdx.x);
  const int count = static_cast<int>(slices.slices);
  const PartialSum<T> total =
      tree_of_array(sums + row * count, count, reinterpret_cast<PartialSum<T>*>(shared_memory()));
  const RowScale<T> scale = scale_of(total, shift_of_row(total.max));
  const Part part = slices.part_of(blockIdx.x);
  for (int64_t chunk = part.first + warp_of_thread(); chunk < part.last; chunk += warps_of_block()) {
    const int64_t offset = row * slices.k + chunk * kChunk;
    write_probabilities<T, V>(x + offset, y + offset, part.columns_of(chunk), scale);
  }
}

// Of the last launch, whose blocks merge a row's slices in shared memory and hold nothing else there.
template <class T>
static int64_t slot_bytes_of(const Plan& plan) {
  return policy::slot_bytes(sizeof(T), plan.slices);
}

template <class T, int V>
static cudaError_t launch_split(const T* x, T* y, int64_t k, const Plan& plan, PartialSum<T>* sums,
                                cudaStream_t stream) {
  const Slices slices{k,
                      plan.chunks_per_block,
                      static_cast<int>(plan.chunks_per_slot),
                      static_cast<unsigned>(plan.slices),
                      static_cast<unsigned>(plan.blocks / plan.sum_blocks),
                      static_cast<unsigned>(plan.blocks % plan.sum_blocks)};
  const int threads = plan.warps * kWarpLanes;
  cudaError_t error = launch(split_sums<T, V>, plan.sum_blocks, threads, plan.shared_bytes, 1, stream, x, sums, slices);
  if (error != cudaSuccess) return error;
  error = launch(split_sums_again<T, V>, plan.sum_blocks, threads, plan.shared_bytes, 1, stream, x, sums, slices);
  if (error != cudaSuccess) return error;
  return launch(split_probabilities<T, V>, plan.blocks, threads, slot_bytes_of<T>(plan), 1, stream, x, y, sums, slices);
}

template <>
cudaError_t softmax_split(const float* x, float* y, int64_t k, const Plan& plan, void* workspace, cudaStream_t stream) {
  const auto sums = static_cast<PartialSum<float>*>(workspace);
  return has_vectors(x, k) && has_vectors(y, k) ? launch_split<float, kVector<float>>(x, y, k, plan, sums, stream)
                                                : launch_split<float, 1>(x, y, k, plan, sums, stream);
}

// One float64 a lane is two lines a warp: vectors would gain nothing.
template <>
cudaError_t softmax_split(const double* x, double* y, int64_t k, const Plan& plan, void* workspace,
                          cudaStream_t stream) {
  return launch_split<double, 1>(x, y, k, plan, static_cast<PartialSum<double>*>(workspace), stream);
}

}  // namespace softmax_native::cuda
