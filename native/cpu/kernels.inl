// The CPU kernels, written once over a vector type (V) and its element type (T = Scalar<V>).
//
// Included by each kernels_*.cpp after that instruction set's vector_*.h. Nothing here, and in what it includes, may use
// a template or inline function of the standard library: the linker could take this file's copy, compiled for a newer
// processor, for all.
//
//   rows.inl      rows along the lanes of a register
//   columns.inl   rows side by side, one in each lane: other axes, and short rows
//   jacobian.inl, row_max.inl
//   writer.inl    results that are written past the caches
#include "columns.inl"
#include "jacobian.inl"
#include "row_max.inl"
#include "rows.inl"
#include "writer.inl"

namespace softmax_native {
namespace {

// The table's functions.
template <class V, class T = Scalar<V>>
struct KernelsFor {
  static constexpr int W = Lanes<V>::width;

  static int64_t rows_memory(int64_t k) { return k <= kKeptOnStack<T> ? 0 : kept_elements<V>(k); }

  static void softmax_rows(const T* x, T* y, int64_t rows, int64_t k, T* memory, bool past_caches) {
    if (past_caches && Lanes<V>::can_stream) {
      Writer<V> writer(y);
      return softmax_rows_to(x, y, rows, k, memory, &writer);
    }
    softmax_rows_to(x, y, rows, k, memory, kDirectly<V>);
  }

  static void softmax_rows_to(const T* x, T* y, int64_t rows, int64_t k, T* memory, Writer<V>* writer) {
    if (k == 1) {
      // The exponential over itself: two numbers of twice the precision, whose ratio rounds to 1.
      for (int64_t row = 0; row < rows; row++) y[row] = is_finite(x[row]) ? T(1) : canonical_nan<T>();
    } else if (k <= cpu::kShortRow<T> && rows > 1 && W > 1) {
      softmax_short_rows<V>(x, y, rows, static_cast<int>(k), writer);
    } else {
      softmax_rows_along<V>(x, y, rows, k, memory, writer);
    }
  }

  static int64_t columns_memory(int64_t k) { return tile_elements<V>(k, kGroups); }

  static void softmax_columns(const T* x, T* y, int64_t k, int64_t stride, int64_t columns, T* memory,
                              bool past_caches) {
    const bool whole = stride % W == 0 && columns % W == 0 && reinterpret_cast<uintptr_t>(y) % (W * sizeof(T)) == 0;
    for (int64_t i = 0; i < columns; i += kGroups * W) {
      const int n = static_cast<int>(smaller(kGroups * W, columns - i));
      softmax_side_by_side<V>(AdjacentColumns<V>{x + i, y + i, stride, n, past_caches && whole}, k, memory);
    }
    if (past_caches) Lanes<V>::fence();
  }

  static void softmax_scattered(const T* x, T* y, int64_t k, int64_t inner, int64_t first, int64_t last, T* memory) {
    for (int64_t row = first; row < last; row += W) {
      const int n = static_cast<int>(smaller(W, last - row));
      softmax_side_by_side<V>(ScatteredRows<V>{x, y, k, static_cast<int>(inner), row, n}, k, memory);
    }
  }

  static void chunk_sums(const T* x, int64_t k, T shift, int64_t first, int64_t last, PartialSum<T>* sums) {
    for (int64_t chunk = first; chunk < last; chunk++) {
      const Range<V> range = range_of_chunk<V>(x, k, chunk);
      const Sum<T> sum = sum_of_chunk<V>(x, k, chunk, range, shift, KeepNothing());
      const T min = -Lanes<V>::fold_max(broadcast<V>(T(0)) - range.min);
      sums[chunk] = {range.max, min, sum.exponent, sum.head, sum.tail};
    }
  }

  static PartialSum<T> merge_chunks(const PartialSum<T>* sums, int64_t chunks) {
    ChunkTree<T> tree;
    T max = negative_infinity<T>(), min = infinity<T>();
    for (int64_t chunk = 0; chunk < chunks; chunk++) {
      max = larger(sums[chunk].max, max);
      min = lesser(sums[chunk].min, min);
      tree.push({sums[chunk].exponent, sums[chunk].head, sums[chunk].tail});
    }
    const Sum<T> sum = tree.total();
    return {max, min, sum.exponent, sum.head, sum.tail};
  }

  static T row_shift(T row_max) { return is_finite(row_max) ? shift_of(row_max) : T(0); }

  static void probabilities(const T* x, T* y, T shift, PartialSum<T> sum, int64_t first, int64_t last,
                            bool past_caches) {
    const Range<V> range = {sum.max, broadcast<V>(sum.min)};
    const RowTotal<T> row = row_total<V>(Sum<T>{sum.exponent, sum.head, sum.tail}, range, shift);
    if (past_caches && Lanes<V>::can_stream) {
      Writer<V> writer(y + first);
      return write_probabilities<V>(x, y, first, last, row, &writer);
    }
    write_probabilities<V>(x, y, first, last, row, kDirectly<V>);
  }

  static void row_max(const T* x, int64_t rows, int64_t k, T* max, int32_t* argmax) {
    if (rows > 1 && k >= 1 && k <= cpu::kShortRow<T> && W > 1) {
      return row_max_short<V>(x, rows, static_cast<int>(k), max, argmax);
    }
    for (int64_t row = 0; row < rows; row++) {
      row_max_along<V>(x + row * k, k, max + row, argmax ? argmax + row : nullptr);
    }
  }

  static void column_max(const T* x, int64_t k, int64_t stride, int64_t columns, T* max, int32_t* argmax) {
    for (int64_t i = 0; i < columns; i += W) {
      const int n = static_cast<int>(smaller(W, columns - i));
      column_max_group<V>(x + i, k, stride, n, max + i, argmax ? argmax + i : nullptr);
    }
  }

  static int64_t jacobian_memory(int64_t k) { return jacobian_elements<V>(k); }

  static void jacobian_rows(const T* x, T* jacobian, int64_t rows, int64_t k, T* memory, bool past_caches) {
    if (past_caches && Lanes<V>::can_stream) {
      Writer<V> writer(jacobian);
      return jacobians_along<V>(x, jacobian, rows, k, memory, &writer);
    }
    jacobians_along<V>(x, jacobian, rows, k, memory, kDirectly<V>);
  }

  static void jacobian_diagonal(const T* x, const T* p, int64_t k, T* diagonal) {
    diagonal_along<V>(x, p, k, diagonal);
  }

  static void jacobian_lines(const T* p, const T* diagonal, int64_t k, int64_t first, int64_t last, T* jacobian,
                             bool past_caches) {
    if (past_caches && Lanes<V>::can_stream) {
      Writer<V> writer(jacobian + first * k);
      return jacobian_lines_along<V>(p, diagonal, k, first, last, jacobian, &writer);
    }
    jacobian_lines_along<V>(p, diagonal, k, first, last, jacobian, kDirectly<V>);
  }

  static constexpr cpu::Kernels<T> table = {softmax_rows,    rows_memory,       softmax_columns, softmax_scattered,
                                            columns_memory,  chunk_sums,        merge_chunks,    row_shift,
                                            probabilities,   row_max,           column_max,      jacobian_rows,
                                            jacobian_memory, jacobian_diagonal, jacobian_lines};
};

}  // namespace
}  // namespace softmax_native
