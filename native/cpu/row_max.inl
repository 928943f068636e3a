// Row maxima with their indices.
#pragma once

#include "../ops/row_max.h"
#include "columns.inl"
#include "rows.inl"

namespace softmax_native {
namespace {

template <class V, class T>
inline void row_max_along(const T* x, int64_t k, T* max, int32_t* argmax) {
  // Each block's maximum, then the first index in the first block that has the largest.
  constexpr int W = Lanes<V>::width;
  MaxWithIndex<T> best = no_max<T>();
  for (int64_t first = 0; first < k; first += kChunk) {
    const int64_t last = smaller(first + kChunk, k);
    for (int64_t i = first; i < last; i += W) {
      const int lane = Lanes<V>::first_nan(load_up_to<V>(x + i, last - i, T(0)));
      if (lane >= 0) {
        *max = canonical_nan<T>();
        if (argmax) *argmax = static_cast<int32_t>(i + lane);
        return;
      }
    }
    const T block_max = range_of<V>(x + first, last - first).max;
    if (best.index >= 0 && !(block_max > best.max)) continue;
    for (int64_t i = first; i < last; i += W) {
      const int lane = Lanes<V>::first_equal(load_up_to<V>(x + i, last - i, canonical_nan<T>()), block_max);
      if (lane < 0) continue;
      best = {x[i + lane], i + lane};
      break;
    }
  }
  *max = best.max;
  if (argmax) *argmax = static_cast<int32_t>(best.index);
}

// Rows of up to kShortRow logits, side by side.
template <class V, class T>
inline void row_max_short(const T* x, int64_t rows, int k, T* max, int32_t* argmax) {
  constexpr int W = Lanes<V>::width, quad = Lanes<V>::quad;
  const V zero = broadcast<V>(T(0)), one = broadcast<V>(T(1)), above_all = broadcast<V>(infinity<T>());
  for (int64_t row = 0; row < rows; row += W) {
    V largest = broadcast<V>(negative_infinity<T>()), index = zero, unclear = zero;
    const T* ahead = x + (row + 4 * W) * k;  // of what is read soon: fetched, rows in DRAM take two thirds of the time
    const ShortRows<V> source = {x + row * k, k, rows - row};
    source.for_quads([&](int first, const V* columns) SOFTMAX_INLINED {
      V number = broadcast<V>(T(first));
      // The last quad brings some logits for the second time, which are not above the largest then.
      for (int j = 0; j < quad && j < k; j++, number = number + one) {
        index = choose_where_less(largest, columns[j], number, index);
        largest = larger(columns[j], largest);
        __builtin_prefetch(ahead + (first + j) * W);
        // No comparison holds for NaN.
        unclear = choose_where_less(columns[j], above_all, unclear, one);
      }
    });
    const int n = static_cast<int>(smaller(W, rows - row));
    alignas(64) T maxima[W], indices[W], with_nan[W];
    Lanes<V>::store(maxima, largest);
    Lanes<V>::store(indices, index);
    for (int i = 0; i < n; i++) max[row + i] = maxima[i];
    for (int i = 0; argmax && i < n; i++) argmax[row + i] = static_cast<int32_t>(indices[i]);
    if (!Lanes<V>::any_less(zero, unclear)) continue;
    // NaN, or +inf, for which the comparison above does not hold either.
    Lanes<V>::store(with_nan, unclear);
    for (int i = 0; i < n; i++) {
      const int64_t r = row + i;
      if (with_nan[i] != T(0)) row_max_along<V>(x + r * k, k, max + r, argmax ? argmax + r : nullptr);
    }
  }
}

// Of up to `width` adjacent columns.
template <class V, class T>
inline void column_max_group(const T* x, int64_t k, int64_t stride, int columns, T* max, int32_t* argmax) {
  constexpr int W = Lanes<V>::width;
  MaxWithIndex<T> best[W];
  for (int i = 0; i < columns; i++) best[i] = no_max<T>();
  for (int64_t first = 0; first < k; first += kChunk) {
    const int n = static_cast<int>(smaller(kChunk, k - first));
    const T* from = x + first * stride;
    // Indices within the chunk are small enough to be numbers of the format.
    const V zero = broadcast<V>(T(0)), one = broadcast<V>(T(1));
    V chunk_max = broadcast<V>(negative_infinity<T>()), index = zero, has_nan = zero;
    for (int j = 0; j < n; j++) {
      const V v = load_up_to<V>(from + j * stride, columns, T(0));
      index = choose_where_less(chunk_max, v, broadcast<V>(T(j)), index);
      chunk_max = larger(v, chunk_max);
      // No comparison holds for NaN.
      has_nan = larger(has_nan, choose_where_less(v, broadcast<V>(infinity<T>()), zero, one));
    }
    alignas(64) T maxima[W], indices[W], with_nan[W];
    Lanes<V>::store(maxima, chunk_max);
    Lanes<V>::store(indices, index);
    Lanes<V>::store(with_nan, has_nan);
    for (int i = 0; i < columns; i++) {
      MaxWithIndex<T> of_chunk = {maxima[i], first + static_cast<int64_t>(indices[i])};
      if (with_nan[i] != T(0)) {
        // NaN, or +inf, for which the comparison above does not hold either.
        of_chunk = no_max<T>();
        for (int j = 0; j < n; j++) of_chunk = max_with(of_chunk, from[j * stride + i], first + j);
      }
      best[i] = larger_of(best[i], of_chunk);
    }
  }
  for (int i = 0; i < columns; i++) {
    max[i] = best[i].max == best[i].max ? best[i].max : canonical_nan<T>();
    if (argmax) argmax[i] = static_cast<int32_t>(best[i].index);
  }
}

}  // namespace
}  // namespace softmax_native
