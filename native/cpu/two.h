// Two registers that are worked on in step, as one of twice the width. An exponential is a chain of thirty operations
// that wait for each other, longer than a processor looks ahead: written one after another, few would overlap.
#pragma once

#include "../numerics/scalar.h"
#include "lanes.h"

namespace softmax_native {
namespace {

template <class V>
struct Two {
  using Scalar = typename ScalarOf<V>::type;
  V a, b;
  Two() = default;
  Two(V first, V second) : a(first), b(second) {}
  explicit Two(Scalar s) : a(broadcast<V>(s)), b(broadcast<V>(s)) {}
};
template <class V>
SOFTMAX_FN Two<V> operator+(Two<V> x, Two<V> y) {
  return {x.a + y.a, x.b + y.b};
}
template <class V>
SOFTMAX_FN Two<V> operator-(Two<V> x, Two<V> y) {
  return {x.a - y.a, x.b - y.b};
}
template <class V>
SOFTMAX_FN Two<V> operator*(Two<V> x, Two<V> y) {
  return {x.a * y.a, x.b * y.b};
}
template <class V>
SOFTMAX_FN Two<V> fma(Two<V> x, Two<V> y, Two<V> z) {
  return {fma(x.a, y.a, z.a), fma(x.b, y.b, z.b)};
}
template <class V>
SOFTMAX_FN Two<V> larger(Two<V> x, Two<V> y) {
  return {larger(x.a, y.a), larger(x.b, y.b)};
}
template <class V>
SOFTMAX_FN Two<V> zero_where_less(Two<V> x, Two<V> bound, Two<V> value) {
  return {zero_where_less(x.a, bound.a, value.a), zero_where_less(x.b, bound.b, value.b)};
}
template <class V>
SOFTMAX_FN Two<V> choose_where_less(Two<V> x, Two<V> bound, Two<V> a, Two<V> b) {
  return {choose_where_less(x.a, bound.a, a.a, b.a), choose_where_less(x.b, bound.b, a.b, b.b)};
}
template <class V>
SOFTMAX_FN Two<V> low_bits_as_exponent(Two<V> z) {
  return {low_bits_as_exponent(z.a), low_bits_as_exponent(z.b)};
}

template <class V>
struct Lanes<Two<V>> {
  using T = typename ScalarOf<V>::type;
  static constexpr int half = Lanes<V>::width;
  static constexpr int width = 2 * half;
  SOFTMAX_FN static Two<V> load(const T* p) { return {Lanes<V>::load(p), Lanes<V>::load(p + half)}; }
  SOFTMAX_FN static void store(T* p, Two<V> v) {
    Lanes<V>::store(p, v.a);
    Lanes<V>::store(p + half, v.b);
  }
};

}  // namespace
}  // namespace softmax_native
