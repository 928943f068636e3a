// The one order in which a row is added up. It depends on the row's length only: never on threads, vector width,
// batch size or device.
//
//   chunk   1024 consecutive columns, added under the chunk's own reference exponent. Every term is cut at a fixed
//           grid (2^-11 of the reference) into a part on the grid and the rest.
//           - The parts on the grid add up exactly, in any order.
//           - The rests go to 256 lanes, column modulo 256: up to 4 terms a lane, added in ascending order; then the
//             lanes are folded in halves, lane i with lane i + 128, then i + 64, ... i + 1.
//   row     chunk sums are merged as a balanced binary tree over neighbours, padded with empty sums.
//
// Adding the +0 of a missing column or lane changes nothing, so short rows do only the work they need.
#pragma once

#include "exp.h"

namespace softmax_native {
namespace {

// (head + tail) * 2^(exponent - scale); head is the rounded sum.
template <class V>
struct Sum {
  V exponent;
  V head;
  V tail;
};

// Adds the term's part on the grid to `on_grid` and returns the rest.
template <class V>
SOFTMAX_FN V split_on_grid(Pair<V> term, V& on_grid) {
  const V grid = broadcast<V>(Format<Scalar<V>>::grid);
  const V part = (term.head + grid) - grid;
  on_grid = on_grid + part;
  return (term.head - part) + term.tail;
}

// The sum of a chunk from its total on the grid and its folded rests.
template <class V>
SOFTMAX_FN Sum<V> chunk_sum(V exponent, V on_grid, V rest) {
  const V head = on_grid + rest;
  return {exponent, head, rest - (head - on_grid)};
}

// The reference exponent of a chunk with this maximum (as shifted).
template <class V>
SOFTMAX_FN V chunk_exponent(V chunk_max) {
  return exponent_of(larger(chunk_max, broadcast<V>(Scalar<V>(kLowestReference))));
}

// Two-float addition under the larger of the two references. Merging with a sum of 0 under a lower
// reference changes no bit.
template <class V>
SOFTMAX_FN Sum<V> merge(Sum<V> a, Sum<V> b) {
  const V exponent = larger(a.exponent, b.exponent);
  const V a_factor = power_of_two(a.exponent - exponent);
  const V b_factor = power_of_two(b.exponent - exponent);
  const V a_head = a.head * a_factor;
  const V b_head = b.head * b_factor;
  const V head = a_head + b_head;
  const V b_part = head - a_head;
  const V error = (a_head - (head - b_part)) + (b_head - b_part);
  return chunk_sum(exponent, head, (a.tail * a_factor + b.tail * b_factor) + error);
}

// The balanced tree over chunks for who meets them one after the other: like a binary counter, it holds one finished
// subtree for each bit of the number of chunks so far.
template <class V, int levels = 44>  // 2^44 chunks are 2^54 columns
struct ChunkTree {
  Sum<V> subtree[levels];
  uint64_t chunks = 0;

  SOFTMAX_FN void push(Sum<V> sum) {
    int level = 0;
    for (uint64_t bits = chunks; bits & 1; bits >>= 1) sum = merge(subtree[level++], sum);
    subtree[level] = sum;
    chunks++;
  }

  // The sum of all chunks pushed, of which there must be one at least.
  SOFTMAX_FN Sum<V> total() const {
    int level = 0;
    while (!((chunks >> level) & 1)) level++;
    Sum<V> sum = subtree[level];
    for (level++; chunks >> level; level++) {
      if ((chunks >> level) & 1) sum = merge(subtree[level], sum);
    }
    return sum;
  }
};

// 1 / (head + tail), as a pair, of a sum taken without its scale: 2^scale terms are divided by 2^scale sums. A second
// half so small that it reaches no result is left out: in rows of one large term its products would be subnormal.
template <class V>
SOFTMAX_FN Pair<V> reciprocal(Sum<V> sum) {
  using T = Scalar<V>;
  const V down = broadcast<V>(Format<T>::scale_down);
  const V head = sum.head * down;
  const V tail = sum.tail * down;
  const V one = broadcast<V>(T(1));
  const V first = one / head;
  const V residual = fma(broadcast<V>(T(0)) - first, tail, fma(broadcast<V>(T(0)) - first, head, one));
  const V size = larger(residual, broadcast<V>(T(0)) - residual);
  return {first, first * zero_where_less(size, broadcast<V>(Format<T>::negligible), residual)};
}

}  // namespace
}  // namespace softmax_native
