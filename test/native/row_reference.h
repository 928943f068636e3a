// Softmax of one row, told once in plain order from native/numerics: what every back end's kernels must equal to the
// last bit. Host and device code.
#pragma once

#include "../../native/ops/softmax.h"

namespace softmax_native {
namespace {

template <class T>
SOFTMAX_FN Sum<T> chunk_reference(const T* x, int n, T shift) {
  T max = -infinity<T>();
  for (int j = 0; j < n; j++) max = larger(x[j], max);
  const T exponent = chunk_exponent(max - shift);
  const ExpReference<T> reference = exp_reference(exponent);
  T rest[kLanes];
  T on_grid = T(0);
  for (int lane = 0; lane < kLanes; lane++) {
    rest[lane] = T(0);
    for (int j = lane; j < n; j += kLanes) {
      rest[lane] = rest[lane] + split_on_grid(exp_scaled(x[j] - shift, reference), on_grid);
    }
  }
  for (int half = kLanes / 2; half > 0; half /= 2) {
    for (int lane = 0; lane < half; lane++) rest[lane] = rest[lane] + rest[lane + half];
  }
  return chunk_sum(exponent, on_grid, rest[0]);
}

template <class T>
SOFTMAX_FN void softmax_row_reference(const T* x, T* y, int64_t k) {
  T max = -infinity<T>();
  for (int64_t j = 0; j < k; j++) max = larger(x[j], max);
  const T shift = shift_of(max);
  ChunkTree<T> tree;
  for (int64_t first = 0; first < k; first += kChunk) {
    tree.push(chunk_reference(x + first, static_cast<int>(k - first < kChunk ? k - first : kChunk), shift));
  }
  const Sum<T> sum = tree.total();
  const Pair<T> inverse = reciprocal(sum);
  const ExpReference<T> reference = exp_reference(sum.exponent);
  const bool regular = max - max == T(0) && sum.head == sum.head;
  for (int64_t j = 0; j < k; j++) {
    y[j] = regular ? probability(exp_scaled(x[j] - shift, reference), inverse) : canonical_nan<T>();
  }
}

}  // namespace
}  // namespace softmax_native
