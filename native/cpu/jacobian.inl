// Jacobians of softmax.
#pragma once

#include "../ops/jacobian.h"
#include "columns.inl"
#include "rows.inl"

namespace softmax_native {
namespace {

// Jacobians of rows up to this length are made side by side, one in each lane. Larger ones are made line by line.
constexpr int kShortJacobian = 16;

// Lines up to this length are made in a buffer where they are to be written past the caches.
template <class T>
constexpr int kShortLine = 256 / sizeof(T);

template <class V, class T>
inline void diagonal_along(const T* x, const T* p, int64_t k, T* diagonal) {
  constexpr int W = Lanes<V>::width;
  V largest = broadcast<V>(T(0));
  for (int64_t i = 0; i < k; i += W) {
    const V p_i = load_up_to<V>(p + i, k - i, T(0));
    largest = larger(p_i, largest);
    store_up_to<V>(diagonal + i, k - i, jacobian_diagonal(p_i));
  }
  if (!(Lanes<V>::fold_max(largest) > T(0.5))) return;
  int64_t peak = 0;
  while (!(p[peak] > T(0.5))) peak++;

  if (k <= W) {
    alignas(64) T others[W];
    for (int64_t i = 0; i < k; i++) others[i] = i == peak ? negative_infinity<T>() : x[i];
    const int n = static_cast<int>(k);
    const T max = RowInRegister<V>::max_of(x, n), max_of_others = RowInRegister<V>::max_of(others, n);
    const T shift = shift_of(max);
    diagonal[peak] = jacobian_diagonal(p[peak], RowInRegister<V>(x, n, max, shift).total.sum,
                                       RowInRegister<V>(others, n, max_of_others, shift).total.sum);
    return;
  }
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
    const Range<V> range = range_of_chunk<V>(columns, left, 0);
    others.push(sum_of_chunk<V>(columns, left, 0, range, all.shift, KeepNothing()));
  }
  diagonal[peak] = jacobian_diagonal(p[peak], all.sum, others.total());
}

// The lines [first, last) of a Jacobian, written to their places in it or appended by the writer. After the k
// probabilities a register may be read; nothing but time depends on what it holds (subnormal numbers take long).
template <class V, class T>
inline void jacobian_lines_along(const T* p, const T* diagonal, int64_t k, int64_t first, int64_t last, T* jacobian,
                                 Writer<V>* writer) {
  constexpr int W = Lanes<V>::width;
  const V nan = broadcast<V>(canonical_nan<T>());
  for (int64_t i = first; i < last; i++) {
    const bool is_nan = p[i] != p[i];
    const V p_i_up = broadcast<V>(jacobian_scale_up(p[i]));
    const auto entries = [&](int64_t j) SOFTMAX_INLINED {
      return is_nan ? nan : jacobian_off_diagonal(p_i_up, Lanes<V>::load(p + j));
    };
    if (writer) {
      writer->append(k, [&](int64_t j) SOFTMAX_INLINED {
        const V made = entries(j);
        if (i - j < 0 || i - j >= W) return made;
        alignas(64) T with_diagonal[W];
        Lanes<V>::store(with_diagonal, made);
        with_diagonal[i - j] = diagonal[i];
        return Lanes<V>::load(with_diagonal);
      });
    } else {
      T* line = jacobian + i * k;
      int64_t j = 0;
      for (; j + W <= k; j += W) Lanes<V>::store(line + j, entries(j));
      if (j < k) Lanes<V>::store_part(line + j, static_cast<int>(k - j), entries(j));
      line[i] = diagonal[i];
    }
  }
}

// A whole Jacobian, to a buffer with room for a register after it. Meanwhile the writer goes on with the results before.
template <class V, class T>
inline void jacobian_in_buffer(const T* p, const T* diagonal, int k, T* buffer, Writer<V>* writer) {
  constexpr int W = Lanes<V>::width;
  for (int i = 0; i < k; i++) {
    T* line = buffer + i * k;
    const V p_i_up = broadcast<V>(jacobian_scale_up(p[i]));
    // What is made beyond the line, the next one replaces.
    for (int j = 0; j < k; j += W) {
      Lanes<V>::store(line + j, jacobian_off_diagonal(p_i_up, Lanes<V>::load(p + j)));
      writer->step();
    }
    if (p[i] != p[i]) fill(line, k, canonical_nan<T>());
    line[i] = diagonal[i];
  }
}

// Exponentials down to so many powers of two below their reference are the same numbers under any reference between, but
// for a power of two: both are made with powers above 1 (numerics/exp.h), of which no product is too small to be exact.
template <class T>
constexpr int kExactRange = Format<T>::scale / 2;

// The exponentials beside a probability above one half, from those of the whole row: taken to their own reference.
template <class V, class T = Scalar<V>>
struct TermsOfOthers {
  static constexpr int W = Lanes<V>::width;
  const T* head;
  const T* tail;
  const T* probabilities;
  V factor;

