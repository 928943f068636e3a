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

// Probabilities and diagonals of up to `width` short rows, side by side in tiles.
template <class V, class T = Scalar<V>>
struct ShortDiagonals {
  static constexpr int W = Lanes<V>::width;
  static constexpr int most = cpu::kShortRow<T> + Lanes<V>::quad;
  alignas(64) T probabilities[most * W], diagonals[most * W];
  V irregular;
  bool any_irregular;

  ShortDiagonals(const ShortRows<V>& source, int k) {
    alignas(64) T tile[most * W], memory[SideBySide<V>::memory_elements(cpu::kShortRow<T>)];
    source.load(tile);
    const SideBySide<V> rows(tile, memory, k);
    rows.write_probabilities(probabilities);
    irregular = rows.irregular;
    any_irregular = rows.any_irregular;
    write_diagonals(rows, source, k);
  }

 private:
  void write_diagonals(const SideBySide<V>& rows, const ShortRows<V>& source, int k) {
    const V half = broadcast<V>(T(0.5)), zero = broadcast<V>(T(0)), lowest = broadcast<V>(negative_infinity<T>());
    const auto p = [&](int j) { return Lanes<V>::load(probabilities + j * W); };
    V largest = zero;
    for (int j = 0; j < k; j++) {
      Lanes<V>::store(diagonals + j * W, jacobian_diagonal(p(j)));
      largest = larger(p(j), largest);
    }
    if (!Lanes<V>::any_less(half, largest)) return;

    // The sum of the others under their own reference: the logit of a probability above one half becomes -inf.
    alignas(64) T logits[most * W];
    source.load(logits);
    V max = lowest;
    for (int j = 0; j < k; j++) {
      const V other = choose_where_less(half, p(j), lowest, Lanes<V>::load(logits + j * W));
      Lanes<V>::store(logits + j * W, other);
      max = larger(other, max);
    }
    const V exponent = chunk_exponent(max - rows.shift);
    const TermsOf<V, false> terms = {logits, rows.shift, exp_reference(exponent)};
    const V of_peak = jacobian_diagonal(largest, rows.sum, sum_columns<cpu::kShortRow<T>>(exponent, k, terms));
    for (int j = 0; j < k; j++) {
      const V diagonal = Lanes<V>::load(diagonals + j * W);
      Lanes<V>::store(diagonals + j * W, choose_where_less(half, p(j), of_peak, diagonal));
    }
  }
};

// Writes the entries of `width` Jacobians of k * k >= quad entries, one after another, from where their rows lie side by
// side. Meanwhile the writer, where there is one, goes on with the results before.
template <class V, class T>
inline void store_entries(const ShortDiagonals<V>& rows, int k, T* to, Writer<V>* writer) {
  constexpr int W = Lanes<V>::width, quad = Lanes<V>::quad;
  V p[kShortJacobian], up[kShortJacobian];
  for (int j = 0; j < k; j++) {
    p[j] = Lanes<V>::load(rows.probabilities + j * W);
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
      columns[c] = i == j ? Lanes<V>::load(rows.diagonals + i * W) : jacobian_off_diagonal(up[i], p[j]);
      if (rows.any_irregular) columns[c] = nan_where(rows.irregular, columns[c]);
      if (++j == k) i++, j = 0;
    }
    Lanes<V>::store_quads(to + entry, entries, columns);
    for (int c = 0; writer && c < quad; c++) writer->step();
  }
}

// Elements for the Jacobians of a group of rows, or for one made line by line, and a register after them.
template <class V, class T = Scalar<V>>
constexpr int kJacobianBuffer = (kShortJacobian * kShortJacobian * Lanes<V>::width > kShortLine<T> * kShortLine<T>
                                     ? kShortJacobian * kShortJacobian * Lanes<V>::width
                                     : kShortLine<T> * kShortLine<T>)+Lanes<V>::width;

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
  const int64_t entries = int64_t(k) * k;
  for (int64_t row = 0; row < rows; row += W, jacobian += W * entries) {
    const ShortRows<V> source = {x + row * k, k, rows - row};
    const ShortDiagonals<V> diagonals(source, k);
    const int64_t n = smaller(W, rows - row);
    if (k > kShortJacobian) {
      alignas(64) T p[ShortRows<V>::room], diagonal[ShortRows<V>::room];
      source.store_turned(diagonals.probabilities, p);
      source.store_turned(diagonals.diagonals, diagonal);
      Lanes<V>::store(p + W * k, broadcast<V>(T(0)));
      for (int64_t i = 0; i < n; i++) {
        if (writer && k <= kShortLine<T>) {
          jacobian_in_buffer(p + i * k, diagonal + i * k, k, buffer, writer);
          append_buffer(entries);
        } else {
          jacobian_lines_along<V>(p + i * k, diagonal + i * k, k, 0, k, jacobian + i * entries, writer);
        }
      }
    } else if (writer) {
      store_entries(diagonals, k, buffer, writer);
      append_buffer(n * entries);
    } else if (n == W) {
      store_entries(diagonals, k, jacobian, writer);
    } else {
      store_entries(diagonals, k, buffer, writer);
      for (int64_t i = 0; i < n * entries; i++) jacobian[i] = buffer[i];
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
