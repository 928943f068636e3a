// Rows side by side, one in each lane. A tile holds the logits of `width` rows, logit j of lane i at j * width + i; where
// rows lie in memory is the business of a Source (see below).
#pragma once

#include "../ops/softmax.h"
#include "common.inl"
#include "two.h"
#include "writer.inl"

namespace softmax_native {
namespace {

// Column groups of one register that are read together: 512 bytes of a line of memory with AVX-512.
constexpr int kGroups = 8;

// 1 where a row is all NaN (it holds NaN or +inf, or nothing above -inf), else 0.
template <class V>
inline V irregular_lanes(V max, V sum) {
  using T = Scalar<V>;
  // x - x is 0 for finite numbers only, and no comparison holds for NaN.
  return choose_where_less((max - max) + (sum - sum), broadcast<V>(T(1)), broadcast<V>(T(0)), broadcast<V>(T(1)));
}

// Whether a value is not 0 in some lane.
template <class V>
inline bool any_nonzero(V v) {
  using T = Scalar<V>;
  return Lanes<V>::any_less(broadcast<V>(T(0)), larger(v, broadcast<V>(T(0)) - v));
}

template <class V>
inline V nan_where(V irregular, V v) {
  using T = Scalar<V>;
  return choose_where_less(irregular, broadcast<V>(T(1)), v, broadcast<V>(canonical_nan<T>()));
}

// The largest and the smallest logit of each row; NaN is passed over.
template <class V>
struct LaneRanges {
  V max = broadcast<V>(negative_infinity<Scalar<V>>());
  V min = broadcast<V>(infinity<Scalar<V>>());
  SOFTMAX_FN void include(V logits) {
    max = larger(logits, max);
    min = lesser(logits, min);
  }
  void include(const LaneRanges& other) {
    max = larger(other.max, max);
    min = lesser(other.min, min);
  }
};

// A register of every row's own value, as often as a Block (V, or Two of it) has columns.
template <class Block, class V>
SOFTMAX_FN Block for_columns(V v) {
  if constexpr (Lanes<Block>::width == Lanes<V>::width) {
    return v;
  } else {
    return {v, v};
  }
}

// The exponentials of the logits in a tile, for one column or for two.
template <class V, bool ordinary, class T = Scalar<V>>
struct TermsOf {
  const T* tile;
  V shift;
  ExpReference<V> reference;

  template <class Block>
  SOFTMAX_FN Pair<Block> at(int j) const {
    const Block logits = Lanes<Block>::load(tile + j * Lanes<V>::width) - for_columns<Block>(shift);
    return exp_scaled<ordinary>(
        logits, ExpReference<Block>{for_columns<Block>(reference.magic), for_columns<Block>(reference.bound)});
  }
};

// Adds up the exponentials of n <= most <= kChunk columns: on the grid into what it returns, and the rests by lanes.
template <int most, class V, class Terms, class T>
inline V add_columns(int n, Terms terms, T* rest) {
  using Block = Two<V>;
  constexpr int W = Lanes<V>::width;
  Block on_grid_block = broadcast<Block>(T(0));
  const auto rest_of_block = [&](int j)
                                 SOFTMAX_INLINED { return split_on_grid(terms.template at<Block>(j), on_grid_block); };
  const int lanes = n < kLanes ? n : kLanes;
  int j = 0;
  for (; j + 2 <= lanes; j += 2) Lanes<Block>::store(rest + j * W, rest_of_block(j));
  if (most > kLanes) {
    for (; j + 2 <= n; j += 2) {
      T* lane = rest + j % kLanes * W;
      Lanes<Block>::store(lane, Lanes<Block>::load(lane) + rest_of_block(j));
    }
  }
  V on_grid = on_grid_block.a + on_grid_block.b;
  if (j < n) {
    const V last = split_on_grid(terms.template at<V>(j), on_grid);
    T* lane = rest + j % kLanes * W;
    Lanes<V>::store(lane, j < kLanes ? last : Lanes<V>::load(lane) + last);
  }
  return on_grid;
}

// Their sum.
template <class V, class T>
inline Sum<V> fold_columns(V exponent, int n, V on_grid, T* rest) {
  constexpr int W = Lanes<V>::width;
  const int lanes = n < kLanes ? n : kLanes;
  for (int half = kLanes / 2; half >= 1; half /= 2) {
    for (int lane = 0; lane < half && lane + half < lanes; lane++) {
      T* to = rest + lane * W;
      Lanes<V>::store(to, Lanes<V>::load(to) + Lanes<V>::load(to + half * W));
    }
  }
  return chunk_sum(exponent, on_grid, Lanes<V>::load(rest));
}

template <int most, class V, class Terms>
inline Sum<V> sum_columns(V exponent, int n, Terms terms) {
  using T = Scalar<V>;
  alignas(64) T rest[(most < kLanes ? most : kLanes) * Lanes<V>::width];
  const V on_grid = add_columns<most, V>(n, terms, rest);
  return fold_columns(exponent, n, on_grid, rest);
}

// A register of short rows in a tile, their exponentials and what they add up to, and probabilities. In steps, each of
// which is taken for a few groups of rows before the next: a step's operations wait for each other.
template <class V, class T = Scalar<V>>
struct SideBySide {
  static constexpr int W = Lanes<V>::width;
  int k;
  T* head;
  T* tail;
  V max;
  V shift;
  V lowest;       // the smallest logit, as shifted
  bool ordinary;  // all logits of all lanes are
  Sum<V> sum;
  Pair<V> inverse;
  V irregular;
  bool any_irregular;

