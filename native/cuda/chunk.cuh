// A chunk of a row, summed by a warp in the order of numerics/sum.h, and its probabilities.
//
// A group of G lanes (a power of two up to 32) takes E columns in each lane, in vectors of V adjacent ones: register u
// = v * V + e of lane t is column v * G * V + t * V + e. The 256 lanes of the order of a sum are the columns modulo
// 256. So 8 registers of 32 lanes are 256 columns, one for each lane of the order; registers u, u + 8, u + 16 ... are
// the terms of one lane, in ascending order; and the highest bits of the order's lane are register bits above V, the
// middle ones the bits of t, the lowest ones the register bits below V. Folding in halves, high bit first, is then
// additions in registers, shuffles, and additions in registers.
//
// Where the columns live in registers (Columns), all of this is unrolled; where they live in shared memory
// (sum_in_shared), 8 registers at a time go through a loop, which keeps the code short.
#pragma once

#include <cmath>

#include "../ops/softmax.h"
#include "device.cuh"

namespace softmax_native::cuda {

constexpr int kGroup = 8;  // registers that hold one term for each of the order's lanes

// The lanes that share a row: all of a warp, known when compiled, or a number known at launch.
struct WholeWarp {
  static constexpr int lanes = kWarpLanes;
  static constexpr int apart = 1;
  static constexpr bool of_short_row = false;
};
struct PartOfWarp {
  int lanes;
  static constexpr int apart = 1;
  static constexpr bool of_short_row = false;
};

// Those of a row whose columns fill more than the first half of the lanes' registers. They are adjacent, or `apart` from
// each other.
template <int count>
struct AdjacentLanes {
  static constexpr int lanes = count;
  static constexpr int apart = 1;
  static constexpr int most = count;
  static constexpr bool of_short_row = true;
};
struct LanesApart {
  int lanes;
  int apart;
  static constexpr int most = kWarpLanes / 2;
  static constexpr bool of_short_row = true;
};

// The sum of a row's part, with its maximum: what blocks and launches hand each other.
template <class T>
struct alignas(16) PartialSum {
  T max;
  T exponent;
  T head;
  T tail;
};

// Of no columns: merging it changes no bit.
template <class T>
__device__ __forceinline__ PartialSum<T> no_columns() {
  return {-infinity<T>(), exponent_of(T(kLowestReference)), T(0), T(0)};
}

template <class T>
__device__ __forceinline__ PartialSum<T> merge(PartialSum<T> a, PartialSum<T> b) {
  const Sum<T> sum = softmax_native::merge(Sum<T>{a.exponent, a.head, a.tail}, Sum<T>{b.exponent, b.head, b.tail});
  return {larger(a.max, b.max), sum.exponent, sum.head, sum.tail};
}

// The shift of a row with this maximum; none where it is no number that exponentials could be taken with.
template <class T>
__device__ __forceinline__ T shift_of_row(T max) {
  return is_finite(max) ? shift_of(max) : T(0);
}

// A row of whose sum this is has probabilities; others hold NaN or +inf, or nothing above -inf.
template <class T>
__device__ __forceinline__ bool is_regular(PartialSum<T> total) {
  return is_finite(total.max) && is_finite(total.head);
}

// What the exponentials of a chunk are taken with: a reference, and a logit far below it whose exponential comes out as 0
// without a comparison. Logits below the bound, which may be -inf, are replaced by it: one choice instead of one for
// each part of the exponential.
template <class T>
struct TermReference {
  ExpReference<T> reference;
  T zero_logit;

  __device__ __forceinline__ explicit TermReference(T exponent)
      : reference(exp_reference(exponent)),
        zero_logit((exponent - T(Format<T>::scale + Format<T>::exponent_bias)) * Format<T>::ln2) {}

  // exp(logit) * 2^(scale - exponent), as exp_scaled gives it.
  __device__ __forceinline__ Pair<T> term_of(T logit) const {
    return exp_scaled<true>(choose_where_less(logit, reference.bound, zero_logit, logit), reference);
  }
};

// What the probabilities of a row are made with.
template <class T>
struct RowScale {
  T shift;
  TermReference<T> terms;
  Pair<T> inverse;
  bool regular;
};

template <class T>
__device__ __forceinline__ RowScale<T> scale_of(PartialSum<T> total, T shift) {
  return {shift, TermReference<T>(total.exponent), reciprocal(Sum<T>{total.exponent, total.head, total.tail}),
          is_regular(total)};
}

template <class T>
__device__ __forceinline__ T probability_of(T logit, const RowScale<T>& row) {
  return row.regular ? probability(row.terms.term_of(logit - row.shift), row.inverse) : canonical_nan<T>();
}

// The sum of a chunk, fed with groups of columns in ascending order.
template <class T, int V, class Lanes>
class ChunkSum {
 public:
  __device__ __forceinline__ ChunkSum(T max, T shift)
      : max_(max), shift_(shift), exponent_(chunk_exponent(max - shift)), terms_(exponent_) {
#pragma unroll
    for (int i = 0; i < kGroup; i++) rest_[i] = T(0);
  }

