// The Jacobian of softmax: J_ij = p_i (delta_ij - p_j).
//
// Off the diagonal, -p_i p_j. On it, p_i (1 - p_i): where p_i is above one half, 1 - p_i would keep only the rounding
// error of p_i (and give 0 where the truth is 1e-27), so it is formed as the sum of the other exponentials over the
// sum of all.
#pragma once

#include "softmax.h"

namespace softmax_native {
namespace {

// -p_i p_j, and +0 where that is below the smallest normal number. `p_i_up` is p_i / min_normal: no product of two
// probabilities is then subnormal.
template <class V>
SOFTMAX_FN V jacobian_off_diagonal(V p_i_up, V p_j) {
  using T = Scalar<V>;
  const V product = p_i_up * p_j;
  const V kept = zero_where_less(product, broadcast<V>(T(1)), product);
  // Adding +0 makes the -0 of a product that was not kept +0, and changes no other.
  return fma(kept, broadcast<V>(-Format<T>::min_normal), broadcast<V>(T(0)));
}

template <class V>
SOFTMAX_FN V jacobian_scale_up(V p_i) {
  using T = Scalar<V>;
  return p_i * broadcast<V>(T(1) / Format<T>::min_normal);
}

// p_i (1 - p_i) for p_i of one half at most.
template <class V>
SOFTMAX_FN V jacobian_diagonal(V p_i) {
  return fma(broadcast<V>(Scalar<V>(0)) - p_i, p_i, p_i);
}

// The same for a larger p_i, from the row's sum and the sum of the row without column i (both under one shift).
template <class V>
SOFTMAX_FN V jacobian_diagonal(V p_i, Sum<V> all, Sum<V> others) {
  using T = Scalar<V>;
  using F = Format<T>;
  const Pair<V> inverse = reciprocal(all);
  const V small = fma(others.tail, inverse.head, others.head * inverse.tail);
  // Under both references alike.
  const V ratio = fma(others.head, inverse.head, small) * broadcast<V>(F::scale_down);
  const V one_exponent_apart = p_i * ratio;
  // The exponents may be further apart than a normal power of two reaches: two steps, of which only the last can
  // leave the normal range.
  const V exponent = others.exponent - all.exponent;
  const V first = larger(exponent, broadcast<V>(T(F::min_exponent / 2)));
  const V last = power_of_two(exponent - first);
  const V scaled = one_exponent_apart * power_of_two(first);
  const V zero = broadcast<V>(T(0));
  const V diagonal = zero_where_less(scaled, broadcast<V>(F::min_normal) / last, scaled) * last;
  return choose_where_less(zero, others.head, diagonal, zero);
}

}  // namespace
}  // namespace softmax_native
