// AVX2 with FMA: 8 float32 or 4 float64 lanes.
#pragma once

#include <immintrin.h>

#include "../numerics/scalar.h"
#include "lanes.h"

namespace softmax_native {
namespace {

struct F32x8 {
  using Scalar = float;
  __m256 v;
  F32x8() = default;
  explicit F32x8(__m256 r) : v(r) {}
  explicit F32x8(float s) : v(_mm256_set1_ps(s)) {}
};
SOFTMAX_FN F32x8 operator+(F32x8 a, F32x8 b) { return F32x8(_mm256_add_ps(a.v, b.v)); }
SOFTMAX_FN F32x8 operator-(F32x8 a, F32x8 b) { return F32x8(_mm256_sub_ps(a.v, b.v)); }
SOFTMAX_FN F32x8 operator*(F32x8 a, F32x8 b) { return F32x8(_mm256_mul_ps(a.v, b.v)); }
SOFTMAX_FN F32x8 operator/(F32x8 a, F32x8 b) { return F32x8(_mm256_div_ps(a.v, b.v)); }
SOFTMAX_FN F32x8 fma(F32x8 a, F32x8 b, F32x8 c) { return F32x8(_mm256_fmadd_ps(a.v, b.v, c.v)); }
SOFTMAX_FN F32x8 larger(F32x8 a, F32x8 b) { return F32x8(_mm256_max_ps(a.v, b.v)); }
SOFTMAX_FN F32x8 lesser(F32x8 a, F32x8 b) { return F32x8(_mm256_min_ps(a.v, b.v)); }
SOFTMAX_FN F32x8 zero_where_less(F32x8 x, F32x8 bound, F32x8 value) {
  return F32x8(_mm256_and_ps(_mm256_cmp_ps(x.v, bound.v, _CMP_NLT_UQ), value.v));
}
SOFTMAX_FN F32x8 choose_where_less(F32x8 x, F32x8 bound, F32x8 a, F32x8 b) {
  return F32x8(_mm256_blendv_ps(b.v, a.v, _mm256_cmp_ps(x.v, bound.v, _CMP_LT_OQ)));
}
SOFTMAX_FN F32x8 low_bits_as_exponent(F32x8 z) {
  return F32x8(_mm256_castsi256_ps(_mm256_slli_epi32(_mm256_castps_si256(z.v), 23)));
}

template <>
struct Lanes<F32x8> {
  static constexpr int width = 8;
  static constexpr int quad = 4;
  static constexpr bool can_stream = true;
  static __m256i first(int n) {
    return _mm256_cmpgt_epi32(_mm256_set1_epi32(n), _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7));
  }
  static F32x8 load(const float* p) { return F32x8(_mm256_loadu_ps(p)); }
  static F32x8 load_part(const float* p, int n, float fill) {
    const __m256i mask = first(n);
    return F32x8(_mm256_blendv_ps(_mm256_set1_ps(fill), _mm256_maskload_ps(p, mask), _mm256_castsi256_ps(mask)));
  }
  static void store(float* p, F32x8 a) { _mm256_storeu_ps(p, a.v); }
  static void store_part(float* p, int n, F32x8 a) { _mm256_maskstore_ps(p, first(n), a.v); }
  static float fold_sum(F32x8 a) {
    const __m128 four = _mm_add_ps(_mm256_castps256_ps128(a.v), _mm256_extractf128_ps(a.v, 1));
    const __m128 two = _mm_add_ps(four, _mm_movehl_ps(four, four));
    return _mm_cvtss_f32(_mm_add_ss(two, _mm_movehdup_ps(two)));
  }
  static float fold_max(F32x8 a) {
    const __m128 four = _mm_max_ps(_mm256_castps256_ps128(a.v), _mm256_extractf128_ps(a.v, 1));
    const __m128 two = _mm_max_ps(four, _mm_movehl_ps(four, four));
    return _mm_cvtss_f32(_mm_max_ss(two, _mm_movehdup_ps(two)));
  }
  static float fold_sum_of(F32x8 a, int n) {
    if (n > 4) return fold_sum(a);
    const __m128 four = _mm256_castps256_ps128(a.v), two = _mm_add_ps(four, _mm_movehl_ps(four, four));
    return _mm_cvtss_f32(_mm_add_ss(two, _mm_movehdup_ps(two)));
  }
  static float fold_max_of(F32x8 a, int n) {
    if (n > 4) return fold_max(a);
    const __m128 four = _mm256_castps256_ps128(a.v), two = _mm_max_ps(four, _mm_movehl_ps(four, four));
    return _mm_cvtss_f32(_mm_max_ss(two, _mm_movehdup_ps(two)));
  }
  static bool any_less(F32x8 a, F32x8 b) { return _mm256_movemask_ps(_mm256_cmp_ps(a.v, b.v, _CMP_LT_OQ)) != 0; }
  static void stream(float* p, F32x8 a) { _mm256_stream_ps(p, a.v); }
  static void fence() { _mm_sfence(); }
  // Blocks of 128 bits: block b of register j is a quad of row 4 b + j, and after the transposition of each 4 x 4 block
  // element j of the rows 4 b to 4 b + 3.
  static void load_quads(const float* p, int64_t stride, F32x8* v) {
    __m256 row[quad];
    for (int j = 0; j < quad; j++) {
      const float* first = p + j * stride;
      row[j] = _mm256_insertf128_ps(_mm256_castps128_ps256(_mm_loadu_ps(first)), _mm_loadu_ps(first + 4 * stride), 1);
    }
    transpose_blocks(row, v);
  }
  static void store_quads(float* p, int64_t stride, const F32x8* v) {
    const __m256 column[quad] = {v[0].v, v[1].v, v[2].v, v[3].v};
    F32x8 row[quad];
    transpose_blocks(column, row);
    for (int j = 0; j < 4; j++) _mm_storeu_ps(p + j * stride, _mm256_castps256_ps128(row[j].v));
    for (int j = 0; j < 4; j++) _mm_storeu_ps(p + (4 + j) * stride, _mm256_extractf128_ps(row[j].v, 1));
  }
  static void transpose_blocks(const __m256* from, F32x8* to) {
    const __m256d low01 = _mm256_castps_pd(_mm256_unpacklo_ps(from[0], from[1]));
    const __m256d high01 = _mm256_castps_pd(_mm256_unpackhi_ps(from[0], from[1]));
    const __m256d low23 = _mm256_castps_pd(_mm256_unpacklo_ps(from[2], from[3]));
    const __m256d high23 = _mm256_castps_pd(_mm256_unpackhi_ps(from[2], from[3]));
    to[0] = F32x8(_mm256_castpd_ps(_mm256_unpacklo_pd(low01, low23)));
    to[1] = F32x8(_mm256_castpd_ps(_mm256_unpackhi_pd(low01, low23)));
    to[2] = F32x8(_mm256_castpd_ps(_mm256_unpacklo_pd(high01, high23)));
    to[3] = F32x8(_mm256_castpd_ps(_mm256_unpackhi_pd(high01, high23)));
  }
  static int first_equal(F32x8 a, float value) {
    const int found = _mm256_movemask_ps(_mm256_cmp_ps(a.v, _mm256_set1_ps(value), _CMP_EQ_OQ));
    return found ? __builtin_ctz(static_cast<unsigned>(found)) : -1;
  }
  static int first_nan(F32x8 a) {
    const int found = _mm256_movemask_ps(_mm256_cmp_ps(a.v, a.v, _CMP_UNORD_Q));
    return found ? __builtin_ctz(static_cast<unsigned>(found)) : -1;
  }
};

struct F64x4 {
  using Scalar = double;
  __m256d v;
  F64x4() = default;
  explicit F64x4(__m256d r) : v(r) {}
  explicit F64x4(double s) : v(_mm256_set1_pd(s)) {}
};
SOFTMAX_FN F64x4 operator+(F64x4 a, F64x4 b) { return F64x4(_mm256_add_pd(a.v, b.v)); }
SOFTMAX_FN F64x4 operator-(F64x4 a, F64x4 b) { return F64x4(_mm256_sub_pd(a.v, b.v)); }
SOFTMAX_FN F64x4 operator*(F64x4 a, F64x4 b) { return F64x4(_mm256_mul_pd(a.v, b.v)); }
SOFTMAX_FN F64x4 operator/(F64x4 a, F64x4 b) { return F64x4(_mm256_div_pd(a.v, b.v)); }
SOFTMAX_FN F64x4 fma(F64x4 a, F64x4 b, F64x4 c) { return F64x4(_mm256_fmadd_pd(a.v, b.v, c.v)); }
SOFTMAX_FN F64x4 larger(F64x4 a, F64x4 b) { return F64x4(_mm256_max_pd(a.v, b.v)); }
SOFTMAX_FN F64x4 lesser(F64x4 a, F64x4 b) { return F64x4(_mm256_min_pd(a.v, b.v)); }
SOFTMAX_FN F64x4 zero_where_less(F64x4 x, F64x4 bound, F64x4 value) {
  return F64x4(_mm256_and_pd(_mm256_cmp_pd(x.v, bound.v, _CMP_NLT_UQ), value.v));
}
SOFTMAX_FN F64x4 choose_where_less(F64x4 x, F64x4 bound, F64x4 a, F64x4 b) {
  return F64x4(_mm256_blendv_pd(b.v, a.v, _mm256_cmp_pd(x.v, bound.v, _CMP_LT_OQ)));
}
SOFTMAX_FN F64x4 low_bits_as_exponent(F64x4 z) {
  return F64x4(_mm256_castsi256_pd(_mm256_slli_epi64(_mm256_castpd_si256(z.v), 52)));
}

template <>
struct Lanes<F64x4> {
  static constexpr int width = 4;
  static constexpr int quad = 2;
  static constexpr bool can_stream = true;
  static __m256i first(int n) { return _mm256_cmpgt_epi64(_mm256_set1_epi64x(n), _mm256_setr_epi64x(0, 1, 2, 3)); }
  static F64x4 load(const double* p) { return F64x4(_mm256_loadu_pd(p)); }
  static F64x4 load_part(const double* p, int n, double fill) {
    const __m256i mask = first(n);
    return F64x4(_mm256_blendv_pd(_mm256_set1_pd(fill), _mm256_maskload_pd(p, mask), _mm256_castsi256_pd(mask)));
  }
  static void store(double* p, F64x4 a) { _mm256_storeu_pd(p, a.v); }
  static void store_part(double* p, int n, F64x4 a) { _mm256_maskstore_pd(p, first(n), a.v); }
  static double fold_sum(F64x4 a) {
    const __m128d two = _mm_add_pd(_mm256_castpd256_pd128(a.v), _mm256_extractf128_pd(a.v, 1));
    return _mm_cvtsd_f64(_mm_add_sd(two, _mm_unpackhi_pd(two, two)));
  }
  static double fold_max(F64x4 a) {
    const __m128d two = _mm_max_pd(_mm256_castpd256_pd128(a.v), _mm256_extractf128_pd(a.v, 1));
    return _mm_cvtsd_f64(_mm_max_sd(two, _mm_unpackhi_pd(two, two)));
  }
  static double fold_sum_of(F64x4 a, int) { return fold_sum(a); }
  static double fold_max_of(F64x4 a, int) { return fold_max(a); }
  static bool any_less(F64x4 a, F64x4 b) { return _mm256_movemask_pd(_mm256_cmp_pd(a.v, b.v, _CMP_LT_OQ)) != 0; }
  static void stream(double* p, F64x4 a) { _mm256_stream_pd(p, a.v); }
  static void fence() { _mm_sfence(); }
  // As above, with 2 x 2 blocks.
  static void load_quads(const double* p, int64_t stride, F64x4* v) {
    __m256d row[quad];
    for (int j = 0; j < quad; j++) {
      const double* first = p + j * stride;
      row[j] = _mm256_insertf128_pd(_mm256_castpd128_pd256(_mm_loadu_pd(first)), _mm_loadu_pd(first + 2 * stride), 1);
    }
    v[0] = F64x4(_mm256_unpacklo_pd(row[0], row[1]));
    v[1] = F64x4(_mm256_unpackhi_pd(row[0], row[1]));
  }
  static void store_quads(double* p, int64_t stride, const F64x4* v) {
    const __m256d row[quad] = {_mm256_unpacklo_pd(v[0].v, v[1].v), _mm256_unpackhi_pd(v[0].v, v[1].v)};
    for (int j = 0; j < 2; j++) _mm_storeu_pd(p + j * stride, _mm256_castpd256_pd128(row[j]));
    for (int j = 0; j < 2; j++) _mm_storeu_pd(p + (2 + j) * stride, _mm256_extractf128_pd(row[j], 1));
  }
  static int first_equal(F64x4 a, double value) {
    const int found = _mm256_movemask_pd(_mm256_cmp_pd(a.v, _mm256_set1_pd(value), _CMP_EQ_OQ));
    return found ? __builtin_ctz(static_cast<unsigned>(found)) : -1;
  }
  static int first_nan(F64x4 a) {
    const int found = _mm256_movemask_pd(_mm256_cmp_pd(a.v, a.v, _CMP_UNORD_Q));
    return found ? __builtin_ctz(static_cast<unsigned>(found)) : -1;
  }
};

}  // namespace
}  // namespace softmax_native
