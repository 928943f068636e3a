// The maximum of a row and its first index. NaN counts above every number, and the first NaN above later ones.
#pragma once

#include "../numerics/format.h"

namespace softmax_native {
namespace {

template <class T>
struct MaxWithIndex {
  T max;
  int64_t index;
};

// Of an empty row.
template <class T>
SOFTMAX_FN MaxWithIndex<T> no_max() {
  return {-infinity<T>(), -1};
}

// The maximum so far and one more element, which comes later in the row.
template <class T>
SOFTMAX_FN MaxWithIndex<T> max_with(MaxWithIndex<T> so_far, T value, int64_t index) {
  const bool first = so_far.index < 0;
  const bool replaces = value > so_far.max || (value != value && so_far.max == so_far.max);
  return first || replaces ? MaxWithIndex<T>{value, index} : so_far;
}

// Of two parts of a row, in any order: what `max_with` finds one element after the other.
template <class T>
SOFTMAX_FN MaxWithIndex<T> larger_of(MaxWithIndex<T> a, MaxWithIndex<T> b) {
  if (a.index < 0) return b;
  if (b.index < 0) return a;
  const bool a_is_nan = a.max != a.max, b_is_nan = b.max != b.max;
  const bool equal = a_is_nan ? b_is_nan : a.max == b.max;
  if (equal) return a.index < b.index ? a : b;
  return a_is_nan || a.max > b.max ? a : b;
}

}  // namespace
}  // namespace softmax_native