  // Adds one term for each of the order's lanes: logits[0] to logits[7], of which those from number `used` on, the same
  // for all lanes, are past the row's end and cost nothing. Whether they are is asked for every `step`.
  template <int step = V, class Keep>
  __device__ __forceinline__ void add(const T* logits, int used, Keep keep) {
    T shifted[kGroup];
#pragma unroll
    for (int i = 0; i < kGroup; i++) shifted[i] = logits[i] - shift_;
    add_shifted<step>(shifted, used, keep);
  }

  // The same, of logits from which the shift has been subtracted.
  template <int step = V, class Keep>
  __device__ __forceinline__ void add_shifted(const T* logits, int used, Keep keep) {
#pragma unroll
    for (int i = 0; i < kGroup; i++) {
      if (i % step == 0 && i >= used) break;
      const Pair<T> term = terms_.term_of(logits[i]);
      rest_[i] = rest_[i] + split_on_grid(term, on_grid_);
      keep(i, term);
    }
  }

  // In every lane.
  __device__ __forceinline__ PartialSum<T> total(Lanes lanes) {
    for (int offset = lanes.lanes / 2; offset > 0; offset /= 2) {
      on_grid_ = on_grid_ + __shfl_xor_sync(kAllLanes, on_grid_, offset * lanes.apart);
    }
    const Sum<T> sum = chunk_sum(exponent_, on_grid_, fold(lanes));
    return {max_, sum.exponent, sum.head, sum.tail};
  }

 private:
  // The rests of the order's 256 lanes, folded in halves. A vector's elements, whose turn comes last, are
  // dealt to the lanes on the way: each of the first exchanges gives one half of what a lane holds for the other half.
  __device__ __forceinline__ T fold(Lanes lanes) {
#pragma unroll
    for (int half = kGroup / 2; half >= V; half /= 2) {
#pragma unroll
      for (int i = 0; i < half; i++) rest_[i] = rest_[i] + rest_[i + half];
    }
    const int lane = lane_of_thread();
    int offset = lanes.lanes / 2;
#pragma unroll
    for (int held = V; held > 1; held /= 2, offset /= 2) {
      const bool upper = (lane & offset) != 0;
#pragma unroll
      for (int i = 0; i < held / 2; i++) {
        const T kept = upper ? rest_[i + held / 2] : rest_[i];
        const T given = upper ? rest_[i] : rest_[i + held / 2];
        rest_[i] = kept + __shfl_xor_sync(kAllLanes, given, offset);
      }
    }
    for (; offset > 0; offset /= 2) rest_[0] = rest_[0] + __shfl_xor_sync(kAllLanes, rest_[0], offset);
#pragma unroll
    for (int dealt = lanes.lanes / 2, held = V; held > 1; held /= 2, dealt /= 2) {
      rest_[0] = rest_[0] + __shfl_xor_sync(kAllLanes, rest_[0], dealt);
    }
    return rest_[0];
  }

  T max_;
  T shift_;
  T exponent_;
  TermReference<T> terms_;
  T rest_[kGroup];
  T on_grid_ = T(0);
};

// The larger of two logits, where NaN is passed over: one instruction. `larger` takes two, and tells zeros apart.
__device__ __forceinline__ float larger_logit(float a, float b) { return fmaxf(a, b); }
__device__ __forceinline__ double larger_logit(double a, double b) { return fmax(a, b); }

// The sum of a row that a group of lanes holds. Its columns are taken in the order in which the tree of their rests needs
// the fewest registers.
template <class T, int V, int E, class Lanes>
class ShortSum {
 public:
  __device__ __forceinline__ ShortSum(T max, T shift)
      : max_(max), exponent_(chunk_exponent(max - shift)), terms_(exponent_) {}

