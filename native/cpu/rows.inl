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

// The exponentials of a chunk as they are added up: those on the grid, and the rests by lanes.
template <class V, class T = Scalar<V>>
struct AddedTerms {
  alignas(64) T rest[kLanes];
  V on_grid;

  // Their sum, in the order of numerics/sum.h; there are n.
  Sum<T> fold(T exponent, int n) {
    constexpr int W = Lanes<V>::width;
    for (int half = kLanes / 2; half >= W; half /= 2) {
      for (int lane = 0; lane < half && lane + half < n; lane += W) {
        Lanes<V>::store(rest + lane, Lanes<V>::load(rest + lane) + Lanes<V>::load(rest + lane + half));
      }
    }
    return chunk_sum(exponent, Lanes<V>::fold_sum(on_grid), Lanes<V>::fold_sum(Lanes<V>::load(rest)));
  }
};

// What becomes of a chunk's exponentials beside their sum.
struct KeepNothing {
  template <class T>
  KeepNothing of_chunk(int64_t, T) const {
    return *this;
  }
  template <class Block>
  void operator()(int64_t, const Pair<Block>&) const {}
};

// Writes a row's exponentials to two arrays with room for a whole last register, and their chunks' references. Meanwhile
// the writer, where there is one, goes on with the results before. (Pairs come by reference: GCC 12 copies one of wide
// registers through memory in small pieces.)
template <class V, class T = Scalar<V>>
struct KeepTerms {
  T* head;
  T* tail;
  T* exponents;
  Writer<V>* writer;
  KeepTerms of_chunk(int64_t chunk, T exponent) const {
    exponents[chunk] = exponent;
    return {head + chunk * kChunk, tail + chunk * kChunk, exponents, writer};
  }
  template <class Block>
  SOFTMAX_FN void operator()(int64_t column, const Pair<Block>& term) const {
    Lanes<Block>::store(head + column, term.head);
    Lanes<Block>::store(tail + column, term.tail);
    if (!writer) return;
    for (int i = 0; i < Lanes<Block>::width; i += Lanes<V>::width) writer->step();
  }
};

// Adds up the exponentials of the n <= kChunk logits of a chunk under the reference `exponent`. `ordinary`: all of them
// are, as ordinary_from says.
template <class V, bool shifted, bool ordinary, class T, class Keep>
inline void add_terms(const T* x, int n, T shift, T exponent, Keep keep, AddedTerms<V>& added) {
  using Block = Two<V>;
  constexpr int W = Lanes<V>::width;
  Block on_grid = broadcast<Block>(T(0));
  const ExpReference<Block> references = exp_reference(broadcast<Block>(exponent));
  const Block shifts = broadcast<Block>(shift);
  const auto rests_at = [&](int column) SOFTMAX_INLINED {
    // The row or chunk after this one, which is read next.
    for (int i = 0; i < Lanes<Block>::width; i += 64 / sizeof(T)) __builtin_prefetch(x + column + kChunk + i);
    const Block logits = Lanes<Block>::load(x + column);
    const Pair<Block> term = exp_scaled<ordinary>(shifted ? logits - shifts : logits, references);
    keep(column, term);
    return split_on_grid(term, on_grid);
  };
  int column = 0;
  const int in_blocks = n - n % Lanes<Block>::width;
  for (; column < in_blocks && column < kLanes; column += Lanes<Block>::width) {
    Lanes<Block>::store(added.rest + column, rests_at(column));
  }
  for (; column < in_blocks; column += Lanes<Block>::width) {
    T* lane = added.rest + column % kLanes;
    Lanes<Block>::store(lane, Lanes<Block>::load(lane) + rests_at(column));
  }

  added.on_grid = on_grid.a + on_grid.b;
  const ExpReference<V> reference = {references.magic.a, references.bound.a};
  for (; column < n; column += W) {
    const V logits = load_up_to<V>(x + column, n - column, negative_infinity<T>());
    const Pair<V> term = exp_scaled(shifted ? logits - shifts.a : logits, reference);
    keep(column, term);
    const V rest = split_on_grid(term, added.on_grid);
    T* lane = added.rest + column % kLanes;
    Lanes<V>::store(lane, column < kLanes ? rest : Lanes<V>::load(lane) + rest);
  }
}