  template <class Block>
  SOFTMAX_FN Pair<Block> at(int j) const {
    const Block half = broadcast<Block>(T(0.5)), zero = broadcast<Block>(T(0)), factors = for_columns<Block>(factor);
    const Block p = Lanes<Block>::load(probabilities + j * W);
    const auto of_other = [&](const T* from) SOFTMAX_INLINED {
      return choose_where_less(half, p, zero, Lanes<Block>::load(from + j * W) * factors);
    };
    return {of_other(head), of_other(tail)};
  }
};

// Probabilities and diagonals of a few groups of short rows, side by side in tiles, group g at g * apart.
template <class V, class T = Scalar<V>>
struct ShortDiagonals {
  static constexpr int W = Lanes<V>::width;
  static constexpr int room = (cpu::kShortRow<T> + kGroupsTogether * Lanes<V>::quad) * W;
  alignas(64) T probabilities[room], diagonals[room];
  int apart;

  // Of up to groups_together(k) groups of rows from x on.
  ShortDiagonals(const T* x, int64_t rows, int k, int groups) : apart((k < Lanes<V>::quad ? Lanes<V>::quad : k) * W) {
    alignas(64) T logits[room], heads[room], memory[SideBySide<V>::memory_elements(cpu::kShortRow<T>)];
    SideBySide<V> group[kGroupsTogether];
    for (int g = 0; g < groups; g++) {
      T* tile = logits + g * apart;
      ShortRows<V>{x + g * W * k, k, rows - g * W}.load(tile);
      group[g].read(tile, heads + g * apart, memory + SideBySide<V>::memory_elements(g * k), k);
    }
    for (int g = 0; g < groups; g++) group[g].add(kDirectly<V>, nullptr);
    for (int g = 0; g < groups; g++) group[g].fold();
    for (int g = 0; g < groups; g++) group[g].write_probabilities(probabilities + g * apart);
    for (int g = 0; g < groups; g++) write_diagonals(group[g], g * apart, logits + g * apart, k);
  }

 private:
  void write_diagonals(const SideBySide<V>& rows, int at, T* logits, int k) {
    const V half = broadcast<V>(T(0.5)), lowest = broadcast<V>(negative_infinity<T>());
    const T* p = probabilities + at;
    T* diagonal = diagonals + at;
    V largest = broadcast<V>(T(0)), max = lowest;
    for (int j = 0; j < k; j++) {
      const V p_j = Lanes<V>::load(p + j * W);
      Lanes<V>::store(diagonal + j * W, jacobian_diagonal(p_j));
      largest = larger(p_j, largest);
      // The sum of the others is taken under their own reference.
      const V other = choose_where_less(half, p_j, lowest, Lanes<V>::load(logits + j * W));
      Lanes<V>::store(logits + j * W, other);
      max = larger(other, max);
    }
    if (!Lanes<V>::any_less(half, largest)) return;

    const V exponent = chunk_exponent(max - rows.shift);
    const V of_peak = jacobian_diagonal(largest, rows.sum, sum_of_others(rows, exponent, p, logits, k));
    for (int j = 0; j < k; j++) {
      const V p_j = Lanes<V>::load(p + j * W);
      Lanes<V>::store(diagonal + j * W, choose_where_less(half, p_j, of_peak, Lanes<V>::load(diagonal + j * W)));
    }
  }