  // Of the shifted logits of registers below `used`, the same for all lanes; in every lane.
  template <class Keep>
  __device__ __forceinline__ PartialSum<T> total(const T* logits, int used, Lanes lanes, Keep keep) {
    T rest[V];
#pragma unroll
    for (int e = 0; e < V; e++)
      rest[e] = rests<0, 1>(logits + e, used / V, [&](int u, Pair<T> term) { keep(u + e, term); });
    for (int offset = lanes.lanes / 2; offset > 0; offset /= 2) {
      on_grid_ = on_grid_ + __shfl_xor_sync(kAllLanes, on_grid_, offset * lanes.apart);
#pragma unroll
      for (int e = 0; e < V; e++) rest[e] = rest[e] + __shfl_xor_sync(kAllLanes, rest[e], offset * lanes.apart);
    }
#pragma unroll
    for (int half = V / 2; half > 0; half /= 2) {
#pragma unroll
      for (int e = 0; e < half; e++) rest[e] = rest[e] + rest[e + half];
    }
    const Sum<T> sum = chunk_sum(exponent_, on_grid_, rest[0]);
    return {max_, sum.exponent, sum.head, sum.tail};
  }

 private:
  // Vectors so far apart belong to one lane of the order.
  static constexpr int vectors = E / V;
  static constexpr int period = Lanes::most * E > kLanes ? kLanes / Lanes::most / V : vectors;

  // The rests of the vectors first, first + step, first + 2 step ..., folded in halves; those of one lane of the order
  // are added in ascending order.
  template <int first, int step, class Keep>
  __device__ __forceinline__ T rests(const T* logits, int used_vectors, Keep keep) {
    if constexpr (step < period) {
      const T even = rests<first, 2 * step>(logits, used_vectors, keep);
      return even + rests<first + step, 2 * step>(logits, used_vectors, keep);
    } else {
      return with_later<first + period>(rest_of<first>(logits, used_vectors, keep), logits, used_vectors, keep);
    }
  }

  template <int vector, class Keep>
  __device__ __forceinline__ T with_later(T rest, const T* logits, int used_vectors, Keep keep) {
    if constexpr (vector >= vectors) {
      return rest;
    } else {
      return with_later<vector + period>(rest + rest_of<vector>(logits, used_vectors, keep), logits, used_vectors,
                                         keep);
    }
  }

  template <int vector, class Keep>
  __device__ __forceinline__ T rest_of(const T* logits, int used_vectors, Keep keep) {
    if (vector >= vectors / 2 && vector >= used_vectors) return T(0);
    const Pair<T> term = terms_.term_of(logits[vector * V]);
    keep(vector * V, term);
    return split_on_grid(term, on_grid_);
  }

  T max_;
  T exponent_;
  TermReference<T> terms_;
  T on_grid_ = T(0);
};

// The largest value that any of the lanes has, in every lane.
template <class T>
__device__ __forceinline__ T largest_of_lanes(T value, int lanes, int apart = 1) {
  for (int offset = lanes / 2; offset > 0; offset /= 2) {
    value = larger_logit(__shfl_xor_sync(kAllLanes, value, offset * apart), value);
  }
  return value;
}

// Whether the exponentials are kept between the sum and the division, the head in the logit's register and the tail in
// one more. Float64 needs four registers a column for that: it keeps those of short rows with up to 8 columns in a
// lane, and computes others again.
template <class T, int E, class Lanes>
constexpr bool kKeepsTerms = sizeof(T) == 4 || (Lanes::of_short_row && E <= 8);

// A row, or a chunk of one, in the registers of a group of lanes.
template <class T, int V, int E, class Lanes = WholeWarp>
struct Columns {
  static_assert(kGroup % V == 0 && (Lanes::of_short_row || E % kGroup == 0));

  // The logits; after `sum` the heads of the exponentials where terms are kept. Registers past `registers_of(n)` keep
  // their logits and have no tail; `write` does not read them.
  T head[E];
  static constexpr bool keeps_terms = kKeepsTerms<T, E, Lanes>;
  T tail[keeps_terms ? E : 1];

  __device__ __forceinline__ static int column_of(int u, int t, Lanes lanes) {
    return (u / V * lanes.lanes + t) * V + u % V;
  }

  // The registers of a lane that hold any of n columns in some lane.
  __device__ __forceinline__ static int registers_of(int n, Lanes lanes) {
    const int columns = lanes.lanes * V;
    return (n + columns - 1) / columns * V;
  }

  // Columns past n are -inf, which adds nothing and is no maximum.
  __device__ __forceinline__ void load(const T* row, int n, int t, Lanes lanes = Lanes()) {
    load_from([&](int column) { return reinterpret_cast<const Vector<T, V>*>(row + column); }, n, t, lanes);
  }

