// The CPU kernels, written once over a vector type (V) and its element type (T = Scalar<V>).
//
// Included by each kernels_*.cpp after that instruction set's vector_*.h. Nothing here may use a template or inline
// function of the standard library: the linker could take this file's copy, compiled for a newer processor, for all.

#include "../ops/jacobian.h"
#include "../ops/row_max.h"
#include "../ops/softmax.h"
#include "kernels.h"

namespace softmax_native {
namespace {

using cpu::kShortRow;
using cpu::PartialSum;

static_assert(kChunk == cpu::kColumnsPerChunk);

// Rows up to this length keep their exponentials (8 or 16 bytes a column, on the stack: within the level-1 or level-2
// cache) between the sum and the division; longer ones compute them twice, and read and write no memory for them.
constexpr int kKeptColumns = 4 * kChunk;

template <class T>
inline T negative_infinity() {
  return -infinity<T>();
}

template <class T>
inline bool is_finite(T v) {
  return v - v == T(0);
}

inline int64_t smaller(int64_t a, int64_t b) { return a < b ? a : b; }

template <class T>
inline void fill(T* y, int64_t n, T value) {
  for (int64_t i = 0; i < n; i++) y[i] = value;
}

template <class V, class T>
inline V load_up_to(const T* p, int64_t n, T rest) {
  return n >= Lanes<V>::width ? Lanes<V>::load(p) : Lanes<V>::load_part(p, static_cast<int>(n), rest);
}

template <class V, class T>
inline void store_up_to(T* p, int64_t n, V v) {
  if (n >= Lanes<V>::width) {
    Lanes<V>::store(p, v);
  } else {
    Lanes<V>::store_part(p, static_cast<int>(n), v);
  }
}

// A row along the lanes.

// The largest of n logits; NaN is passed over (the sum finds it).
template <class V, class T>
inline T max_of(const T* x, int64_t n) {
  constexpr int W = Lanes<V>::width;
  const V lowest = broadcast<V>(negative_infinity<T>());
  V max0 = lowest, max1 = lowest, max2 = lowest, max3 = lowest;
  int64_t i = 0;
  for (; i + 4 * W <= n; i += 4 * W) {
    // The accumulator comes second: where the logit is NaN it stays.
    max0 = larger(Lanes<V>::load(x + i), max0);
    max1 = larger(Lanes<V>::load(x + i + W), max1);
    max2 = larger(Lanes<V>::load(x + i + 2 * W), max2);
    max3 = larger(Lanes<V>::load(x + i + 3 * W), max3);
  }
  for (; i < n; i += W) max0 = larger(load_up_to<V>(x + i, n - i, negative_infinity<T>()), max0);
  return Lanes<V>::fold_max(larger(larger(max0, max1), larger(max2, max3)));
}

// The order of a chunk's rests (numerics/sum.h): `lanes` of them, in an array with room for a whole last register.
template <class V, class T>
inline T fold_rests(T* rest, int lanes) {
  constexpr int W = Lanes<V>::width;
  for (int half = kLanes / 2; half >= W; half /= 2) {
    for (int lane = 0; lane < half && lane + half < lanes; lane += W) {
      Lanes<V>::store(rest + lane, Lanes<V>::load(rest + lane) + Lanes<V>::load(rest + lane + half));
    }
  }
  return Lanes<V>::fold_sum(Lanes<V>::load(rest));
}

// What becomes of a chunk's exponentials beside their sum.
struct KeepNothing {
  template <class T>
  KeepNothing of_chunk(int64_t, T) const {
    return *this;
  }
  template <class V>
  void operator()(int64_t, Pair<V>) const {}
};

// Writes a row's exponentials to two arrays with room for a whole last register, and their chunks' references.
template <class T>
struct KeepTerms {
  T* head;
  T* tail;
  T* exponents;
  KeepTerms of_chunk(int64_t chunk, T exponent) const {
    exponents[chunk] = exponent;
    return {head + chunk * kChunk, tail + chunk * kChunk, exponents};
  }
  template <class V>
  void operator()(int64_t column, Pair<V> term) const {
    Lanes<V>::store(head + column, term.head);
    Lanes<V>::store(tail + column, term.tail);
  }
};

// The sum of the n <= kChunk logits of a chunk under the reference `exponent`.
template <class V, bool shifted, class T, class Keep>
inline Sum<T> sum_chunk(const T* x, int n, T shift, T exponent, Keep keep) {
  constexpr int W = Lanes<V>::width;
  const ExpReference<V> reference = exp_reference(broadcast<V>(exponent));
  const V shift_v = broadcast<V>(shift);
  alignas(64) T rest[kLanes];
  V on_grid = broadcast<V>(T(0));
  const auto rest_of = [&](int column, V logits) {
    const Pair<V> term = exp_scaled(shifted ? logits - shift_v : logits, reference);
    keep(column, term);
    return split_on_grid(term, on_grid);
  };
  const int lanes = n < kLanes ? n : kLanes;
  for (int lane = 0; lane < lanes; lane += W) {
    V lane_rest = broadcast<V>(T(0));
    int column = lane;
    for (; column + W <= n; column += kLanes) {
      lane_rest = lane_rest + rest_of(column, Lanes<V>::load(x + column));
    }
    if (column < n) {
      lane_rest = lane_rest + rest_of(column, Lanes<V>::load_part(x + column, n - column, negative_infinity<T>()));
    }
    Lanes<V>::store(rest + lane, lane_rest);
  }
  return chunk_sum(exponent, Lanes<V>::fold_sum(on_grid), fold_rests<V>(rest, lanes));
}

// The sum of chunk `chunk` of a row of k, given the chunk's maximum.
template <class V, class T, class Keep>
inline Sum<T> sum_of_chunk(const T* x, int64_t k, int64_t chunk, T max, T shift, Keep keep) {
  const int n = static_cast<int>(smaller(kChunk, k - chunk * kChunk));
  const T exponent = chunk_exponent(max - shift);
  const auto keep_chunk = keep.of_chunk(chunk, exponent);
  return shift == T(0) ? sum_chunk<V, false>(x + chunk * kChunk, n, shift, exponent, keep_chunk)
                       : sum_chunk<V, true>(x + chunk * kChunk, n, shift, exponent, keep_chunk);
}

template <class V, class T>
inline T max_of_chunk(const T* x, int64_t k, int64_t chunk) {
  return max_of<V>(x + chunk * kChunk, smaller(kChunk, k - chunk * kChunk));
}

// A row's sum, and the shift it was taken with.
template <class T>
struct RowTotal {
  Sum<T> sum;
  T shift;
  bool regular;  // false: the row holds NaN or +inf, or nothing above -inf
};

template <class V, class T, class Keep>
inline RowTotal<T> total_of_row(const T* x, int64_t k, Keep keep) {
  if (k <= kChunk) {
    const T max = max_of<V>(x, k);
    const T shift = shift_of(max);
    const Sum<T> sum = sum_of_chunk<V>(x, k, 0, max, shift, keep);
    return {sum, shift, is_finite(max) && is_finite(sum.head)};
  }
  // The row's maximum is known only at its end. Nearly every row needs no shift; one that does is summed again.
  T shift = T(0);
  for (;;) {
    ChunkTree<T> tree;
    T max = negative_infinity<T>();
    for (int64_t chunk = 0; chunk * kChunk < k; chunk++) {
      const T chunk_max = max_of_chunk<V>(x, k, chunk);
      max = larger(chunk_max, max);
      tree.push(sum_of_chunk<V>(x, k, chunk, chunk_max, shift, keep));
    }
    const Sum<T> sum = tree.total();
    if (!is_finite(max)) return {sum, shift, false};
    if (shift_of(max) == shift) return {sum, shift, is_finite(sum.head)};
    shift = shift_of(max);
  }
}

// Probabilities from kept exponentials. `factor` takes them from their chunk's reference to the row's (a power of two,
// 1 for a row of one chunk).
template <class V, bool one_chunk, class T>
inline void divide_kept(const T* head, const T* tail, T* y, int64_t n, Pair<T> inverse, T factor) {
  constexpr int W = Lanes<V>::width;
  const Pair<V> inverse_v = {broadcast<V>(inverse.head), broadcast<V>(inverse.tail)};
  const V factor_v = broadcast<V>(factor);
  for (int64_t i = 0; i < n; i += W) {
    Pair<V> term = {Lanes<V>::load(head + i), Lanes<V>::load(tail + i)};
    if (!one_chunk) term = {term.head * factor_v, term.tail * factor_v};
    store_up_to<V>(y + i, n - i, probability(term, inverse_v));
  }
}

template <class V, class T>
inline void softmax_kept_row(const T* x, T* y, int64_t k) {
  constexpr int W = Lanes<V>::width;
  alignas(64) T head[kKeptColumns + W];
  alignas(64) T tail[kKeptColumns + W];
  T exponents[kKeptColumns / kChunk];
  const RowTotal<T> row = total_of_row<V>(x, k, KeepTerms<T>{head, tail, exponents});
  if (!row.regular) return fill(y, k, canonical_nan<T>());
  const Pair<T> inverse = reciprocal(row.sum);
  if (k <= kChunk) return divide_kept<V, true>(head, tail, y, k, inverse, T(1));
  // The factor 2^(chunk's - row's reference) may be below the normal range where the products are not: it is taken
  // 2^headroom times too large, which the scaled terms leave room for, and the reciprocal as much too small.
  constexpr int headroom = Format<T>::scale / 3;
  const T down = power_of_two(T(-headroom));
  const Pair<T> inverse_down = {inverse.head * down, inverse.tail * down};
  for (int64_t chunk = 0; chunk * kChunk < k; chunk++) {
    const int64_t first = chunk * kChunk;
    const T factor = power_of_two(exponents[chunk] - row.sum.exponent + T(headroom));
    divide_kept<V, false>(head + first, tail + first, y + first, smaller(kChunk, k - first), inverse_down, factor);
  }
}

// Probabilities of the columns [first, last) from their logits.
template <class V, bool shifted, class T>
inline void probabilities_of(const T* x, T* y, T shift, Sum<T> sum, int64_t first, int64_t last) {
  constexpr int W = Lanes<V>::width;
  const ExpReference<V> reference = exp_reference(broadcast<V>(sum.exponent));
  const Pair<T> inverse = reciprocal(sum);
  const Pair<V> inverse_v = {broadcast<V>(inverse.head), broadcast<V>(inverse.tail)};
  const V shift_v = broadcast<V>(shift);
  const auto probability_of = [&](V logits) {
    return probability(exp_scaled(shifted ? logits - shift_v : logits, reference), inverse_v);
  };
  int64_t i = first;
  for (; i + W <= last; i += W) Lanes<V>::store(y + i, probability_of(Lanes<V>::load(x + i)));
  if (i < last) {
    const int n = static_cast<int>(last - i);
    Lanes<V>::store_part(y + i, n, probability_of(Lanes<V>::load_part(x + i, n, negative_infinity<T>())));
  }
}

template <class V, class T>
inline void probabilities_of(const T* x, T* y, T shift, Sum<T> sum, int64_t first, int64_t last) {
  if (shift == T(0)) {
    probabilities_of<V, false>(x, y, shift, sum, first, last);
  } else {
    probabilities_of<V, true>(x, y, shift, sum, first, last);
  }
}

template <class V, class T>
inline void softmax_long_row(const T* x, T* y, int64_t k) {
  const RowTotal<T> row = total_of_row<V>(x, k, KeepNothing());
  if (!row.regular) return fill(y, k, canonical_nan<T>());
  probabilities_of<V>(x, y, row.shift, row.sum, 0, k);
}

// Rows side by side, one in each lane.

// Softmax of up to `width` adjacent columns: logit j of column i lies at j * stride + i.
template <class V, class T>
inline void softmax_column_group(const T* x, T* y, int64_t k, int64_t stride, int columns) {
  const auto logits = [&](int64_t j) { return load_up_to<V>(x + j * stride, columns, T(0)); };

  V max = broadcast<V>(negative_infinity<T>());
  for (int64_t j = 0; j < k; j++) max = larger(logits(j), max);
  const V shift = shift_of(max);

  alignas(64) V rest[kLanes];
  ChunkTree<V> tree;
  for (int64_t first = 0; first < k; first += kChunk) {
    const int n = static_cast<int>(smaller(kChunk, k - first));
    V chunk_max = max;
    if (k > kChunk) {
      chunk_max = broadcast<V>(negative_infinity<T>());
      for (int j = 0; j < n; j++) chunk_max = larger(logits(first + j), chunk_max);
    }
    const V exponent = chunk_exponent(chunk_max - shift);
    const ExpReference<V> reference = exp_reference(exponent);
    V on_grid = broadcast<V>(T(0));
    for (int j = 0; j < n; j++) {
      const V term_rest = split_on_grid(exp_scaled(logits(first + j) - shift, reference), on_grid);
      rest[j % kLanes] = j < kLanes ? term_rest : rest[j % kLanes] + term_rest;
    }
    const int lanes = n < kLanes ? n : kLanes;
    for (int half = kLanes / 2; half >= 1; half /= 2) {
      for (int lane = 0; lane < half && lane + half < lanes; lane++) rest[lane] = rest[lane] + rest[lane + half];
    }
    tree.push(chunk_sum(exponent, on_grid, rest[0]));
  }

  const Sum<V> sum = tree.total();
  const ExpReference<V> reference = exp_reference(sum.exponent);
  const Pair<V> inverse = reciprocal(sum);
  // x - x is 0 for finite numbers only; a maximum of -inf or +inf, or a sum of NaN, makes the whole column NaN.
  const V regular = (max - max) + (sum.head - sum.head);
  alignas(64) T is_regular[Lanes<V>::width];
  Lanes<V>::store(is_regular, regular);
  for (int64_t j = 0; j < k; j++) {
    store_up_to<V>(y + j * stride, columns, probability(exp_scaled(logits(j) - shift, reference), inverse));
  }
  for (int i = 0; i < columns; i++) {
    if (is_regular[i] == T(0)) continue;
    for (int64_t j = 0; j < k; j++) y[j * stride + i] = canonical_nan<T>();
  }
}

// Short contiguous rows: as many as there are lanes are turned so that each is a column.
template <class V, class T>
inline void softmax_short_rows(const T* x, T* y, int64_t rows, int k) {
  constexpr int W = Lanes<V>::width;
  alignas(64) T tile[kShortRow * W];
  for (int64_t row = 0; row < rows; row += W) {
    const int n = static_cast<int>(smaller(W, rows - row));
    const T* from = x + row * k;
    for (int i = 0; i < n; i++) {
      for (int j = 0; j < k; j++) tile[j * W + i] = from[i * k + j];
    }
    softmax_column_group<V>(tile, tile, k, W, n);
    T* to = y + row * k;
    for (int i = 0; i < n; i++) {
      for (int j = 0; j < k; j++) to[i * k + j] = tile[j * W + i];
    }
  }
}

// The table's functions.

template <class V, class T = Scalar<V>>
struct KernelsFor {
  static void softmax_rows(const T* x, T* y, int64_t rows, int64_t k) {
    if (k <= kShortRow && rows > 1 && Lanes<V>::width > 1) {
      return softmax_short_rows<V>(x, y, rows, static_cast<int>(k));
    }
    for (int64_t row = 0; row < rows; row++, x += k, y += k) {
      if (k <= kKeptColumns) {
        softmax_kept_row<V>(x, y, k);
      } else {
        softmax_long_row<V>(x, y, k);
      }
    }
  }