  static constexpr int64_t memory_elements(int columns) { return 2 * columns * W; }

  // The first halves of the exponentials go to `heads`, which may be the tile itself.
  void read(const T* tile, T* heads, T* memory, int columns) {
    k = columns;
    head = heads;
    tail = memory;
    rest_ = memory + k * W;
    logits_ = tile;
    LaneRanges<V> range;
    for (int j = 0; j < k; j++) range.include(Lanes<V>::load(tile + j * W));
    max = range.max;
    shift = shift_of(max);
    lowest = range.min - shift;
    exponent_ = chunk_exponent(max - shift);
    ordinary = !Lanes<V>::any_less(lowest, ordinary_from(exponent_));
  }

  // Meanwhile the writer, where there is one, goes on with the results before, and as many logits from `next` on, where
  // that is not null, are fetched to the cache.
  void add(Writer<V>* writer, const T* next) {
    on_grid_ = ordinary ? add_kept<true>(writer, next) : add_kept<false>(writer, next);
  }

  void fold() {
    sum = fold_columns(exponent_, k, on_grid_, rest_);
    inverse = reciprocal(sum);
    irregular = irregular_lanes(max, sum.head);
    any_irregular = any_nonzero(irregular);
  }

  void write_probabilities(T* to) const {
    if (any_irregular) {
      for (int j = 0; j < k; j++) Lanes<V>::store(to + j * W, nan_where(irregular, probability(term(j), inverse)));
    } else if (ordinary) {
      for (int j = 0; j < k; j++) Lanes<V>::store(to + j * W, probability<true>(term(j), inverse));
    } else {
      for (int j = 0; j < k; j++) Lanes<V>::store(to + j * W, probability(term(j), inverse));
    }
  }

 private:
  template <bool all_ordinary>
  struct KeptTerms {
    TermsOf<V, all_ordinary> terms;
    T* head;
    T* tail;
    Writer<V>* writer;
    const T* next;
    template <class Block>
    SOFTMAX_FN Pair<Block> at(int j) const {
      const Pair<Block> term = terms.template at<Block>(j);
      Lanes<Block>::store(head + j * W, term.head);
      Lanes<Block>::store(tail + j * W, term.tail);
      for (int i = 0; i < Lanes<Block>::width; i += W) {
        if (writer) writer->step();
        if (next) __builtin_prefetch(next + j * W + i);
      }
      return term;
    }
  };

  template <bool all_ordinary>
  V add_kept(Writer<V>* writer, const T* next) {
    const TermsOf<V, all_ordinary> terms = {logits_, shift, exp_reference(exponent_)};
    return add_columns<cpu::kShortRow<T>, V>(k, KeptTerms<all_ordinary>{terms, head, tail, writer, next}, rest_);
  }

  Pair<V> term(int j) const { return {Lanes<V>::load(head + j * W), Lanes<V>::load(tail + j * W)}; }