  // The same, from wherever vector_at(column) points.
  template <class VectorAt>
  __device__ __forceinline__ void load_from(VectorAt vector_at, int n, int t, Lanes lanes) {
#pragma unroll
    for (int u = first_to_ask; u < E; u++) head[u] = -infinity<T>();
    for_vectors(registers_of(n, lanes), [&](int u) {
      const int column = column_of(u, t, lanes);
      if (u >= first_to_ask && column >= n) return;
      const Vector<T, V> vector = *vector_at(column);
      for (int e = 0; e < V; e++) head[u + e] = vector.element[e];
    });
  }

  // Puts the logits down in memory with room for all E columns of each lane.
  __device__ __forceinline__ void store_logits(T* memory, int t) const {
    for_vectors(E, [&](int u) {
      Vector<T, V> vector;
      for (int e = 0; e < V; e++) vector.element[e] = head[u + e];
      *reinterpret_cast<Vector<T, V>*>(memory + column_of(u, t, Lanes())) = vector;
    });
  }

  // The largest logit, in every lane; NaN is passed over (the sum finds it).
  __device__ __forceinline__ T max(Lanes lanes = Lanes()) const {
    T largest = -infinity<T>();
#pragma unroll
    for (int u = 0; u < E; u++) largest = larger_logit(head[u], largest);
    return largest_of_lanes(largest, lanes.lanes, lanes.apart);
  }

  // The sum of the n columns under the reference of their maximum, in every lane. The shift is subtracted from the
  // logits, which nearly no row needs.
  __device__ __forceinline__ PartialSum<T> sum(int n, T max, T shift, Lanes lanes = Lanes()) {
    const int used = registers_of(n, lanes);
    if (__any_sync(kAllLanes, shift != T(0))) {
#pragma unroll
      for (int u = 0; u < E; u++) head[u] = head[u] - shift;
    }
    if constexpr (Lanes::of_short_row) {
      return ShortSum<T, V, E, Lanes>(max, shift).total(head, used, lanes, [&](int u, Pair<T> term) { keep(u, term); });
    }
    ChunkSum<T, V, Lanes> sum(max, shift);
#pragma unroll
    for (int first = 0; first < E; first += kGroup) {
      sum.add_shifted(head + first, used - first, [&](int i, Pair<T> term) { keep(first + i, term); });
    }
    return sum.total(lanes);
  }

  // After `sum`: the exponential in a register, under the reference of `sum` where it was kept, or else of the row.
  __device__ __forceinline__ Pair<T> term_of(int u, const RowScale<T>& scale) const {
    if constexpr (keeps_terms)
      return {head[u], tail[u]};
    else
      return scale.terms.term_of(head[u]);
  }

  // Writes the probabilities of a row that has no other chunks.
  __device__ __forceinline__ void write(T* row, int n, int t, const RowScale<T>& scale, Lanes lanes = Lanes()) const {
    write_to([&](int column) { return reinterpret_cast<Vector<T, V>*>(row + column); }, n, t, scale, lanes);
  }

  // The same, to wherever vector_at(column) points.
  template <class VectorAt>
  __device__ __forceinline__ void write_to(VectorAt vector_at, int n, int t, const RowScale<T>& scale,
                                           Lanes lanes) const {
    const int used = registers_of(n, lanes);
    for_vectors(used, [&](int u) {
      const int column = column_of(u, t, lanes);
      if (u >= first_to_ask && column >= n) return;
      Vector<T, V> vector;
      for (int e = 0; e < V; e++) vector.element[e] = probability(term_of(u + e, scale), scale.inverse);
      *vector_at(column) = vector;
    });
    if (scale.regular) return;
    Vector<T, V> no_numbers;
    for (T& element : no_numbers.element) element = canonical_nan<T>();
    for_vectors(used, [&](int u) {
      const int column = column_of(u, t, lanes);
      if (u < first_to_ask || column < n) *vector_at(column) = no_numbers;
    });
  }

 private:
  // Registers before it hold columns in all lanes.
  static constexpr int first_to_ask = Lanes::of_short_row ? E / 2 : 0;

  // Calls use(u) for the vectors of the first `used` registers, and of a few more: to look once in four is enough.
  template <class Use>
  __device__ __forceinline__ static void for_vectors(int used, Use use) {
#pragma unroll
    for (int u = 0; u < E; u += V) {
      if (u >= E / 2 && u % 4 == 0 && u >= used) break;
      use(u);
    }
  }