  static void softmax_columns(const T* x, T* y, int64_t k, int64_t stride, int64_t columns) {
    constexpr int W = Lanes<V>::width;
    for (int64_t i = 0; i < columns; i += W) {
      softmax_column_group<V>(x + i, y + i, k, stride, static_cast<int>(smaller(W, columns - i)));
    }
  }

  static void chunk_sums(const T* x, int64_t k, T shift, int64_t first, int64_t last, PartialSum<T>* sums) {
    for (int64_t chunk = first; chunk < last; chunk++) {
      const T max = max_of_chunk<V>(x, k, chunk);
      const Sum<T> sum = sum_of_chunk<V>(x, k, chunk, max, shift, KeepNothing());
      sums[chunk] = {max, sum.exponent, sum.head, sum.tail};
    }
  }

  static PartialSum<T> merge_chunks(const PartialSum<T>* sums, int64_t chunks) {
    ChunkTree<T> tree;
    T max = negative_infinity<T>();
    for (int64_t chunk = 0; chunk < chunks; chunk++) {
      max = larger(sums[chunk].max, max);
      tree.push({sums[chunk].exponent, sums[chunk].head, sums[chunk].tail});
    }
    const Sum<T> sum = tree.total();
    return {max, sum.exponent, sum.head, sum.tail};
  }