  const T* logits_;
  T* rest_;
  V exponent_;
  V on_grid_;
};

// Groups of short rows whose exponentials fill the level-1 cache together.
constexpr int kGroupsTogether = 4;

template <class T>
inline int groups_together(int k) {
  const int fit = cpu::kShortRow<T> / k;
  return fit < kGroupsTogether ? fit : kGroupsTogether;
}

// Probabilities of `count` groups in place, group g at tiles + g * apart; as many as groups_together(k) at most. `next`
// is where the logits after theirs lie, or null.
template <class V, class T>
inline void softmax_groups(T* tiles, int64_t apart, int count, int k, Writer<V>* writer, const T* next) {
  alignas(64) T memory[SideBySide<V>::memory_elements(cpu::kShortRow<T>)];
  SideBySide<V> groups[kGroupsTogether];
  for (int g = 0; g < count; g++) {
    T* tile = tiles + g * apart;
    groups[g].read(tile, tile, memory + SideBySide<V>::memory_elements(g * k), k);
  }
  for (int g = 0; g < count; g++) groups[g].add(writer, next ? next + g * k * SideBySide<V>::W : nullptr);
  for (int g = 0; g < count; g++) groups[g].fold();
  for (int g = 0; g < count; g++) groups[g].write_probabilities(tiles + g * apart);
}

// The sum of long rows, which come in chunks.
template <class V>
struct ColumnTotal {
  ChunkTree<V, 28> tree;  // 2^28 chunks of a column are more than any memory has
  LaneRanges<V> range;
  V shift = broadcast<V>(Scalar<V>(0));
  Sum<V> sum;

  template <class T>
  void add_chunk(const T* tile, int n, const LaneRanges<V>& of_chunk) {
    range.include(of_chunk);
    const V exponent = chunk_exponent(of_chunk.max - shift);
    const ExpReference<V> reference = exp_reference(exponent);
    const bool ordinary = !Lanes<V>::any_less(of_chunk.min - shift, ordinary_from(exponent));
    tree.push(ordinary ? sum_columns<kChunk>(exponent, n, TermsOf<V, true>{tile, shift, reference})
                       : sum_columns<kChunk>(exponent, n, TermsOf<V, false>{tile, shift, reference}));
  }

  // Whether the rows have to be added up again, shifted. To be asked after the last chunk.
  bool total_needs_shift() {
    const V zero = broadcast<V>(Scalar<V>(0));
    // A row with an infinite maximum is NaN whatever its shift.
    const V needed =
        choose_where_less(irregular_lanes(range.max, zero), broadcast<V>(Scalar<V>(1)), shift_of(range.max), zero);
    sum = tree.total();
    if (!any_nonzero(needed - shift)) return false;
    shift = needed;
    return true;
  }
};

// What the logits of long rows become, some groups of them.
template <class V>
struct ColumnProbabilities {
  ExpReference<V> reference[kGroups];
  Pair<V> inverse[kGroups];
  V shift[kGroups];
  V irregular[kGroups];
  bool any_irregular = false;
  bool ordinary = true;  // all logits of all rows are

  ColumnProbabilities(const ColumnTotal<V>* totals, int groups) {
    for (int g = 0; g < groups; g++) {
      const ColumnTotal<V>& total = totals[g];
      reference[g] = exp_reference(total.sum.exponent);
      inverse[g] = reciprocal(total.sum);
      shift[g] = total.shift;
      irregular[g] = irregular_lanes(total.range.max, total.sum.head);
      any_irregular |= any_nonzero(irregular[g]);
      ordinary &= !Lanes<V>::any_less(total.range.min - total.shift, ordinary_from(total.sum.exponent));
    }
  }

