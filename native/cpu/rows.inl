// A row along the lanes.
#pragma once

#include "../ops/softmax.h"
#include "common.inl"
#include "two.h"
#include "writer.inl"

namespace softmax_native {
namespace {

// The largest of some logits, and the smallest in each lane; NaN is passed over (the sum finds it).
template <class V, class T = Scalar<V>>
struct Range {
  T max = negative_infinity<T>();
  V min = broadcast<V>(infinity<T>());

  void include(const Range& other) {
    max = larger(other.max, max);
    min = lesser(other.min, min);
  }
  // Whether all logits are ordinary under a reference, once they are shifted.
  bool is_ordinary(T shift, T exponent) const {
    return !Lanes<V>::any_less(min - broadcast<V>(shift), broadcast<V>(ordinary_from(exponent)));
  }
};

template <class V, class T>
inline Range<V> range_of(const T* x, int64_t n) {
  constexpr int W = Lanes<V>::width;
  V max0 = broadcast<V>(negative_infinity<T>()), max1 = max0, max2 = max0, max3 = max0;
  V min0 = broadcast<V>(infinity<T>()), min1 = min0, min2 = min0, min3 = min0;
  // The accumulator comes second: where the logit is NaN it stays.
  const auto include = [](V logits, V& max, V& min) {
    max = larger(logits, max);
    min = lesser(logits, min);
  };
  int64_t i = 0;
  for (; i + 4 * W <= n; i += 4 * W) {
    include(Lanes<V>::load(x + i), max0, min0);
    include(Lanes<V>::load(x + i + W), max1, min1);
    include(Lanes<V>::load(x + i + 2 * W), max2, min2);
    include(Lanes<V>::load(x + i + 3 * W), max3, min3);
  }
  for (; i < n; i += W) include(load_up_to<V>(x + i, n - i, x[0]), max0, min0);
  return {Lanes<V>::fold_max(larger(larger(max0, max1), larger(max2, max3))),
          lesser(lesser(min0, min1), lesser(min2, min3))};
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

// As many registers in step as their temporary values leave room for.
template <class V>
using InStep = Two<V>;

template <class V>
inline V sum_in_step(Two<V> v) {
  return v.a + v.b;
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

// The sum of the n <= kChunk logits of a chunk under the reference `exponent`. `ordinary`: all of them are, as
// ordinary_from says.
template <class V, bool shifted, bool ordinary, class T, class Keep>
inline Sum<T> sum_chunk(const T* x, int n, T shift, T exponent, Keep keep) {
  constexpr int W = Lanes<V>::width;
  const ExpReference<V> reference = exp_reference(broadcast<V>(exponent));
  const V shift_v = broadcast<V>(shift);
  using Block = InStep<V>;
  const ExpReference<Block> block_reference = exp_reference(broadcast<Block>(exponent));
  const Block shift_block = broadcast<Block>(shift);
  alignas(64) T rest[kLanes];
  Block on_grid_block = broadcast<Block>(T(0));
  const auto rest_of_block = [&](int column) {
    // The row or chunk after this one, which is read next.
    for (int i = 0; i < Lanes<Block>::width; i += 64 / sizeof(T)) __builtin_prefetch(x + column + kChunk + i);
    const Block logits = Lanes<Block>::load(x + column);
    const Pair<Block> term = exp_scaled<ordinary>(shifted ? logits - shift_block : logits, block_reference);
    keep(column, term);
    return split_on_grid(term, on_grid_block);
  };
  int column = 0;
  const int whole = n / Lanes<Block>::width * Lanes<Block>::width;
  for (; column < whole && column < kLanes; column += Lanes<Block>::width) {
    Lanes<Block>::store(rest + column, rest_of_block(column));
  }
  for (; column < whole; column += Lanes<Block>::width) {
    T* lane = rest + column % kLanes;
    Lanes<Block>::store(lane, Lanes<Block>::load(lane) + rest_of_block(column));
  }
  V on_grid = sum_in_step(on_grid_block);
  const auto rest_of = [&](int from, Pair<V> term) {
    keep(from, term);
    return split_on_grid(term, on_grid);
  };
  for (; column + W <= n; column += W) {
    const V logits = Lanes<V>::load(x + column);
    const V next = rest_of(column, exp_scaled<ordinary>(shifted ? logits - shift_v : logits, reference));
    T* lane = rest + column % kLanes;
    Lanes<V>::store(lane, column < kLanes ? next : Lanes<V>::load(lane) + next);
  }
  if (column < n) {
    const V logits = Lanes<V>::load_part(x + column, n - column, negative_infinity<T>());
    const V last = rest_of(column, exp_scaled(shifted ? logits - shift_v : logits, reference));
    T* lane = rest + column % kLanes;
    Lanes<V>::store(lane, column < kLanes ? last : Lanes<V>::load(lane) + last);
  }
  const int lanes = n < kLanes ? n : kLanes;
  return chunk_sum(exponent, Lanes<V>::fold_sum(on_grid), fold_rests<V>(rest, lanes));
}

// The sum of chunk `chunk` of a row of k, given the chunk's range.
template <class V, class T, class Keep>
inline Sum<T> sum_of_chunk(const T* x, int64_t k, int64_t chunk, const Range<V>& range, T shift, Keep keep) {
  const T* first = x + chunk * kChunk;
  const int n = static_cast<int>(smaller(kChunk, k - chunk * kChunk));
  const T exponent = chunk_exponent(range.max - shift);
  const auto keep_chunk = keep.of_chunk(chunk, exponent);
  if (shift != T(0)) return sum_chunk<V, true, false>(first, n, shift, exponent, keep_chunk);
  if (range.is_ordinary(shift, exponent)) return sum_chunk<V, false, true>(first, n, shift, exponent, keep_chunk);
  return sum_chunk<V, false, false>(first, n, shift, exponent, keep_chunk);
}

template <class V, class T>
inline Range<V> range_of_chunk(const T* x, int64_t k, int64_t chunk) {
  return range_of<V>(x + chunk * kChunk, smaller(kChunk, k - chunk * kChunk));
}

// A row's sum, and the shift it was taken with.
template <class T>
struct RowTotal {
  Sum<T> sum;
  T shift;
  bool regular;   // false: the row holds NaN or +inf, or nothing above -inf
  bool ordinary;  // as ordinary_from says, for all of the row
};

template <class V, class T>
inline RowTotal<T> row_total(Sum<T> sum, const Range<V>& range, T shift) {
  return {sum, shift, is_finite(range.max) && is_finite(sum.head), range.is_ordinary(shift, sum.exponent)};
}

template <class V, class T, class Keep>
inline RowTotal<T> total_of_row(const T* x, int64_t k, Keep keep) {
  if (k <= kChunk) {
    const Range<V> range = range_of<V>(x, k);
    const T shift = shift_of(range.max);
    return row_total(sum_of_chunk<V>(x, k, 0, range, shift, keep), range, shift);
  }
  // The row's maximum is known only at its end. Nearly every row needs no shift; one that does is summed again.
  T shift = T(0);
  for (;;) {
    ChunkTree<T> tree;
    Range<V> range;
    for (int64_t chunk = 0; chunk * kChunk < k; chunk++) {
      const Range<V> of_chunk = range_of_chunk<V>(x, k, chunk);
      range.include(of_chunk);
      tree.push(sum_of_chunk<V>(x, k, chunk, of_chunk, shift, keep));
    }
    const RowTotal<T> total = row_total(tree.total(), range, shift);
    if (!is_finite(range.max) || shift_of(range.max) == shift) return total;
    shift = shift_of(range.max);
  }
}

// Probabilities from kept exponentials. `factor` takes them from their chunk's reference to the row's (a power of two).
// The result may replace the heads.
template <class V, bool scaled, bool ordinary, class T>
inline void divide_kept(const T* head, const T* tail, T* y, int64_t n, Pair<T> inverse, T factor) {
  constexpr int W = Lanes<V>::width;
  const Pair<V> inverse_v = {broadcast<V>(inverse.head), broadcast<V>(inverse.tail)};
  const V factor_v = broadcast<V>(factor);
  for (int64_t i = 0; i < n; i += W) {
    Pair<V> term = {Lanes<V>::load(head + i), Lanes<V>::load(tail + i)};
    if (scaled) term = {term.head * factor_v, term.tail * factor_v};
    store_up_to<V>(y + i, n - i, probability<ordinary>(term, inverse_v));
  }
}

// Probabilities of a whole row from its kept exponentials.
template <class V, class T>
inline void divide_kept_row(KeepTerms<T> kept, T* y, int64_t k, const RowTotal<T>& row) {
  // The factor 2^(chunk's - row's reference) may be below the normal range where the products are not: it is taken
  // 2^headroom times too large, which the scaled terms leave room for, and the reciprocal as much too small.
  constexpr int headroom = Format<T>::scale / 3;
  const T down = power_of_two(T(-headroom));
  const Pair<T> inverse = reciprocal(row.sum);
  const Pair<T> inverse_down = {inverse.head * down, inverse.tail * down};
  for (int64_t first = 0; first < k; first += kChunk) {
    const T* head = kept.head + first;
    const T* tail = kept.tail + first;
    const int64_t n = smaller(kChunk, k - first);
    const T exponent = kept.exponents[first / kChunk] - row.sum.exponent;
    if (exponent != T(0)) {
      divide_kept<V, true, false>(head, tail, y + first, n, inverse_down, power_of_two(exponent + T(headroom)));
    } else if (row.ordinary) {
      divide_kept<V, false, true>(head, tail, y + first, n, inverse, T(1));
    } else {
      divide_kept<V, false, false>(head, tail, y + first, n, inverse, T(1));
    }
  }
}

// Elements of memory for the exponentials of a row of k.
template <class V>
constexpr int64_t kept_elements(int64_t k) {
  return 2 * (k + Lanes<V>::width) + (k + kChunk - 1) / kChunk;
}

template <class V, class T>
inline KeepTerms<T> kept_in(T* memory, int64_t k) {
  T* tail = memory + k + Lanes<V>::width;
  return {memory, tail, tail + k + Lanes<V>::width};
}

// Softmax of a row whose exponentials are kept in `kept`. The writer, where there is one, gets the result.
template <class V, class T>
inline void softmax_kept_row(const T* x, T* y, int64_t k, KeepTerms<T> kept, Writer<V>* writer) {
  const RowTotal<T> row = total_of_row<V>(x, k, kept);
  T* to = writer ? kept.head : y;
  if (row.regular) {
    divide_kept_row<V>(kept, to, k, row);
  } else {
    fill(to, k, canonical_nan<T>());
  }
  if (writer) writer->write(kept.head, k);
}

// Probabilities of n logits.
template <class V, bool shifted, bool ordinary, class T>
inline void probabilities_of(const T* x, T* y, int64_t n, T shift, Sum<T> sum) {
  constexpr int W = Lanes<V>::width;
  const ExpReference<V> reference = exp_reference(broadcast<V>(sum.exponent));
  const Pair<T> inverse = reciprocal(sum);
  const Pair<V> inverse_v = {broadcast<V>(inverse.head), broadcast<V>(inverse.tail)};
  const V shift_v = broadcast<V>(shift);
  int64_t i = 0;
  for (; i + W <= n; i += W) {
    const V logits = Lanes<V>::load(x + i);
    const Pair<V> term = exp_scaled<ordinary>(shifted ? logits - shift_v : logits, reference);
    Lanes<V>::store(y + i, probability<ordinary>(term, inverse_v));
  }
  if (i < n) {
    const int rest = static_cast<int>(n - i);
    const V logits = Lanes<V>::load_part(x + i, rest, negative_infinity<T>());
    const Pair<V> term = exp_scaled(shifted ? logits - shift_v : logits, reference);
    Lanes<V>::store_part(y + i, rest, probability(term, inverse_v));
  }
}

// Probabilities of the columns [first, last) of a row from their logits.
template <class V, class T>
inline void write_probabilities(const T* x, T* y, int64_t first, int64_t last, const RowTotal<T>& row,
                                Writer<V>* writer) {
  alignas(64) T buffer[kChunk + Lanes<V>::width];
  for (int64_t i = first; i < last; i += kChunk) {
    const int64_t n = smaller(kChunk, last - i);
    T* to = writer ? buffer : y + i;
    if (!row.regular) {
      fill(to, n, canonical_nan<T>());
    } else if (row.shift != T(0)) {
      probabilities_of<V, true, false>(x + i, to, n, row.shift, row.sum);
    } else if (row.ordinary) {
      probabilities_of<V, false, true>(x + i, to, n, row.shift, row.sum);
    } else {
      probabilities_of<V, false, false>(x + i, to, n, row.shift, row.sum);
    }
    if (writer) writer->write(buffer, n);
  }
}

// Rows of any length. `memory` holds kept_elements(k), or is null where there is none: exponentials of rows longer than
// kChunksOnStack chunks are then computed twice.
template <class V, class T>
inline void softmax_rows_along(const T* x, T* y, int64_t rows, int64_t k, T* memory, Writer<V>* writer) {
  alignas(64) T on_stack[kept_elements<V>(kKeptOnStack)];
  if (k <= kKeptOnStack) memory = on_stack;
  for (int64_t row = 0; row < rows; row++, x += k, y += k) {
    if (memory) {
      softmax_kept_row<V>(x, y, k, kept_in<V>(memory, k), writer);
    } else {
      write_probabilities<V>(x, y, 0, k, total_of_row<V>(x, k, KeepNothing()), writer);
    }
  }
}

}  // namespace
}  // namespace softmax_native
