// The launches of softmax, one function for each regime of policy.h; softmax.cu chooses between them.
#pragma once

#include <cuda_runtime.h>

#include "policy.h"

namespace softmax_native::cuda {

template <class T>
cudaError_t softmax_tile(const T* x, T* y, Layout layout, const Plan& plan, cudaStream_t stream);

// Float32 only, of rows that start at multiples of 16 bytes.
cudaError_t softmax_warp(const float* x, float* y, int64_t rows, int64_t k, const Plan& plan, cudaStream_t stream);

// A block or a cluster for each row, which is held in registers. Float32 only.
cudaError_t softmax_block(const float* x, float* y, int64_t rows, int64_t k, const Plan& plan, cudaStream_t stream);

// A block or a cluster for each row, which is held in shared memory (plan.regime shared) or read twice (stream).
template <class T>
cudaError_t softmax_stream(const T* x, T* y, int64_t k, const Plan& plan, cudaStream_t stream);

// `workspace` holds the sums of all slices.
template <class T>
cudaError_t softmax_split(const T* x, T* y, int64_t k, const Plan& plan, void* workspace, cudaStream_t stream);

template <class T>
cudaError_t softmax_columns(const T* x, T* y, Layout layout, const Plan& plan, cudaStream_t stream);

template <class T>
cudaError_t softmax_split_columns(const T* x, T* y, Layout layout, const Plan& plan, void* workspace,
                                  cudaStream_t stream);

}  // namespace softmax_native::cuda