  template <bool all_ordinary>
  SOFTMAX_FN V of(int g, V logits) const {
    return probability<all_ordinary>(exp_scaled<all_ordinary>(logits - shift[g], reference[g]), inverse[g]);
  }
  // Of two groups, or of the same twice.
  template <bool all_ordinary>
  SOFTMAX_FN Two<V> of(int g, int h, Two<V> logits) const {
    const ExpReference<Two<V>> references = {{reference[g].magic, reference[h].magic},
                                             {reference[g].bound, reference[h].bound}};
    const Pair<Two<V>> inverses = {{inverse[g].head, inverse[h].head}, {inverse[g].tail, inverse[h].tail}};
    return probability<all_ordinary>(exp_scaled<all_ordinary>(logits - Two<V>{shift[g], shift[h]}, references),
                                     inverses);
  }
};

// Sources: load() brings columns [first, first + n) of a group of rows into a tile, and includes them in the groups'
// ranges; transform() takes them from memory, or from the tile, and writes what f makes of a register of group g, f(g, v),
// or of two, f(g, h, v).

// Adjacent columns of an array: logit j of column i lies at j * stride + i. `groups` registers of them, of which the
// last may be a part of one. Tiles of groups lie n * width apart.
template <class V, class T = Scalar<V>>
struct AdjacentColumns {
  static constexpr int W = Lanes<V>::width;
  const T* x;
  T* y;
  int64_t stride;
  int columns;
  bool past_caches;  // only where every register of the result is aligned

  int groups() const { return (columns + W - 1) / W; }

  // Processors do not foresee steps of more than 2 KB: the lines of a column further on are asked for.
  static constexpr int ahead = 12;
  SOFTMAX_FN void prefetch(const T* from) const {
    if (stride * static_cast<int64_t>(sizeof(T)) <= 2048) return;
    for (int i = 0; i < columns; i += 64 / static_cast<int>(sizeof(T))) __builtin_prefetch(from + ahead * stride + i);
  }

  SOFTMAX_FN V load_group(const T* from, int g) const { return load_up_to<V>(from + g * W, columns - g * W, T(0)); }

  void load(int64_t first, int n, T* tile, LaneRanges<V>* ranges) const {
    const T* from = x + first * stride;
    for (int j = 0; j < n; j++, from += stride) {
      prefetch(from);
      for (int g = 0; g < groups(); g++) {
        const V logits = load_group(from, g);
        ranges[g].include(logits);
        Lanes<V>::store(tile + (g * n + j) * W, logits);
      }
    }
  }

  SOFTMAX_FN void store_group(T* to, int g, V v) const {
    if (past_caches) {
      Lanes<V>::stream(to + g * W, v);
    } else {
      store_up_to<V>(to + g * W, columns - g * W, v);
    }
  }

  template <class F>
  void transform(int64_t first, int n, T* tile, bool in_tile, F f) const {
    const T* from = x + first * stride;
    T* to = y + first * stride;
    for (int j = 0; j < n; j++, from += stride, to += stride) {
      if (!in_tile) prefetch(from);
      if (!past_caches) {
        for (int i = 0; i < columns; i += 64 / static_cast<int>(sizeof(T)))
          __builtin_prefetch(to + ahead * stride + i, 1);
      }
      const auto logits = [&](int g) SOFTMAX_INLINED {
        return in_tile ? Lanes<V>::load(tile + (g * n + j) * W) : load_group(from, g);
      };
      int g = 0;
      for (; g + 2 <= groups(); g += 2) {
        const Two<V> two = f(g, g + 1, Two<V>{logits(g), logits(g + 1)});
        store_group(to, g, two.a);
        store_group(to, g + 1, two.b);
      }
      if (g < groups()) store_group(to, g, f(g, logits(g)));
    }
  }
};

// Rows of an (outer, k, inner) array with few columns: `width` rows from number `row` = o * inner + i on, of one o or
// more.
template <class V, class T = Scalar<V>>
struct ScatteredRows {
  static constexpr int W = Lanes<V>::width;
  const T* x;
  T* y;
  int64_t k;
  int inner;
  int64_t row;
  int rows;

  int groups() const { return 1; }

  // Calls piece(offset, lane, n) for each run of adjacent rows: n of them from that offset on, the first in that lane.
  template <class Piece>
  void for_pieces(int64_t first, Piece piece) const {
    for (int lane = 0; lane < rows;) {
      const int64_t o = (row + lane) / inner, i = (row + lane) % inner;
      const int n = static_cast<int>(smaller(inner - i, rows - lane));
      piece((o * k + first) * inner + i, lane, n);
      lane += n;
    }
  }

  void fill_tile(int64_t first, int n, T* tile) const {
    if (rows < W) fill(tile, n * W, T(0));
    for_pieces(first, [&](int64_t offset, int lane, int count) {
      for (int j = 0; j < n; j++) {
        store_up_to<V>(tile + j * W + lane, count, load_up_to<V>(x + offset + j * inner, count, T(0)));
      }
    });
  }