  __device__ __forceinline__ void keep(int u, Pair<T> term) {
    if (!keeps_terms) return;
    head[u] = term.head;
    tail[keeps_terms ? u : 0] = term.tail;
  }
};

// The largest of the n logits in shared memory, of which at(column) are the places, in every lane of a warp.
template <class T, class At>
__device__ __forceinline__ T largest_in_shared(At at, int n) {
  T max = -infinity<T>();
  for (int column = lane_of_thread(); column < n; column += kWarpLanes) max = larger_logit(*at(column), max);
  return largest_of_lanes(max, kWarpLanes);
}

// The sum of the n <= 1024 logits of a chunk in shared memory, of which at(column) are the places and `max` is the
// largest, in every lane of a warp. keep(column, term) gets their exponentials. Past the end of the row `step` of a lane's
// columns are left out together.
template <int step, class T, class At, class Keep>
__device__ __forceinline__ PartialSum<T> sum_in_shared(At at, int n, T max, T shift, Keep keep) {
  const int t = lane_of_thread();
  ChunkSum<T, 1, WholeWarp> sum(max, shift);
#pragma unroll 1
  for (int first = 0; first < n; first += kLanes) {
    T logits[kGroup];
#pragma unroll
    for (int i = 0; i < kGroup; i++) {
      const int column = first + i * kWarpLanes + t;
      logits[i] = column < n ? *at(column) : -infinity<T>();
    }
    const int used = step < kGroup ? (n - first + kWarpLanes - 1) / kWarpLanes : kGroup;
    sum.template add<step>(logits, used, [&](int i, Pair<T> term) {
      const int column = first + i * kWarpLanes + t;
      if (column < n) keep(column, term);
    });
  }
  return sum.total(WholeWarp());
}

// The same, of adjacent logits.
template <class T>
__device__ SOFTMAX_NOINLINE PartialSum<T> sum_of_shared(const T* chunk, int n, T shift) {
  const auto at = [&](int column) { return chunk + column; };
  return sum_in_shared<kGroup>(at, n, largest_in_shared<T>(at, n), shift, [](int, Pair<T>) {});
}

// The probabilities of one logit for each of the order's lanes, of which `n` are there: with all of them nothing is
// asked for between loads, arithmetic and stores. The row is a regular one.
template <bool all, class T, int V>
__device__ __forceinline__ void write_group(const T* logits, T* probabilities, int n, const RowScale<T>& scale) {
  constexpr int at_once = kGroup / V;
  const int t = lane_of_thread();
  const auto* const from = reinterpret_cast<const Vector<T, V>*>(logits) + t;
  auto* const to = reinterpret_cast<Vector<T, V>*>(probabilities) + t;
  Vector<T, V> vectors[at_once];
#pragma unroll
  for (int v = 0; v < at_once; v++) {
    if (all || (v * kWarpLanes + t) * V < n) vectors[v] = from[v * kWarpLanes];
  }
#pragma unroll
  for (int v = 0; v < at_once; v++) {
    if (!all && (v * kWarpLanes + t) * V >= n) break;
    for (int e = 0; e < V; e++) {
      const Pair<T> term = scale.terms.term_of(vectors[v].element[e] - scale.shift);
      vectors[v].element[e] = probability(term, scale.inverse);
    }
    to[v * kWarpLanes] = vectors[v];
  }
}

// Writes the probabilities of the n columns of a chunk of logits, which may lie where they are written, by the lanes of
// a warp.
template <class T, int V>
__device__ __forceinline__ void write_probabilities(const T* logits, T* probabilities, int n,
                                                    const RowScale<T>& scale) {
  if (!scale.regular) {
    for (int column = lane_of_thread(); column < n; column += kWarpLanes) probabilities[column] = canonical_nan<T>();
    return;
  }
  int first = 0;
#pragma unroll 1
  for (; first + kLanes <= n; first += kLanes) write_group<true, T, V>(logits + first, probabilities + first, n, scale);
  if (first < n) write_group<false, T, V>(logits + first, probabilities + first, n - first, scale);
}

// The sums of adjacent parts, merged as a balanced tree over the first `count` lanes; the result in every lane.
// Merging is commutative to the bit, so that both partners of an exchange get the same. Called where a thousand columns
// or more have been summed, so that its code need not be repeated in every place.
template <class T>
__device__ SOFTMAX_NOINLINE PartialSum<T> tree_of_lanes(PartialSum<T> part, int count) {
#pragma unroll 1
  for (int offset = 1; offset < count; offset *= 2) {
    PartialSum<T> other;
    other.max = __shfl_xor_sync(kAllLanes, part.max, offset);
    other.exponent = __shfl_xor_sync(kAllLanes, part.exponent, offset);
    other.head = __shfl_xor_sync(kAllLanes, part.head, offset);
    other.tail = __shfl_xor_sync(kAllLanes, part.tail, offset);
    part = merge(part, other);
  }
  // The lanes beyond have merged nothing.
  if (count <= kWarpLanes / 2) {
    part.max = __shfl_sync(kAllLanes, part.max, 0);
    part.exponent = __shfl_sync(kAllLanes, part.exponent, 0);
    part.head = __shfl_sync(kAllLanes, part.head, 0);
    part.tail = __shfl_sync(kAllLanes, part.tail, 0);
  }
  return part;
}

// The tree over parts that a warp meets one after the other: a lane keeps each of 32, whose tree is one part of the
// next level.
template <class T>
class WarpTree {
 public:
  __device__ __forceinline__ WarpTree() {
#pragma unroll
    for (int level = 0; level < kLevels; level++) kept_[level] = no_columns<T>();
  }

