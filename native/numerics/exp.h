// The split exponential: exp(x) = p(x) * 2^n(x), n(x) an integer and p(x) in about [0.7, 1.42], both from x alone.
//
// A row's reference is the integer N = n(max x), not the maximum itself. Nothing is subtracted from x, so nothing is
// rounded away there (x - max loses up to 65 ulp of the result in float32), and partial results under two references
// differ by an exact power of two.
//
// Reduction after Cody and Waite: n = rint(x log2 e), t = x - n ln 2, p = e^t = 1 + t + t^2 / 2 + t^2 q(t).
// x - n*ln2 is exact under fma for |x| < 2^17 (ln2 has as many bits as the format, and the difference fits it); the rest
// of ln 2 is then subtracted with its rounding error kept, and e^t is returned as two numbers whose sum is right to 0.1
// units in the last place (test/native/exp_sweep.cpp tries every float32).
#pragma once

#include "format.h"

namespace softmax_native {
namespace {

// An unevaluated sum. |tail| may be up to a tenth of head: adding it to head would round.
template <class V>
struct Pair {
  V head;
  V tail;
};

// n(x) as a floating-point integer. No x below 2^17 in magnitude makes x log2_e a tie, so the rounding of n does not
// depend on what is added to the magic number below.
template <class V>
SOFTMAX_FN V exponent_of(V x) {
  using F = Format<Scalar<V>>;
  const V magic = broadcast<V>(F::magic);
  return fma(x, broadcast<V>(F::log2_e), magic) - magic;
}

// 2^e for integers e of the normal range; +0 for every smaller e.
template <class V>
SOFTMAX_FN V power_of_two(V e) {
  using F = Format<Scalar<V>>;
  const V clamped = larger(e, broadcast<V>(Scalar<V>(F::min_exponent - 1)));
  return low_bits_as_exponent(clamped + broadcast<V>(F::magic + Scalar<V>(F::exponent_bias)));
}

// What exp_scaled needs of a reference exponent N.
template <class V>
struct ExpReference {
  V magic;  // rounds to an integer and leaves n - N + scale + bias in the low bits
  V bound;  // logits below it give 0
};

template <class V>
SOFTMAX_FN ExpReference<V> exp_reference(V exponent) {
  using F = Format<Scalar<V>>;
  using T = Scalar<V>;
  return {broadcast<V>(F::magic + T(F::exponent_bias + F::scale)) - exponent,
          (exponent - broadcast<V>(T(F::cutoff))) * broadcast<V>(F::ln2)};
}

// Logits from here on are ordinary under a reference: their exponentials lie far above the reference's bound, and so do
// their probabilities above the smallest normal number, whatever the row's length. Kernels that know a row's smallest
// logit leave out the comparisons that only others need.
template <class V>
SOFTMAX_FN V ordinary_from(V exponent) {
  using F = Format<Scalar<V>>;
  return (exponent - broadcast<V>(Scalar<V>(F::ordinary_range))) * broadcast<V>(F::ln2);
}

// exp(x) as 2^n (1 + t + t^2 / 2 + beyond_square): all that does not depend on a reference.
template <class V>
struct ReducedExp {
  V minus_n;
  V t;
  V beyond_square;
};

template <class V>
SOFTMAX_FN ReducedExp<V> reduced_exp(V x, V minus_n) {
  using F = Format<Scalar<V>>;
  const V exact = fma(minus_n, broadcast<V>(F::ln2), x);
  const V t = fma(minus_n, broadcast<V>(F::ln2_rest), exact);
  const V t_rest = fma(minus_n, broadcast<V>(F::ln2_rest), exact - t);

  V q = broadcast<V>(F::q(F::degree));
  for (int i = F::degree - 1; i >= 0; i--) q = fma(q, t, broadcast<V>(F::q(i)));
  // e^(t + t_rest) - 1 - t - t^2 / 2, where t_rest adds t_rest e^t, of which t_rest (1 + t) is enough.
  return {minus_n, t, fma(t * t, q, fma(t_rest, t, t_rest))};
}

// Times 2^(scale - N), z being the reference's magic number plus n.
template <bool ordinary, class V>
SOFTMAX_FN Pair<V> scaled_exp(V x, ReducedExp<V> e, V z, ExpReference<V> reference) {
  // The head takes 1 + t; what that rounds away goes to the tail with the rest. Multiplying by a power of two is exact,
  // so that t^2 / 2, the largest part of the tail, is rounded once only.
  // Below the bound the bits of z are no exponent; a power of 0 keeps subnormal numbers out of what is dropped below.
  const V bits = low_bits_as_exponent(z);
  const V power = ordinary ? bits : zero_where_less(x, reference.bound, bits);
  const V power_t = power * e.t;
  const V head = power + power_t;
  const V head_error = power_t - (head - power);
  const V tail = fma(power_t * broadcast<V>(Scalar<V>(0.5)), e.t, fma(power, e.beyond_square, head_error));
  if (ordinary) return {head, tail};
  return {zero_where_less(x, reference.bound, head), zero_where_less(x, reference.bound, tail)};
}

// exp(x) * 2^(scale - N) as a pair; (0, 0) for x below the reference's bound; NaN for NaN.
template <bool ordinary = false, class V>
SOFTMAX_FN Pair<V> exp_scaled(V x, ExpReference<V> reference) {
  const V z = fma(x, broadcast<V>(Format<Scalar<V>>::log2_e), reference.magic);
  return scaled_exp<ordinary>(x, reduced_exp(x, reference.magic - z), z, reference);
}

}  // namespace
}  // namespace softmax_native