  void load(int64_t first, int n, T* tile, LaneRanges<V>* range) const {
    fill_tile(first, n, tile);
    for (int j = 0; j < n; j++) range->include(Lanes<V>::load(tile + j * W));
  }

  template <class F>
  void transform(int64_t first, int n, T* tile, bool in_tile, F f) const {
    if (!in_tile) fill_tile(first, n, tile);
    int j = 0;
    for (; j + 2 <= n; j += 2) Lanes<Two<V>>::store(tile + j * W, f(0, 0, Lanes<Two<V>>::load(tile + j * W)));
    if (j < n) Lanes<V>::store(tile + j * W, f(0, Lanes<V>::load(tile + j * W)));
    for_pieces(first, [&](int64_t offset, int lane, int count) {
      for (int j = 0; j < n; j++) {
        store_up_to<V>(y + offset + j * inner, count, load_up_to<V>(tile + j * W + lane, count, T(0)));
      }
    });
  }
};

// Contiguous rows of k <= kShortRow logits.
template <class V, class T = Scalar<V>>
struct ShortRows {
  static constexpr int W = Lanes<V>::width, quad = Lanes<V>::quad;
  static constexpr int room = cpu::kShortRow<T> * W + W;
  const T* x;
  int k;
  int64_t rows;  // from x on; a group takes `width` of them

  // Where quad number c begins: the last one overlaps another rather than the next row.
  int quad_start(int c) const { return c + quad <= k || k < quad ? c : k - quad; }

  // Calls visit(first, columns) for every quad of columns: the logits from number `first` on. Where rows are shorter than
  // a quad, what comes after them does not matter.
  template <class Visit>
  SOFTMAX_FN void for_quads(Visit visit) const {
    alignas(64) T buffer[room];
    const T* from = x;
    if (rows < W || (k < quad && rows * k < W * k + quad)) {
      // Rows that are not there, or a quad of the last row, would be read from beyond the array.
      fill(buffer, W * k + quad, T(0));
      for (int64_t i = 0; i < rows * k && i < W * k; i++) buffer[i] = x[i];
      from = buffer;
    }
    for (int c = 0; c < k; c += quad) {
      V columns[quad];
      const int first = quad_start(c);
      Lanes<V>::load_quads(from + first, k, columns);
      visit(first, columns);
    }
  }

  void load(T* tile) const {
    for_quads([&](int first, const V* columns) SOFTMAX_INLINED {
      for (int j = 0; j < quad; j++) Lanes<V>::store(tile + (first + j) * W, columns[j]);
    });
  }

  // Writes the rows of a tile one after another, and beyond them where they are shorter than a quad.
  void store_turned(const T* tile, T* to) const {
    for (int c = 0; c < k; c += quad) {
      V columns[quad];
      const int first = quad_start(c);
      for (int j = 0; j < quad; j++) columns[j] = Lanes<V>::load(tile + (first + j) * W);
      Lanes<V>::store_quads(to + first, k, columns);
    }
  }

