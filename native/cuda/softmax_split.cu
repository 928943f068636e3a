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

  __device__ __forceinline__ int64_t row() const { return blockIdx.x / slices; }
  __device__ __forceinline__ Part part() const {
    const int64_t chunks = (k + kChunk - 1) / kChunk;
    const int64_t first = static_cast<int64_t>(blockIdx.x % slices) * chunks_per_slice;
    return {k, first, smaller(first + chunks_per_slice, chunks), chunks_per_slot};
  }
};

// `again`: of the slices of rows that need a shift.
template <class T, int V>
__global__ void __launch_bounds__(256, 1) split_sums(const T* x, PartialSum<T>* sums, Slices slices, bool again) {
  T* const chunks = reinterpret_cast<T*>(shared_memory());
  PartialSum<T>* const slots = reinterpret_cast<PartialSum<T>*>(chunks + warps_of_block() * kChunk);
  const int64_t row = slices.row();
  const T shift = again ? shift_of_slices(sums + row * slices.slices, static_cast<int>(slices.slices)) : T(0);
  if (again && shift == T(0)) return;

  const Part part = slices.part();
  T* const place = chunks + warp_of_thread() * kChunk;
  sum_slots(
      part, shift,
      [&](int64_t chunk, int n) {
        copy_chunk<T, V>(x + row * slices.k + chunk * kChunk, place, n);
        return place;
      },
      [&](int slot, PartialSum<T> sum) {
        if (lane_of_thread() == 0) slots[slot] = sum;
      });
  __syncthreads();
  const PartialSum<T> total = tree_of_array(slots, part.slots(), slots + part.slots());
  if (threadIdx.x != 0) return;
  // The maximum stays what it is, as other blocks may be reading it.
  if (!again) sums[blockIdx.x].max = total.max;
  sums[blockIdx.x].exponent = total.exponent;
  sums[blockIdx.x].head = total.head;
  sums[blockIdx.x].tail = total.tail;
}

template <class T, int V>
__global__ void __launch_bounds__(256, 1)
    split_probabilities(const T* x, T* y, const PartialSum<T>* sums, Slices slices) {
  const int64_t row = slices.row();
  const int count = static_cast<int>(slices.slices);
  const PartialSum<T> total =
      tree_of_array(sums + row * count, count, reinterpret_cast<PartialSum<T>*>(shared_memory()));
  const RowScale<T> scale = scale_of(total, is_finite(total.max) ? shift_of(total.max) : T(0));
  const Part part = slices.part();
  for (int64_t chunk = part.first + warp_of_thread(); chunk < part.last; chunk += warps_of_block()) {
    const int64_t offset = row * slices.k + chunk * kChunk;
    write_probabilities<T, V>(x + offset, y + offset, part.columns_of(chunk), scale);
  }
}

template <class T, int V>
static cudaError_t launch_split(const T* x, T* y, int64_t k, const Plan& plan, PartialSum<T>* sums,
                                cudaStream_t stream) {
  const Slices slices{k, plan.chunks_per_block, static_cast<int>(plan.chunks_per_slot),
                      static_cast<unsigned>(plan.slices)};
  const int threads = plan.warps * kWarpLanes;
  cudaError_t error =
      launch(split_sums<T, V>, plan.blocks, threads, plan.shared_bytes, 1, stream, x, sums, slices, false);
  if (error != cudaSuccess) return error;
  error = launch(split_sums<T, V>, plan.blocks, threads, plan.shared_bytes, 1, stream, x, sums, slices, true);
  if (error != cudaSuccess) return error;
  return launch(split_probabilities<T, V>, plan.blocks, threads, plan.shared_bytes, 1, stream, x, y, sums, slices);
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