// Chunk `chunk` of a row of k, given its range.
template <class V, class T, class Keep>
inline T add_chunk(const T* x, int64_t k, int64_t chunk, const Range<V>& range, T shift, Keep keep,
                   AddedTerms<V>& added) {
  const T* first = x + chunk * kChunk;
  const int n = static_cast<int>(smaller(kChunk, k - chunk * kChunk));
  const T exponent = chunk_exponent(range.max - shift);
  const auto keep_chunk = keep.of_chunk(chunk, exponent);
  if (shift != T(0)) {
    add_terms<V, true, false>(first, n, shift, exponent, keep_chunk, added);
  } else if (range.is_ordinary(shift, exponent)) {
    add_terms<V, false, true>(first, n, shift, exponent, keep_chunk, added);
  } else {
    add_terms<V, false, false>(first, n, shift, exponent, keep_chunk, added);
  }
  return exponent;
}

template <class V, class T, class Keep>
inline Sum<T> sum_of_chunk(const T* x, int64_t k, int64_t chunk, const Range<V>& range, T shift, Keep keep) {
  AddedTerms<V> added;
  const T exponent = add_chunk(x, k, chunk, range, shift, keep, added);
  return added.fold(exponent, static_cast<int>(smaller(kChunk, k - chunk * kChunk)));
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
inline void divide_kept_row(const KeepTerms<V>& kept, T* y, int64_t k, const RowTotal<T>& row) {
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

// Memory for the exponentials of a row of k, each part of it in whole registers: where they start aligned, so do all.
template <class V>
constexpr int64_t in_registers(int64_t elements) {
  return (elements + Lanes<V>::width - 1) / Lanes<V>::width * Lanes<V>::width;
}

template <class V>
constexpr int64_t kept_elements(int64_t k) {
  return 3 * in_registers<V>(k + Lanes<V>::width) + in_registers<V>((k + kChunk - 1) / kChunk);
}

template <class V, class T>
inline KeepTerms<V> kept_in(T* memory, int64_t k, Writer<V>* writer) {
  const int64_t part = in_registers<V>(k + Lanes<V>::width);
  return {memory, memory + part, memory + 3 * part, writer};
}

// The part of it for results that wait to be written.
template <class V, class T>
inline T* waiting_in(T* memory, int64_t k) {
  return memory + 2 * in_registers<V>(k + Lanes<V>::width);
}

// Probabilities of a row whose exponentials are kept.
template <class V, class T>
inline void write_kept_row(const KeepTerms<V>& kept, T* y, int64_t k, const RowTotal<T>& row) {
  if (row.regular) {
    divide_kept_row<V>(kept, y, k, row);
  } else {
    fill(y, k, canonical_nan<T>());
  }
}

// The exponentials of a row that fits into a register, under a shift, and their sum. The operations wait for each other
// from the first to the last, so that only their number in a chain counts: exponentials begin while the maximum is still
// to be found.
template <class V, class T = Scalar<V>>
struct RowInRegister {
  Pair<V> term;
  RowTotal<T> total;

  static T max_of(const T* x, int k) {
    return Lanes<V>::fold_max_of(larger(load_up_to<V>(x, k, x[0]), broadcast<V>(negative_infinity<T>())), k);
  }

  RowInRegister(const T* x, int k, T max, T shift) {
    V logits = load_up_to<V>(x, k, negative_infinity<T>());
    if (shift != T(0)) logits = logits - broadcast<V>(shift);
    const ReducedExp<V> reduced = reduced_exp(logits, broadcast<V>(T(0)) - exponent_of(logits));
    const T exponent = chunk_exponent(max - shift);
    const ExpReference<V> reference = exp_reference(broadcast<V>(exponent));
    term = scaled_exp<false>(logits, reduced, reference.magic - reduced.minus_n, reference);
    V on_grid = broadcast<V>(T(0));
    const V rest = split_on_grid(term, on_grid);
    const Sum<T> sum = chunk_sum(exponent, Lanes<V>::fold_sum_of(on_grid, k), Lanes<V>::fold_sum_of(rest, k));
    total = {sum, shift, is_finite(max) && is_finite(sum.head), false};
  }
};

template <class V, class T>
inline void softmax_row_in_register(const T* x, T* y, int k) {
  const T max = RowInRegister<V>::max_of(x, k);
  const RowInRegister<V> row(x, k, max, shift_of(max));
  if (!row.total.regular) return fill(y, k, canonical_nan<T>());
  const Pair<T> inverse = reciprocal(row.total.sum);
  store_up_to<V>(y, k, probability(row.term, Pair<V>{broadcast<V>(inverse.head), broadcast<V>(inverse.tail)}));
}

// A row's sum and what follows from it are some fifty operations that wait for each other: so a few rows that are short
// beside them are added up before the first of them is finished.
constexpr int kRowsTogether = 4;
template <class T>
constexpr int kRowTogether = 2048 / sizeof(T);  // the longest such row

template <class V, class T>
inline void softmax_rows_together(const T* x, T* y, int64_t rows, int64_t k, Writer<V>* writer) {
  alignas(64) T memory[kRowsTogether][kept_elements<V>(kRowTogether<T>)];
  alignas(64) T waiting[kRowsTogether * kRowTogether<T> + Lanes<V>::width];
  Range<V> range[kRowsTogether];
  T shift[kRowsTogether], exponent[kRowsTogether];
  AddedTerms<V> added[kRowsTogether];
  RowTotal<T> total[kRowsTogether];
  for (; rows > 0; rows -= kRowsTogether, x += kRowsTogether * k, y += kRowsTogether * k) {
    const int n = static_cast<int>(smaller(kRowsTogether, rows));
    for (int row = 0; row < n; row++) {
      range[row] = range_of<V>(x + row * k, k);
      shift[row] = shift_of(range[row].max);
    }
    for (int row = 0; row < n; row++) {
      const KeepTerms<V> kept = kept_in<V>(memory[row], k, writer);
      exponent[row] = add_chunk<V>(x + row * k, k, 0, range[row], shift[row], kept, added[row]);
    }
    for (int row = 0; row < n; row++) {
      total[row] = row_total(added[row].fold(exponent[row], static_cast<int>(k)), range[row], shift[row]);
    }
    if (writer) writer->finish();
    T* to = writer ? waiting : y;
    for (int row = 0; row < n; row++) {
      write_kept_row<V>(kept_in<V>(memory[row], k, writer), to + row * k, k, total[row]);
    }
    if (writer) writer->append_later(waiting, n * k);
  }
  if (writer) writer->finish();
}

// Probabilities of n logits.
template <class V, bool shifted, bool ordinary, class T>
inline void probabilities_of(const T* x, T* y, int64_t n, T shift, Sum<T> sum) {
  using Block = Two<V>;
  constexpr int W = Lanes<V>::width;
  const ExpReference<Block> references = exp_reference(broadcast<Block>(sum.exponent));
  const Pair<T> inverse = reciprocal(sum);
  const Pair<Block> inverses = {broadcast<Block>(inverse.head), broadcast<Block>(inverse.tail)};
  const Block shifts = broadcast<Block>(shift);
  int64_t i = 0;
  for (; i + Lanes<Block>::width <= n; i += Lanes<Block>::width) {
    const Block logits = Lanes<Block>::load(x + i);
    const Pair<Block> term = exp_scaled<ordinary>(shifted ? logits - shifts : logits, references);
    Lanes<Block>::store(y + i, probability<ordinary>(term, inverses));
  }
  const ExpReference<V> reference = {references.magic.a, references.bound.a};
  for (; i < n; i += W) {
    const V logits = load_up_to<V>(x + i, n - i, negative_infinity<T>());
    const Pair<V> term = exp_scaled(shifted ? logits - shifts.a : logits, reference);
    store_up_to<V>(y + i, n - i, probability(term, Pair<V>{inverses.head.a, inverses.tail.a}));
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
    if (writer) writer->append(n, [&](int64_t j) { return Lanes<V>::load(buffer + j); });
  }
}

// Rows of any length. `memory` holds kept_elements(k), or is null where there is none: exponentials of rows longer than
// kKeptOnStack are then computed twice.
template <class V, class T>
inline void softmax_rows_along(const T* x, T* y, int64_t rows, int64_t k, T* memory, Writer<V>* writer) {
  if (rows == 1 && k <= Lanes<V>::width && !writer) return softmax_row_in_register<V>(x, y, static_cast<int>(k));
  if (rows > 1 && k <= kRowTogether<T>) return softmax_rows_together<V>(x, y, rows, k, writer);
  alignas(64) T on_stack[kept_elements<V>(kKeptOnStack<T>)];
  if (k <= kKeptOnStack<T>) memory = on_stack;
  for (int64_t row = 0; row < rows; row++, x += k, y += k) {
    if (memory) {
      const KeepTerms<V> kept = kept_in<V>(memory, k, writer);
      const RowTotal<T> total = total_of_row<V>(x, k, kept);
      if (writer) writer->finish();
      T* to = writer ? waiting_in<V>(memory, k) : y;
      write_kept_row<V>(kept, to, k, total);
      if (writer) writer->append_later(to, k);
    } else {
      write_probabilities<V>(x, y, 0, k, total_of_row<V>(x, k, KeepNothing()), writer);
    }
  }
  if (writer) writer->finish();
}

}  // namespace
}  // namespace softmax_native
