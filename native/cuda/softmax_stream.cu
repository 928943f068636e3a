// Regimes `shared` and `stream`: a long contiguous row for a block or a cluster. The logits stay in shared memory
// between the sum and the division, or are read a second time.
#include "regimes.h"
#include "row_sum.cuh"

namespace softmax_native::cuda {

// A block of regime `stream` has 8 warps at most, one of float64 in shared memory 12.
template <class T, int V, bool in_shared>
__global__ void __launch_bounds__(384, 1)
    stream_softmax(const T* x, T* y, int64_t k, int blocks_per_row, int64_t chunks_per_block, int chunks_per_slot) {
  const int64_t row = blockIdx.x / static_cast<unsigned>(blocks_per_row);
  const int rank = static_cast<int>(blockIdx.x % static_cast<unsigned>(blocks_per_row));
  x += row * k;
  y += row * k;
  const int64_t chunks = (k + kChunk - 1) / kChunk;
  const int64_t first = smaller(rank * chunks_per_block, chunks);
  const Part part{k, first, smaller(first + chunks_per_block, chunks), chunks_per_slot};
  const int slots = static_cast<int>((chunks + chunks_per_slot - 1) / chunks_per_slot);
  const int first_slot = static_cast<int>(first / chunks_per_slot);

  // The part's logits, or a chunk for each warp.
  T* const held = reinterpret_cast<T*>(shared_memory());
  const int64_t held_chunks = in_shared ? chunks_per_block : warps_of_block();
  PartialSum<T>* const sums =
      reinterpret_cast<PartialSum<T>*>(shared_memory() + held_chunks * kChunk * static_cast<int64_t>(sizeof(T)));
  const auto place_of = [&](int64_t chunk) { return held + (in_shared ? chunk - first : warp_of_thread()) * kChunk; };
  const int64_t step = warps_of_block();
  // All of a warp's chunks in shared memory are on their way before the first is summed.
  if (in_shared && has_async_copies()) {
    for (int64_t chunk = first + warp_of_thread(); chunk < part.last; chunk += step) {
      start_copy_of_chunk<T, V>(x + chunk * kChunk, place_of(chunk), part.columns_of(chunk));
    }
  }
  const auto read = [&](int64_t chunk, int n) {
    if (in_shared && has_async_copies()) {
      wait_for_copies(static_cast<int>((part.last - 1 - chunk) / step));
      __syncwarp();
    } else {
      copy_chunk<T, V>(x + chunk * kChunk, place_of(chunk), n);
    }
    return place_of(chunk);
  };
  const BlocksOfRow blocks{blocks_per_row};
  const auto put = [&](int slot, PartialSum<T> sum) { blocks.put(sums + first_slot + slot, sum); };

  blocks.wait_for_start();
  // Nearly every row needs no shift; whether one does is known with the sums, which are then taken again.
  sum_slots(part, T(0), read, put);
  blocks.wait_for_all();
  PartialSum<T> total = tree_of_array(sums, slots, sums + slots);
  T shift = shift_of_row(total.max);
  if (shift != T(0)) {
    blocks.wait_for_all();
    sum_slots(part, shift, read, put);
    blocks.wait_for_all();
    total = tree_of_array(sums, slots, sums + slots);
  }

  const RowScale<T> scale = scale_of(total, shift);
  for (int64_t chunk = first + warp_of_thread(); chunk < part.last; chunk += step) {
    const T* const logits = in_shared ? place_of(chunk) : x + chunk * kChunk;
    write_probabilities<T, V>(logits, y + chunk * kChunk, part.columns_of(chunk), scale);
  }
}

template <class T, int V>
static cudaError_t launch_stream(const T* x, T* y, int64_t k, const Plan& plan, cudaStream_t stream) {
  const auto kernel = plan.regime == Regime::shared ? stream_softmax<T, V, true> : stream_softmax<T, V, false>;
  return launch(kernel, plan.blocks, plan.warps * kWarpLanes, plan.shared_bytes, plan.blocks_per_row, stream, x, y, k,
                plan.blocks_per_row, plan.chunks_per_block, static_cast<int>(plan.chunks_per_slot));
}

template <>
cudaError_t softmax_stream(const float* x, float* y, int64_t k, const Plan& plan, cudaStream_t stream) {
  return has_vectors(x, k) && has_vectors(y, k) ? launch_stream<float, kVector<float>>(x, y, k, plan, stream)
                                                : launch_stream<float, 1>(x, y, k, plan, stream);
}

// One float64 a lane is two lines a warp: vectors would gain nothing.
template <>
cudaError_t softmax_stream(const double* x, double* y, int64_t k, const Plan& plan, cudaStream_t stream) {
  return launch_stream<double, 1>(x, y, k, plan, stream);
}

}  // namespace softmax_native::cuda