  static T row_shift(T row_max) { return shift_of(row_max); }

  static void probabilities(const T* x, T* y, T shift, PartialSum<T> sum, int64_t first, int64_t last) {
    if (!is_finite(sum.max) || !is_finite(sum.head)) return fill(y + first, last - first, canonical_nan<T>());
    probabilities_of<V>(x, y, shift, Sum<T>{sum.exponent, sum.head, sum.tail}, first, last);
  }

  static void row_max(const T* x, int64_t k, T* max, int32_t* argmax) {
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
      const T block_max = max_of<V>(x + first, last - first);
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

  static void column_max(const T* x, int64_t k, int64_t stride, int64_t columns, T* max, int32_t* argmax) {
    constexpr int block = 64;
    for (int64_t first = 0; first < columns; first += block) {
      const int n = static_cast<int>(smaller(block, columns - first));
      MaxWithIndex<T> best[block];
      for (int i = 0; i < n; i++) best[i] = no_max<T>();
      for (int64_t j = 0; j < k; j++) {
        for (int i = 0; i < n; i++) best[i] = max_with(best[i], x[j * stride + first + i], j);
      }
      for (int i = 0; i < n; i++) {
        max[first + i] = best[i].max == best[i].max ? best[i].max : canonical_nan<T>();
        if (argmax) argmax[first + i] = static_cast<int32_t>(best[i].index);
      }
    }
  }

  static void jacobian_diagonal(const T* x, const T* p, int64_t k, T* diagonal) {
    int64_t peak = -1;
    for (int64_t i = 0; i < k; i++) {
      diagonal[i] = softmax_native::jacobian_diagonal(p[i]);
      if (p[i] > T(0.5)) peak = i;
    }
    if (peak < 0) return;
    const RowTotal<T> all = total_of_row<V>(x, k, KeepNothing());
    // The same sum without the peak: its chunk is copied, with -inf in its place.
    const int64_t peak_chunk = peak / kChunk;
    T without_peak[kChunk];
    const int n = static_cast<int>(smaller(kChunk, k - peak_chunk * kChunk));
    for (int i = 0; i < n; i++) without_peak[i] = x[peak_chunk * kChunk + i];
    without_peak[peak % kChunk] = negative_infinity<T>();
    ChunkTree<T> others;
    for (int64_t chunk = 0; chunk * kChunk < k; chunk++) {
      const bool has_peak = chunk == peak_chunk;
      const T* columns = has_peak ? without_peak : x + chunk * kChunk;
      const int64_t left = has_peak ? n : k - chunk * kChunk;
      const T max = max_of_chunk<V>(columns, left, 0);
      others.push(sum_of_chunk<V>(columns, left, 0, max, all.shift, KeepNothing()));
    }
    diagonal[peak] = softmax_native::jacobian_diagonal(p[peak], all.sum, others.total());
  }

  static void jacobian_lines(const T* p, const T* diagonal, int64_t k, int64_t first, int64_t last, T* jacobian) {
    constexpr int W = Lanes<V>::width;
    for (int64_t i = first; i < last; i++) {
      T* line = jacobian + i * k;
      if (p[i] != p[i]) {
        fill(line, k, canonical_nan<T>());
        continue;
      }
      const V p_i_up = broadcast<V>(jacobian_scale_up(p[i]));
      int64_t j = 0;
      for (; j + W <= k; j += W) Lanes<V>::store(line + j, jacobian_off_diagonal(p_i_up, Lanes<V>::load(p + j)));
      if (j < k) store_up_to<V>(line + j, k - j, jacobian_off_diagonal(p_i_up, load_up_to<V>(p + j, k - j, T(0))));
      line[i] = diagonal[i];
    }
  }

  static constexpr cpu::Kernels<T> table = {softmax_rows,      softmax_columns, chunk_sums, merge_chunks,
                                            row_shift,         probabilities,   row_max,    column_max,
                                            jacobian_diagonal, jacobian_lines};
};

}  // namespace
}  // namespace softmax_native
