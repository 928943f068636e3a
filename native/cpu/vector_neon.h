// NEON on AArch64: 4 float32 or 2 float64 lanes.
#pragma once

#include <arm_neon.h>

#include "../numerics/scalar.h"
#include "lanes.h"

namespace softmax_native {
namespace {

struct F32x4 {
  using Scalar = float;
  float32x4_t v;
  F32x4() = default;
  explicit F32x4(float32x4_t r) : v(r) {}
  explicit F32x4(float s) : v(vdupq_n_f32(s)) {}
};
SOFTMAX_FN F32x4 operator+(F32x4 a, F32x4 b) { return F32x4(vaddq_f32(a.v, b.v)); }
SOFTMAX_FN F32x4 operator-(F32x4 a, F32x4 b) { return F32x4(vsubq_f32(a.v, b.v)); }
SOFTMAX_FN F32x4 operator*(F32x4 a, F32x4 b) { return F32x4(vmulq_f32(a.v, b.v)); }
SOFTMAX_FN F32x4 operator/(F32x4 a, F32x4 b) { return F32x4(vdivq_f32(a.v, b.v)); }
SOFTMAX_FN F32x4 fma(F32x4 a, F32x4 b, F32x4 c) { return F32x4(vfmaq_f32(c.v, a.v, b.v)); }
SOFTMAX_FN F32x4 larger(F32x4 a, F32x4 b) { return F32x4(vbslq_f32(vcgtq_f32(a.v, b.v), a.v, b.v)); }
SOFTMAX_FN F32x4 lesser(F32x4 a, F32x4 b) { return F32x4(vbslq_f32(vcltq_f32(a.v, b.v), a.v, b.v)); }
SOFTMAX_FN F32x4 zero_where_less(F32x4 x, F32x4 bound, F32x4 value) {
  return F32x4(vreinterpretq_f32_u32(vbicq_u32(vreinterpretq_u32_f32(value.v), vcltq_f32(x.v, bound.v))));
}
SOFTMAX_FN F32x4 choose_where_less(F32x4 x, F32x4 bound, F32x4 a, F32x4 b) {
  return F32x4(vbslq_f32(vcltq_f32(x.v, bound.v), a.v, b.v));
}
SOFTMAX_FN F32x4 low_bits_as_exponent(F32x4 z) {
  return F32x4(vreinterpretq_f32_u32(vshlq_n_u32(vreinterpretq_u32_f32(z.v), 23)));
}

template <>
struct Lanes<F32x4> {
  static constexpr int width = 4;
  static constexpr int quad = 4;
  static constexpr bool can_stream = false;
  static F32x4 load(const float* p) { return F32x4(vld1q_f32(p)); }
  static F32x4 load_part(const float* p, int n, float fill) {
    float lanes[width] = {fill, fill, fill, fill};
    for (int i = 0; i < n; i++) lanes[i] = p[i];
    return load(lanes);
  }
  static void store(float* p, F32x4 a) { vst1q_f32(p, a.v); }
  static void store_part(float* p, int n, F32x4 a) {
    float lanes[width];
    store(lanes, a);
    for (int i = 0; i < n; i++) p[i] = lanes[i];
  }
  static float fold_sum(F32x4 a) {
    const float32x2_t two = vadd_f32(vget_low_f32(a.v), vget_high_f32(a.v));
    return vget_lane_f32(two, 0) + vget_lane_f32(two, 1);
  }
  static float fold_max(F32x4 a) { return vmaxvq_f32(a.v); }
  static float fold_sum_of(F32x4 a, int) { return fold_sum(a); }
  static float fold_max_of(F32x4 a, int) { return fold_max(a); }
  static bool any_less(F32x4 a, F32x4 b) { return vmaxvq_u32(vcltq_f32(a.v, b.v)) != 0; }
  // The instruction that stores past the caches, STNP, has no intrinsic.
  static void stream(float* p, F32x4 a) { store(p, a); }
  static void fence() {}
  static void load_quads(const float* p, int64_t stride, F32x4* v) {
    const float32x4_t row[quad] = {vld1q_f32(p), vld1q_f32(p + stride), vld1q_f32(p + 2 * stride),
                                   vld1q_f32(p + 3 * stride)};
    transpose(row, v);
  }
  static void store_quads(float* p, int64_t stride, const F32x4* v) {
    const float32x4_t column[quad] = {v[0].v, v[1].v, v[2].v, v[3].v};
    F32x4 row[quad];
    transpose(column, row);
    for (int j = 0; j < quad; j++) vst1q_f32(p + j * stride, row[j].v);
  }
  static void transpose(const float32x4_t* from, F32x4* to) {
    const float32x4x2_t rows01 = vtrnq_f32(from[0], from[1]), rows23 = vtrnq_f32(from[2], from[3]);
    to[0] = F32x4(vcombine_f32(vget_low_f32(rows01.val[0]), vget_low_f32(rows23.val[0])));
    to[1] = F32x4(vcombine_f32(vget_low_f32(rows01.val[1]), vget_low_f32(rows23.val[1])));
    to[2] = F32x4(vcombine_f32(vget_high_f32(rows01.val[0]), vget_high_f32(rows23.val[0])));
    to[3] = F32x4(vcombine_f32(vget_high_f32(rows01.val[1]), vget_high_f32(rows23.val[1])));
  }
  static int first_set(uint32x4_t found) {
    uint32_t lanes[width];
    vst1q_u32(lanes, found);
    for (int i = 0; i < width; i++) {
      if (lanes[i]) return i;
    }
    return -1;
  }
  static int first_equal(F32x4 a, float value) {
    const uint32x4_t found = vceqq_f32(a.v, vdupq_n_f32(value));
    return vmaxvq_u32(found) ? first_set(found) : -1;
  }
  static int first_nan(F32x4 a) {
    const uint32x4_t found = vmvnq_u32(vceqq_f32(a.v, a.v));
    return vmaxvq_u32(found) ? first_set(found) : -1;
  }
};

struct F64x2 {
  using Scalar = double;
  float64x2_t v;
  F64x2() = default;
  explicit F64x2(float64x2_t r) : v(r) {}
  explicit F64x2(double s) : v(vdupq_n_f64(s)) {}
};
SOFTMAX_FN F64x2 operator+(F64x2 a, F64x2 b) { return F64x2(vaddq_f64(a.v, b.v)); }
SOFTMAX_FN F64x2 operator-(F64x2 a, F64x2 b) { return F64x2(vsubq_f64(a.v, b.v)); }
SOFTMAX_FN F64x2 operator*(F64x2 a, F64x2 b) { return F64x2(vmulq_f64(a.v, b.v)); }
SOFTMAX_FN F64x2 operator/(F64x2 a, F64x2 b) { return F64x2(vdivq_f64(a.v, b.v)); }
SOFTMAX_FN F64x2 fma(F64x2 a, F64x2 b, F64x2 c) { return F64x2(vfmaq_f64(c.v, a.v, b.v)); }
SOFTMAX_FN F64x2 larger(F64x2 a, F64x2 b) { return F64x2(vbslq_f64(vcgtq_f64(a.v, b.v), a.v, b.v)); }
SOFTMAX_FN F64x2 lesser(F64x2 a, F64x2 b) { return F64x2(vbslq_f64(vcltq_f64(a.v, b.v), a.v, b.v)); }
SOFTMAX_FN F64x2 zero_where_less(F64x2 x, F64x2 bound, F64x2 value) {
  return F64x2(vreinterpretq_f64_u64(vbicq_u64(vreinterpretq_u64_f64(value.v), vcltq_f64(x.v, bound.v))));
}
SOFTMAX_FN F64x2 choose_where_less(F64x2 x, F64x2 bound, F64x2 a, F64x2 b) {
  return F64x2(vbslq_f64(vcltq_f64(x.v, bound.v), a.v, b.v));
}
SOFTMAX_FN F64x2 low_bits_as_exponent(F64x2 z) {
  return F64x2(vreinterpretq_f64_u64(vshlq_n_u64(vreinterpretq_u64_f64(z.v), 52)));
}

template <>
struct Lanes<F64x2> {
  static constexpr int width = 2;
  static constexpr int quad = 2;
  static constexpr bool can_stream = false;
  static F64x2 load(const double* p) { return F64x2(vld1q_f64(p)); }
  static F64x2 load_part(const double* p, int n, double fill) {
    return F64x2(vcombine_f64(n > 0 ? vld1_f64(p) : vdup_n_f64(fill), vdup_n_f64(fill)));
  }
  static void store(double* p, F64x2 a) { vst1q_f64(p, a.v); }
  static void store_part(double* p, int n, F64x2 a) {
    if (n > 0) *p = vgetq_lane_f64(a.v, 0);
  }
  static double fold_sum(F64x2 a) { return vgetq_lane_f64(a.v, 0) + vgetq_lane_f64(a.v, 1); }
  static double fold_max(F64x2 a) { return vmaxvq_f64(a.v); }
  static double fold_sum_of(F64x2 a, int) { return fold_sum(a); }
  static double fold_max_of(F64x2 a, int) { return fold_max(a); }
  static bool any_less(F64x2 a, F64x2 b) {
    return vgetq_lane_f64(a.v, 0) < vgetq_lane_f64(b.v, 0) || vgetq_lane_f64(a.v, 1) < vgetq_lane_f64(b.v, 1);
  }
  static void stream(double* p, F64x2 a) { store(p, a); }
  static void fence() {}
  static void load_quads(const double* p, int64_t stride, F64x2* v) {
    const float64x2_t row0 = vld1q_f64(p), row1 = vld1q_f64(p + stride);
    v[0] = F64x2(vzip1q_f64(row0, row1));
    v[1] = F64x2(vzip2q_f64(row0, row1));
  }
  static void store_quads(double* p, int64_t stride, const F64x2* v) {
    vst1q_f64(p, vzip1q_f64(v[0].v, v[1].v));
    vst1q_f64(p + stride, vzip2q_f64(v[0].v, v[1].v));
  }
  static int first_equal(F64x2 a, double value) {
    return vgetq_lane_f64(a.v, 0) == value ? 0 : vgetq_lane_f64(a.v, 1) == value ? 1 : -1;
  }
  static int first_nan(F64x2 a) {
    const double low = vgetq_lane_f64(a.v, 0), high = vgetq_lane_f64(a.v, 1);
    return low != low ? 0 : high != high ? 1 : -1;
  }
};

}  // namespace
}  // namespace softmax_native
