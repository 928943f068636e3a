// AVX-512 (F, BW, VL, DQ): 16 float32 or 8 float64 lanes; masks make tails and selections free.
#pragma once

#include <immintrin.h>

#include "../numerics/scalar.h"
#include "lanes.h"

namespace softmax_native {
namespace {

struct F32x16 {
  using Scalar = float;
  __m512 v;
  F32x16() = default;
  explicit F32x16(__m512 r) : v(r) {}
  explicit F32x16(float s) : v(_mm512_set1_ps(s)) {}
};
SOFTMAX_FN F32x16 operator+(F32x16 a, F32x16 b) { return F32x16(_mm512_add_ps(a.v, b.v)); }
SOFTMAX_FN F32x16 operator-(F32x16 a, F32x16 b) { return F32x16(_mm512_sub_ps(a.v, b.v)); }
SOFTMAX_FN F32x16 operator*(F32x16 a, F32x16 b) { return F32x16(_mm512_mul_ps(a.v, b.v)); }
SOFTMAX_FN F32x16 operator/(F32x16 a, F32x16 b) { return F32x16(_mm512_div_ps(a.v, b.v)); }
SOFTMAX_FN F32x16 fma(F32x16 a, F32x16 b, F32x16 c) { return F32x16(_mm512_fmadd_ps(a.v, b.v, c.v)); }
SOFTMAX_FN F32x16 larger(F32x16 a, F32x16 b) { return F32x16(_mm512_max_ps(a.v, b.v)); }
SOFTMAX_FN F32x16 lesser(F32x16 a, F32x16 b) { return F32x16(_mm512_min_ps(a.v, b.v)); }
SOFTMAX_FN F32x16 zero_where_less(F32x16 x, F32x16 bound, F32x16 value) {
  return F32x16(_mm512_maskz_mov_ps(_mm512_cmp_ps_mask(x.v, bound.v, _CMP_NLT_UQ), value.v));
}
SOFTMAX_FN F32x16 choose_where_less(F32x16 x, F32x16 bound, F32x16 a, F32x16 b) {
  return F32x16(_mm512_mask_mov_ps(b.v, _mm512_cmp_ps_mask(x.v, bound.v, _CMP_LT_OQ), a.v));
}
SOFTMAX_FN F32x16 low_bits_as_exponent(F32x16 z) {
  return F32x16(_mm512_castsi512_ps(_mm512_slli_epi32(_mm512_castps_si512(z.v), 23)));
}

template <>
struct Lanes<F32x16> {
  static constexpr int width = 16;
  static constexpr int quad = 4;
  static constexpr bool can_stream = true;
  static __mmask16 first(int n) { return static_cast<__mmask16>((1u << n) - 1); }
  static F32x16 load(const float* p) { return F32x16(_mm512_loadu_ps(p)); }
  static F32x16 load_part(const float* p, int n, float fill) {
    return F32x16(_mm512_mask_loadu_ps(_mm512_set1_ps(fill), first(n), p));
  }
  static void store(float* p, F32x16 a) { _mm512_storeu_ps(p, a.v); }
  static void store_part(float* p, int n, F32x16 a) { _mm512_mask_storeu_ps(p, first(n), a.v); }
  static float fold_sum(F32x16 a) {
    const __m256 eight = _mm256_add_ps(_mm512_castps512_ps256(a.v), _mm512_extractf32x8_ps(a.v, 1));
    const __m128 four = _mm_add_ps(_mm256_castps256_ps128(eight), _mm256_extractf128_ps(eight, 1));
    const __m128 two = _mm_add_ps(four, _mm_movehl_ps(four, four));
    return _mm_cvtss_f32(_mm_add_ss(two, _mm_movehdup_ps(two)));
  }
  static float fold_max(F32x16 a) { return _mm512_reduce_max_ps(a.v); }
  static float fold_sum_of(F32x16 a, int n) {
    if (n > 4) return fold_sum(a);
    const __m128 four = _mm512_castps512_ps128(a.v), two = _mm_add_ps(four, _mm_movehl_ps(four, four));
    return _mm_cvtss_f32(_mm_add_ss(two, _mm_movehdup_ps(two)));
  }
  static float fold_max_of(F32x16 a, int n) {
    if (n > 4) return fold_max(a);
    const __m128 four = _mm512_castps512_ps128(a.v), two = _mm_max_ps(four, _mm_movehl_ps(four, four));
    return _mm_cvtss_f32(_mm_max_ss(two, _mm_movehdup_ps(two)));
  }
  static bool any_less(F32x16 a, F32x16 b) { return _mm512_cmp_ps_mask(a.v, b.v, _CMP_LT_OQ) != 0; }
  static void stream(float* p, F32x16 a) { _mm512_stream_ps(p, a.v); }
  static void fence() { _mm_sfence(); }
  // Blocks of 128 bits: block b of register j is a quad of row 4 b + j, and after the transposition of each 4 x 4 block
  // element j of the rows 4 b to 4 b + 3.
  static void load_quads(const float* p, int64_t stride, F32x16* v) {
    __m512 row[quad];
    for (int j = 0; j < quad; j++) {
      const float* first = p + j * stride;
      const __m512 low = _mm512_castps128_ps512(_mm_loadu_ps(first));
      const __m512 two = _mm512_insertf32x4(low, _mm_loadu_ps(first + 4 * stride), 1);
      const __m512 three = _mm512_insertf32x4(two, _mm_loadu_ps(first + 8 * stride), 2);
      row[j] = _mm512_insertf32x4(three, _mm_loadu_ps(first + 12 * stride), 3);
    }
    transpose_blocks(row, v);
  }
  static void store_quads(float* p, int64_t stride, const F32x16* v) {
    const __m512 column[quad] = {v[0].v, v[1].v, v[2].v, v[3].v};
    F32x16 row[quad];
    transpose_blocks(column, row);
    for (int j = 0; j < 4; j++) _mm_storeu_ps(p + j * stride, _mm512_castps512_ps128(row[j].v));
    for (int j = 0; j < 4; j++) _mm_storeu_ps(p + (4 + j) * stride, _mm512_extractf32x4_ps(row[j].v, 1));
    for (int j = 0; j < 4; j++) _mm_storeu_ps(p + (8 + j) * stride, _mm512_extractf32x4_ps(row[j].v, 2));
    for (int j = 0; j < 4; j++) _mm_storeu_ps(p + (12 + j) * stride, _mm512_extractf32x4_ps(row[j].v, 3));
  }
  static void transpose_blocks(const __m512* from, F32x16* to) {
    const __m512d low01 = _mm512_castps_pd(_mm512_unpacklo_ps(from[0], from[1]));
    const __m512d high01 = _mm512_castps_pd(_mm512_unpackhi_ps(from[0], from[1]));
    const __m512d low23 = _mm512_castps_pd(_mm512_unpacklo_ps(from[2], from[3]));
    const __m512d high23 = _mm512_castps_pd(_mm512_unpackhi_ps(from[2], from[3]));
    to[0] = F32x16(_mm512_castpd_ps(_mm512_unpacklo_pd(low01, low23)));
    to[1] = F32x16(_mm512_castpd_ps(_mm512_unpackhi_pd(low01, low23)));
    to[2] = F32x16(_mm512_castpd_ps(_mm512_unpacklo_pd(high01, high23)));
    to[3] = F32x16(_mm512_castpd_ps(_mm512_unpackhi_pd(high01, high23)));
  }
  static int first_equal(F32x16 a, float value) {
    const unsigned found = _mm512_cmp_ps_mask(a.v, _mm512_set1_ps(value), _CMP_EQ_OQ);
    return found ? __builtin_ctz(found) : -1;
  }
  static int first_nan(F32x16 a) {
    const unsigned found = _mm512_cmp_ps_mask(a.v, a.v, _CMP_UNORD_Q);
    return found ? __builtin_ctz(found) : -1;
  }
};

struct F64x8 {
  using Scalar = double;
  __m512d v;
  F64x8() = default;
  explicit F64x8(__m512d r) : v(r) {}
  explicit F64x8(double s) : v(_mm512_set1_pd(s)) {}
};
SOFTMAX_FN F64x8 operator+(F64x8 a, F64x8 b) { return F64x8(_mm512_add_pd(a.v, b.v)); }
SOFTMAX_FN F64x8 operator-(F64x8 a, F64x8 b) { return F64x8(_mm512_sub_pd(a.v, b.v)); }
SOFTMAX_FN F64x8 operator*(F64x8 a, F64x8 b) { return F64x8(_mm512_mul_pd(a.v, b.v)); }
SOFTMAX_FN F64x8 operator/(F64x8 a, F64x8 b) { return F64x8(_mm512_div_pd(a.v, b.v)); }
SOFTMAX_FN F64x8 fma(F64x8 a, F64x8 b, F64x8 c) { return F64x8(_mm512_fmadd_pd(a.v, b.v, c.v)); }
SOFTMAX_FN F64x8 larger(F64x8 a, F64x8 b) { return F64x8(_mm512_max_pd(a.v, b.v)); }
SOFTMAX_FN F64x8 lesser(F64x8 a, F64x8 b) { return F64x8(_mm512_min_pd(a.v, b.v)); }
SOFTMAX_FN F64x8 zero_where_less(F64x8 x, F64x8 bound, F64x8 value) {
  return F64x8(_mm512_maskz_mov_pd(_mm512_cmp_pd_mask(x.v, bound.v, _CMP_NLT_UQ), value.v));
}
SOFTMAX_FN F64x8 choose_where_less(F64x8 x, F64x8 bound, F64x8 a, F64x8 b) {
  return F64x8(_mm512_mask_mov_pd(b.v, _mm512_cmp_pd_mask(x.v, bound.v, _CMP_LT_OQ), a.v));
}
SOFTMAX_FN F64x8 low_bits_as_exponent(F64x8 z) {
  return F64x8(_mm512_castsi512_pd(_mm512_slli_epi64(_mm512_castpd_si512(z.v), 52)));
}

template <>
struct Lanes<F64x8> {
  static constexpr int width = 8;
  static constexpr int quad = 2;
  static constexpr bool can_stream = true;
  static __mmask8 first(int n) { return static_cast<__mmask8>((1u << n) - 1); }
  static F64x8 load(const double* p) { return F64x8(_mm512_loadu_pd(p)); }
  static F64x8 load_part(const double* p, int n, double fill) {
    return F64x8(_mm512_mask_loadu_pd(_mm512_set1_pd(fill), first(n), p));
  }
  static void store(double* p, F64x8 a) { _mm512_storeu_pd(p, a.v); }
  static void store_part(double* p, int n, F64x8 a) { _mm512_mask_storeu_pd(p, first(n), a.v); }
  static double fold_sum(F64x8 a) {
    const __m256d four = _mm256_add_pd(_mm512_castpd512_pd256(a.v), _mm512_extractf64x4_pd(a.v, 1));
    const __m128d two = _mm_add_pd(_mm256_castpd256_pd128(four), _mm256_extractf128_pd(four, 1));
    return _mm_cvtsd_f64(_mm_add_sd(two, _mm_unpackhi_pd(two, two)));
  }
  static double fold_max(F64x8 a) { return _mm512_reduce_max_pd(a.v); }
  static double fold_sum_of(F64x8 a, int n) {
    if (n > 4) return fold_sum(a);
    const __m256d four = _mm512_castpd512_pd256(a.v);
    const __m128d two = _mm_add_pd(_mm256_castpd256_pd128(four), _mm256_extractf128_pd(four, 1));
    return _mm_cvtsd_f64(_mm_add_sd(two, _mm_unpackhi_pd(two, two)));
  }
  static double fold_max_of(F64x8 a, int n) {
    if (n > 4) return fold_max(a);
    const __m256d four = _mm512_castpd512_pd256(a.v);
    const __m128d two = _mm_max_pd(_mm256_castpd256_pd128(four), _mm256_extractf128_pd(four, 1));
    return _mm_cvtsd_f64(_mm_max_sd(two, _mm_unpackhi_pd(two, two)));
  }
  static bool any_less(F64x8 a, F64x8 b) { return _mm512_cmp_pd_mask(a.v, b.v, _CMP_LT_OQ) != 0; }
  static void stream(double* p, F64x8 a) { _mm512_stream_pd(p, a.v); }
  static void fence() { _mm_sfence(); }
  // As above, with 2 x 2 blocks.
  static void load_quads(const double* p, int64_t stride, F64x8* v) {
    __m512d row[quad];
    for (int j = 0; j < quad; j++) {
      const double* first = p + j * stride;
      const __m512d low = _mm512_castpd128_pd512(_mm_loadu_pd(first));
      const __m512d two = _mm512_insertf64x2(low, _mm_loadu_pd(first + 2 * stride), 1);
      const __m512d three = _mm512_insertf64x2(two, _mm_loadu_pd(first + 4 * stride), 2);
      row[j] = _mm512_insertf64x2(three, _mm_loadu_pd(first + 6 * stride), 3);
    }
    v[0] = F64x8(_mm512_unpacklo_pd(row[0], row[1]));
    v[1] = F64x8(_mm512_unpackhi_pd(row[0], row[1]));
  }
  static void store_quads(double* p, int64_t stride, const F64x8* v) {
    const __m512d row[quad] = {_mm512_unpacklo_pd(v[0].v, v[1].v), _mm512_unpackhi_pd(v[0].v, v[1].v)};
    for (int j = 0; j < 2; j++) _mm_storeu_pd(p + j * stride, _mm512_castpd512_pd128(row[j]));
    for (int j = 0; j < 2; j++) _mm_storeu_pd(p + (2 + j) * stride, _mm512_extractf64x2_pd(row[j], 1));
    for (int j = 0; j < 2; j++) _mm_storeu_pd(p + (4 + j) * stride, _mm512_extractf64x2_pd(row[j], 2));
    for (int j = 0; j < 2; j++) _mm_storeu_pd(p + (6 + j) * stride, _mm512_extractf64x2_pd(row[j], 3));
  }
  static int first_equal(F64x8 a, double value) {
    const unsigned found = _mm512_cmp_pd_mask(a.v, _mm512_set1_pd(value), _CMP_EQ_OQ);
    return found ? __builtin_ctz(found) : -1;
  }
  static int first_nan(F64x8 a) {
    const unsigned found = _mm512_cmp_pd_mask(a.v, a.v, _CMP_UNORD_Q);
    return found ? __builtin_ctz(found) : -1;
  }
};

}  // namespace
}  // namespace softmax_native