  // Writes the group's rows to y, which need have no room beyond them.
  void store(const T* tile, T* y) const {
    if (k >= quad && rows >= W) return store_turned(tile, y);
    alignas(64) T buffer[room];
    store_turned(tile, buffer);
    const int64_t n = smaller(rows, W) * k;
    for (int64_t i = 0; i < n; i += W) store_up_to<V>(y + i, n - i, Lanes<V>::load(buffer + i));
  }
};

// Logits are loaded in bursts, between which memory would stand idle: those of the next groups are fetched while these
// are added up. (Rows of 32 logits in DRAM: 0.87 ns for a logit instead of 1.2; in the cache it is 0.84.)
template <class V, class T>
inline void softmax_short_rows(const T* x, T* y, int64_t rows, int k, Writer<V>* writer) {
  constexpr int W = Lanes<V>::width, quad = Lanes<V>::quad;
  constexpr int columns = cpu::kShortRow<T> + kGroupsTogether * quad;
  alignas(64) T tiles[columns * W], waiting[columns * W];
  const int apart = (k < quad ? quad : k) * W;
  const int together = groups_together<T>(k);
  for (int64_t row = 0; row < rows; row += together * W) {
    const int64_t n = smaller(together * W, rows - row);
    const int groups = static_cast<int>((n + W - 1) / W);
    const auto source = [&](int g) { return ShortRows<V>{x + (row + g * W) * k, k, rows - row - g * W}; };
    for (int g = 0; g < groups; g++) source(g).load(tiles + g * apart);
    softmax_groups(tiles, apart, groups, k, writer, x + (row + n) * k);
    if (writer) writer->finish();
    for (int g = 0; g < groups; g++) {
      if (writer) {
        source(g).store_turned(tiles + g * apart, waiting + g * W * k);
      } else {
        source(g).store(tiles + g * apart, y + (row + g * W) * k);
      }
    }
    if (writer) writer->append_later(waiting, n * k);
  }
  if (writer) writer->finish();
}

template <class V, bool ordinary>
struct WithoutNan {
  const ColumnProbabilities<V>& probabilities;
  SOFTMAX_FN V operator()(int g, V logits) const { return probabilities.template of<ordinary>(g, logits); }
  SOFTMAX_FN Two<V> operator()(int g, int h, Two<V> logits) const {
    return probabilities.template of<ordinary>(g, h, logits);
  }
};

template <class V>
struct WithNan {
  const ColumnProbabilities<V>& probabilities;
  SOFTMAX_FN V operator()(int g, V logits) const {
    return nan_where(probabilities.irregular[g], probabilities.template of<false>(g, logits));
  }
  SOFTMAX_FN Two<V> operator()(int g, int h, Two<V> logits) const {
    return {(*this)(g, logits.a), (*this)(h, logits.b)};
  }
};

template <class V>
struct AsItIs {
  SOFTMAX_FN V operator()(int, V p) const { return p; }
  SOFTMAX_FN Two<V> operator()(int, int, Two<V> p) const { return p; }
};

// Softmax of the rows of a source. `tile` has room for the groups' rows, or for a chunk of them.
template <class V, class Source, class T>
inline void softmax_side_by_side(const Source& source, int64_t k, T* tile) {
  constexpr int W = Lanes<V>::width;
  const int groups = source.groups();
  const auto for_chunks = [&](auto visit) {
    for (int64_t first = 0; first < k; first += kChunk) {
      visit(first, static_cast<int>(smaller(kChunk, k - first)));
    }
  };
  if (k <= cpu::kShortRow<T>) {
    const int n = static_cast<int>(k);
    LaneRanges<V> ranges[kGroups];
    source.load(0, n, tile, ranges);
    const int together = groups_together<T>(n);
    for (int g = 0; g < groups; g += together) {
      const int count = static_cast<int>(smaller(together, groups - g));
      softmax_groups<V, T>(tile + g * n * W, n * W, count, n, kDirectly<V>, nullptr);
    }
    return source.transform(0, n, tile, true, AsItIs<V>());
  }
  const bool in_tile = k <= kChunk;  // from the first pass on

  ColumnTotal<V> total[kGroups];
  for (bool again = true; again;) {
    for_chunks([&](int64_t first, int n) {
      LaneRanges<V> ranges[kGroups];
      source.load(first, n, tile, ranges);
      for (int g = 0; g < groups; g++) total[g].add_chunk(tile + g * n * W, n, ranges[g]);
    });
    again = false;
    for (int g = 0; g < groups; g++) again |= total[g].total_needs_shift();
    // Rows that need no shift are added up again beside one that does.
    for (int g = 0; g < groups; g++) total[g].tree.chunks = 0;
  }

  const ColumnProbabilities<V> probabilities(total, groups);
  for_chunks([&](int64_t first, int n) {
    if (probabilities.any_irregular) {
      source.transform(first, n, tile, in_tile, WithNan<V>{probabilities});
    } else if (probabilities.ordinary) {
      source.transform(first, n, tile, in_tile, WithoutNan<V, true>{probabilities});
    } else {
      source.transform(first, n, tile, in_tile, WithoutNan<V, false>{probabilities});
    }
  });
}

// Elements of memory for the tiles of rows of k.
template <class V>
constexpr int64_t tile_elements(int64_t k, int groups) {
  return (k < kChunk ? k : kChunk) * groups * Lanes<V>::width;
}

}  // namespace
}  // namespace softmax_native
