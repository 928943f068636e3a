// What the device layer asks of the kernels. Pointers are device memory aligned to their element; 16 bytes are faster.
// Each function enqueues on the stream, waits for nothing, and returns what the launch returned. No array may be empty.
#pragma once

#include <cuda_runtime.h>

#include "policy.h"

namespace softmax_native::cuda {

// The generation that the kernels' code on this device was compiled for. It may be below the device's own, where that runs
// the code of an earlier one or the driver compiled it from PTX; launches must then be planned with what such code has
// (planned_capability, largest_cluster).
cudaError_t compiled_capability(int* compute_capability);

// The largest cluster that the current device can run, of `wanted` blocks at most. A part of a GPU may have fewer
// multiprocessors together than a cluster of its generation needs.
cudaError_t launchable_cluster(const DeviceProperties& device, int wanted, int* blocks);

// Bytes of device memory that a launch needs beside its arrays, aligned to 256; 0 in most regimes.
template <class T>
int64_t softmax_workspace(Layout layout, const DeviceProperties& device);
template <class T>
int64_t row_max_workspace(Layout layout, const DeviceProperties& device);
template <class T>
int64_t jacobian_workspace(int64_t rows, int64_t k, const DeviceProperties& device);

// y may be x.
template <class T>
cudaError_t softmax(const T* x, T* y, Layout layout, const DeviceProperties& device, void* workspace,
                    cudaStream_t stream);

// argmax may be null. Rows of no columns (k = 0) give -inf and -1.
template <class T>
cudaError_t row_max(const T* x, T* max, int32_t* argmax, Layout layout, const DeviceProperties& device, void* workspace,
                    cudaStream_t stream);

// The Jacobians of contiguous rows, (rows, k, k).
template <class T>
cudaError_t jacobian(const T* x, T* out, int64_t rows, int64_t k, const DeviceProperties& device, void* workspace,
                     cudaStream_t stream);

// The same in two steps, so that a result may be made in pieces: the probabilities and the diagonal entries of
// contiguous rows,
template <class T>
cudaError_t jacobian_rows(const T* x, T* probabilities, T* diagonal, int64_t rows, int64_t k, cudaStream_t stream);
// and the entries [first, last) of the flat (rows, k, k) result, written from out[0] on.
template <class T>
cudaError_t jacobian_entries(const T* probabilities, const T* diagonal, T* out, int64_t k, int64_t first, int64_t last,
                             cudaStream_t stream);

}  // namespace softmax_native::cuda
