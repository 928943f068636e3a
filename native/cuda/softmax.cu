// Softmax on the GPU: the plan's launch.
#include "chunk.cuh"
#include "launch.h"
#include "regimes.h"

namespace softmax_native::cuda {

template <class T>
int64_t softmax_workspace(Layout layout, const DeviceProperties& device) {
  const Plan plan = softmax_plan(layout, sizeof(T), device);
  if (plan.regime != Regime::split && plan.regime != Regime::split_columns) return 0;
  return plan.blocks * plan.rows_per_block * static_cast<int64_t>(sizeof(PartialSum<T>));
}

template <class T>
cudaError_t softmax(const T* x, T* y, Layout layout, const DeviceProperties& device, void* workspace,
                    cudaStream_t stream) {
  const Plan plan = softmax_plan(layout, sizeof(T), device);
  const int64_t rows = layout.outer * layout.inner, k = layout.k;
  switch (plan.regime) {
    case Regime::tile:
      return softmax_tile(x, y, layout, plan, stream);
    case Regime::warp:
      if constexpr (sizeof(T) == sizeof(float)) {
        if (has_vectors(x, k) && has_vectors(y, k)) return softmax_warp(x, y, rows, k, plan, stream);
      }
      return softmax_tile(x, y, layout, policy::tile(layout, sizeof(T), device), stream);
    case Regime::block:
    case Regime::cluster:
      if constexpr (sizeof(T) == sizeof(float)) return softmax_block(x, y, rows, k, plan, stream);
      break;
    case Regime::shared:
    case Regime::stream:
      return softmax_stream(x, y, k, plan, stream);
    case Regime::split:
      return softmax_split(x, y, k, plan, workspace, stream);
    case Regime::columns:
      return softmax_columns(x, y, layout, plan, stream);
    case Regime::split_columns:
      return softmax_split_columns(x, y, layout, plan, workspace, stream);
  }
  return cudaErrorInvalidValue;
}

template int64_t softmax_workspace<float>(Layout, const DeviceProperties&);
template int64_t softmax_workspace<double>(Layout, const DeviceProperties&);
template cudaError_t softmax(const float*, float*, Layout, const DeviceProperties&, void*, cudaStream_t);
template cudaError_t softmax(const double*, double*, Layout, const DeviceProperties&, void*, cudaStream_t);

}  // namespace softmax_native::cuda