  __device__ __forceinline__ void push(PartialSum<T> part) {
    int index = count_++;
#pragma unroll
    for (int level = 0; level < kLevels; level++) {
      const int place = index % kWarpLanes;
      if (lane_of_thread() == place) kept_[level] = part;
      if (place < kWarpLanes - 1 || level == kLevels - 1) return;
      part = tree_of_lanes(kept_[level], kWarpLanes);
      kept_[level] = no_columns<T>();
      index /= kWarpLanes;
    }
  }

  __device__ __forceinline__ PartialSum<T> total() const {
    PartialSum<T> sum = no_columns<T>();
    int count = count_;
#pragma unroll
    for (int level = 0; level < kLevels; level++) {
      // What is left of a level is the last part of the next.
      PartialSum<T> parts = kept_[level];
      const int place = count % kWarpLanes;
      if (level > 0 && lane_of_thread() == place) parts = sum;
      sum = tree_of_lanes(parts, smaller(place + (level > 0 ? 1 : 0), kWarpLanes));
      count /= kWarpLanes;
      if (count == 0) return sum;
    }
    return sum;
  }

 private:
  static constexpr int kLevels = 4;  // a million parts less one
  PartialSum<T> kept_[kLevels];
  int count_ = 0;
};

// The tree over `count` <= 1024 parts in an array, by all threads of a block; `upper` is shared memory for count / 32.
// Every thread gets the result. The caller keeps the array and `upper` as they are until all have it.
template <class T>
__device__ __forceinline__ PartialSum<T> tree_of_array(const PartialSum<T>* parts, int count, PartialSum<T>* upper) {
  const int lane = lane_of_thread();
  if (count > kWarpLanes) {
    for (int first = static_cast<int>(threadIdx.x) - lane; first < count; first += static_cast<int>(blockDim.x)) {
      const PartialSum<T> part = first + lane < count ? parts[first + lane] : no_columns<T>();
      const PartialSum<T> tree = tree_of_lanes(part, kWarpLanes);
      if (lane == 0) upper[first / kWarpLanes] = tree;
    }
    __syncthreads();
    parts = upper;
    count = (count + kWarpLanes - 1) / kWarpLanes;
  }
  return tree_of_lanes(lane < count ? parts[lane] : no_columns<T>(), count);
}

// The tree over the sums of a row's slices, at most 1024, by one warp.
template <class T>
__device__ __forceinline__ PartialSum<T> tree_of_slices(const PartialSum<T>* of_row, int slices) {
  const int t = lane_of_thread();
  WarpTree<T> tree;
  for (int first = 0; first < slices; first += kWarpLanes) {
    tree.push(tree_of_lanes(first + t < slices ? of_row[first + t] : no_columns<T>(), kWarpLanes));
  }
  return tree.total();
}

// The shift of a row whose slices have these maxima, in every lane.
template <class T>
__device__ __forceinline__ T shift_of_slices(const PartialSum<T>* of_row, int slices) {
  T max = -infinity<T>();
  for (int slice = lane_of_thread(); slice < slices; slice += kWarpLanes) max = larger(of_row[slice].max, max);
  max = largest_of_lanes(max, kWarpLanes);
  return shift_of_row(max);
}

}  // namespace softmax_native::cuda
