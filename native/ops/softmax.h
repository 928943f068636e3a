// Softmax: y_j = exp(x_j) / sum_i exp(x_i), as every back end computes one element of a row.
//
// A row is shifted by its maximum first only if its largest value is 2^16 or more in magnitude: there x - max is exact
// wherever the result is not 0 (Sterbenz), and n(x) would leave the range in which exp_scaled is exact.
#pragma once

#include "../numerics/sum.h"

namespace softmax_native {
namespace {

// What is subtracted from every logit of a row with this maximum: 0, or the maximum.
template <class V>
SOFTMAX_FN V shift_of(V row_max) {
  using T = Scalar<V>;
  const V zero = broadcast<V>(T(0));
  const V magnitude = larger(row_max, zero - row_max);
  return choose_where_less(magnitude, broadcast<V>(T(kShiftFrom)), zero, row_max);
}

// The probability of a scaled exponential under the row's own reference; +0 below the smallest normal number.
template <bool ordinary = false, class V>
SOFTMAX_FN V probability(Pair<V> term, Pair<V> inverse_sum) {
  using F = Format<Scalar<V>>;
  const V small = fma(term.tail, inverse_sum.head, term.head * inverse_sum.tail);
  const V scaled = fma(term.head, inverse_sum.head, small);
  const V kept = ordinary ? scaled : zero_where_less(scaled, broadcast<V>(F::min_normal * F::scale_up), scaled);
  return kept * broadcast<V>(F::scale_down);
}

}  // namespace
}  // namespace softmax_native