  // `others` are the logits with -inf where the probability is above one half.
  static Sum<V> sum_of_others(const SideBySide<V>& rows, V exponent, const T* p, const T* others, int k) {
    const V exact_from = (rows.sum.exponent - broadcast<V>(T(kExactRange<T>))) * broadcast<V>(Format<T>::ln2);
    if (Lanes<V>::any_less(rows.lowest, exact_from)) {
      const TermsOf<V, false> terms = {others, rows.shift, exp_reference(exponent)};
      return sum_columns<cpu::kShortRow<T>>(exponent, k, terms);
    }
    const TermsOfOthers<V> terms = {rows.head, rows.tail, p, power_of_two(rows.sum.exponent - exponent)};
    return sum_columns<cpu::kShortRow<T>>(exponent, k, terms);
  }
};

// Writes the entries of `width` Jacobians of k * k >= quad entries, one after another, from where their rows'
// probabilities and diagonals lie side by side. Meanwhile the writer, where there is one, goes on with the results
// before.
template <class V, class T>
inline void store_entries(const T* probabilities, const T* diagonals, int k, T* to, Writer<V>* writer) {
  constexpr int W = Lanes<V>::width, quad = Lanes<V>::quad;
  V p[kShortJacobian], up[kShortJacobian];
  for (int j = 0; j < k; j++) {
    p[j] = Lanes<V>::load(probabilities + j * W);
    up[j] = jacobian_scale_up(p[j]);
  }
  const int entries = k * k;
  for (int entry = 0, i = 0, j = 0; entry < entries; entry += quad) {
    if (entry + quad > entries) {
      // The last entries are made together with some of those before them.
      entry = entries - quad;
      i = entry / k;
      j = entry % k;
    }
    V columns[quad];
    for (int c = 0; c < quad; c++) {
      columns[c] = i == j ? Lanes<V>::load(diagonals + i * W) : jacobian_off_diagonal(up[i], p[j]);
      if (++j == k) i++, j = 0;
    }
    Lanes<V>::store_quads(to + entry, entries, columns);
    for (int c = 0; writer && c < quad; c++) writer->step();
  }
  for (int lane = 0; lane < W; lane++) {
    if (probabilities[lane] != probabilities[lane]) fill(to + lane * entries, entries, canonical_nan<T>());
  }
}

// Elements for the Jacobians of a group of rows, or for one made line by line, and a register after them.
template <class V, class T = Scalar<V>>
constexpr int kJacobianBuffer = (kShortJacobian * kShortJacobian * Lanes<V>::width > kShortLine<T> * kShortLine<T>
                                     ? kShortJacobian * kShortJacobian * Lanes<V>::width
                                     : kShortLine<T> * kShortLine<T>)+Lanes<V>::width;

// Groups of rows that are worked on together: as softmax does it, but few enough for both buffers to stay in the level-1
// cache. (For 4 logits that takes 0.8 of the time; two groups of 8 logits took 1.4 times as long as one after the other.)
template <class V>
inline int jacobians_together(int k) {
  constexpr int kMostEntries = 100;  // of a row from each group
  const int fit = kMostEntries / (k * k), groups = groups_together<Scalar<V>>(k);
  return fit < 1 ? 1 : fit < groups ? fit : groups;
}

// Jacobians of rows of 2 to kShortRow logits.
template <class V, class T>
inline void short_jacobians(const T* x, T* jacobian, int64_t rows, int k, T* memory, Writer<V>* writer) {
  constexpr int W = Lanes<V>::width;
  // Results are made in one of them while those in the other are written.
  T *buffer = memory, *other = memory + kJacobianBuffer<V>;
  const auto append_buffer = [&](int64_t n) {
    writer->append_later(buffer, n);
    T* made = buffer;
    buffer = other;
    other = made;
  };
  const int entries = k * k;
  const int together = jacobians_together<V>(k);
  for (int64_t row = 0; row < rows; row += together * W) {
    const int64_t n = smaller(together * W, rows - row);
    const int groups = static_cast<int>((n + W - 1) / W);
    const ShortDiagonals<V> diagonals(x + row * k, rows - row, k, groups);
    T* to = jacobian + row * entries;
    if (k > kShortJacobian) {
      const ShortRows<V> source = {x + row * k, k, rows - row};
      alignas(64) T p[ShortRows<V>::room], diagonal[ShortRows<V>::room];
      source.store_turned(diagonals.probabilities, p);
      source.store_turned(diagonals.diagonals, diagonal);
      Lanes<V>::store(p + W * k, broadcast<V>(T(0)));
      for (int64_t i = 0; i < n; i++) {
        if (writer && k <= kShortLine<T>) {
          jacobian_in_buffer(p + i * k, diagonal + i * k, k, buffer, writer);
          append_buffer(entries);
        } else {
          jacobian_lines_along<V>(p + i * k, diagonal + i * k, k, 0, k, to + i * entries, writer);
        }
      }
      continue;
    }
    const bool directly = !writer && n == together * W;
    for (int g = 0; g < groups; g++) {
      const int at = g * diagonals.apart;
      store_entries(diagonals.probabilities + at, diagonals.diagonals + at, k,
                    (directly ? to : buffer) + g * W * entries, writer);
    }
    if (writer) {
      append_buffer(n * entries);
    } else if (!directly) {
      for (int64_t i = 0; i < n * entries; i++) to[i] = buffer[i];
    }
  }
  if (writer) writer->finish();
}

// Jacobians of whole rows. `memory` holds jacobian_elements(k) values.
template <class V, class T = Scalar<V>>
constexpr int64_t jacobian_elements(int64_t k) {
  return k <= cpu::kShortRow<T> ? 2 * kJacobianBuffer<V> : 2 * (k + Lanes<V>::width);
}

template <class V, class T>
inline void jacobians_along(const T* x, T* jacobian, int64_t rows, int64_t k, T* memory, Writer<V>* writer) {
  if (rows > 1 && k >= 2 && k <= cpu::kShortRow<T> && Lanes<V>::width > 1) {
    return short_jacobians<V>(x, jacobian, rows, static_cast<int>(k), memory, writer);
  }
  T* p = memory;
  T* diagonal = memory + k + Lanes<V>::width;
  Lanes<V>::store(p + k, broadcast<V>(T(0)));
  for (int64_t row = 0; row < rows; row++, x += k, jacobian += k * k) {
    softmax_rows_along<V>(x, p, 1, k, static_cast<T*>(nullptr), kDirectly<V>);
    diagonal_along<V>(x, p, k, diagonal);
    jacobian_lines_along<V>(p, diagonal, k, 0, k, jacobian, writer);
  }
}

}  // namespace
}  // namespace softmax_native
