// The arithmetic every result is made of, for one float or double: a "vector of width 1".
//
// Everything in native/numerics is written over a type V that is float, double, or a SIMD register of either
// (native/cpu/vector_*.h give those the same functions), and compiles as host C++ and as CUDA device code.
// Only correctly rounded operations are used: + - * / and fma, comparisons, integer shifts. Every compiler is told
// not to contract a*b+c by itself, so the same input gives the same bits on every device.
#pragma once

#include <cstdint>

#if defined(__CUDACC__)
#define SOFTMAX_FN __host__ __device__ __forceinline__
#else
#define SOFTMAX_FN inline __attribute__((always_inline))
#endif

namespace softmax_native {
// Internal linkage on purpose: each instruction-set file compiles its own copy of these functions, and the linker
// must never replace the copy of one by the copy of another.
namespace {

template <class V>
struct ScalarOf {
  using type = typename V::Scalar;
};
template <>
struct ScalarOf<float> {
  using type = float;
};
template <>
struct ScalarOf<double> {
  using type = double;
};
template <class V>
using Scalar = typename ScalarOf<V>::type;

SOFTMAX_FN float fma(float a, float b, float c) {
#if defined(__CUDA_ARCH__)
  return __fmaf_rn(a, b, c);
#else
  return __builtin_fmaf(a, b, c);
#endif
}

SOFTMAX_FN double fma(double a, double b, double c) {
#if defined(__CUDA_ARCH__)
  return __fma_rn(a, b, c);
#else
  return __builtin_fma(a, b, c);
#endif
}

// The larger of two numbers. With a NaN the result is either operand; callers find NaN by other means.
SOFTMAX_FN float larger(float a, float b) { return a > b ? a : b; }
SOFTMAX_FN double larger(double a, double b) { return a > b ? a : b; }

// The smaller of two numbers, with the same caveat.
SOFTMAX_FN float lesser(float a, float b) { return a < b ? a : b; }
SOFTMAX_FN double lesser(double a, double b) { return a < b ? a : b; }

// value, or +0 where x < bound. A NaN in x keeps the value.
SOFTMAX_FN float zero_where_less(float x, float bound, float value) { return x < bound ? 0.0f : value; }
SOFTMAX_FN double zero_where_less(double x, double bound, double value) { return x < bound ? 0.0 : value; }

// a where x < bound, else b.
SOFTMAX_FN float choose_where_less(float x, float bound, float a, float b) { return x < bound ? a : b; }
SOFTMAX_FN double choose_where_less(double x, double bound, double a, double b) { return x < bound ? a : b; }

union FloatBits {
  float value;
  uint32_t bits;
};
union DoubleBits {
  double value;
  uint64_t bits;
};

// The low mantissa bits of z moved into the exponent field: for z = magic + e with an integer e in [0, field max],
// where magic is 1.5 times the power of two whose unit in the last place is 1, this is the number 2^(e - bias)
// (and +0 for e = 0).
SOFTMAX_FN float low_bits_as_exponent(float z) {
  FloatBits u;
  u.value = z;
  u.bits <<= 23;
  return u.value;
}
SOFTMAX_FN double low_bits_as_exponent(double z) {
  DoubleBits u;
  u.value = z;
  u.bits <<= 52;
  return u.value;
}

template <class V>
SOFTMAX_FN V broadcast(Scalar<V> value) {
  return V(value);
}

}  // namespace
}  // namespace softmax_native
