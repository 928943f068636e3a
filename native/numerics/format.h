// Constants of the two floating-point formats: everything that differs between float32 and float64.
#pragma once

#include "scalar.h"

namespace softmax_native {
namespace {

// The version of the arithmetic: raised with every change of a coefficient, of the order of a sum or of a special
// value, which changes bits of results.
constexpr int kContractVersion = 1;

template <class T>
struct Format;

template <>
struct Format<float> {
  static constexpr float magic = 0x1.8p23f;  // z + magic rounds z to an integer
  static constexpr int exponent_bias = 127;
  static constexpr float min_normal = 0x1p-126f;
  static constexpr int min_exponent = -126;
  static constexpr uint32_t canonical_nan_bits = 0x7fc00000u;

  static constexpr float log2_e = 0x1.715476p+0f;
  static constexpr float ln2 = 0x1.62e430p-1f;
  static constexpr float ln2_rest = -0x1.05c610p-29f;  // ln 2 - ln2, to 2^-53

  // q(t) = (e^t - 1 - t - t^2 / 2) / t^2 for |t| <= 0.3476, by Remez exchange on the relative error of e^t, each
  // coefficient rounded before the next was fitted: 2^-28.1.
  static constexpr int degree = 4;
  SOFTMAX_FN static float q(int i) {
    constexpr float coefficient[] = {-0x1p-24f, 0x1.555488p-3f, 0x1.555842p-5f, 0x1.1240dep-7f, 0x1.6ae7fcp-10f};
    return coefficient[i];
  }

  // Exponentials are held times 2^scale, and are 0 below 2^-cutoff of the chunk's reference. The cutoff lies so
  // low that 2^31 dropped terms cannot make a normal number (126 + 31 + the 23 bits of a result); the scale keeps
  // the second halves of the smallest kept terms out of the subnormal range, and 2^31 terms out of overflow.
  static constexpr int scale = 90;
  static constexpr int cutoff = 180;
  static constexpr int ordinary_range = 60;  // 2^-60 over the sum of 2^31 terms is well above 2^-126
  static constexpr float scale_up = 0x1p90f;
  static constexpr float scale_down = 0x1p-90f;

  // Adding and subtracting this rounds a scaled term to a multiple of 2^(scale - 11): a chunk's 1024 terms, each
  // below sqrt 2 times 2^scale, then add up without rounding.
  static constexpr float grid = 0x1.8p102f;

  // A part of a result that cannot be seen in it.
  static constexpr float negligible = 0x1p-40f;
};

template <>
struct Format<double> {
  static constexpr double magic = 0x1.8p52;
  static constexpr int exponent_bias = 1023;
  static constexpr double min_normal = 0x1p-1022;
  static constexpr int min_exponent = -1022;
  static constexpr uint64_t canonical_nan_bits = 0x7ff8000000000000u;

  static constexpr double log2_e = 0x1.71547652b82fep+0;
  static constexpr double ln2 = 0x1.62e42fefa39efp-1;
  static constexpr double ln2_rest = 0x1.abc9e3b39803fp-56;  // to 2^-110

  // As above, for |t| <= 0.34658: 2^-63.4.
  static constexpr int degree = 10;
  SOFTMAX_FN static double q(int i) {
    constexpr double coefficient[] = {0.0,
                                      0x1.555555555555dp-3,
                                      0x1.555555555556cp-5,
                                      0x1.111111110e54bp-7,
                                      0x1.6c16c16c0a45fp-10,
                                      0x1.a01a01b5f3813p-13,
                                      0x1.a01a01e88df9dp-16,
                                      0x1.71ddeaafdce01p-19,
                                      0x1.27e44ab70ebacp-22,
                                      0x1.af7442c10099fp-26,
                                      0x1.205052f08d8d0p-29};
    return coefficient[i];
  }

  static constexpr int scale = 600;
  static constexpr int cutoff = 1110;
  static constexpr int ordinary_range = 900;
  static constexpr double scale_up = 0x1p600;
  static constexpr double scale_down = 0x1p-600;
  static constexpr double grid = 0x1.8p612;
  static constexpr double negligible = 0x1p-80;
};

// Columns of a row that are added up under one reference, and the lanes they are dealt to (see sum.h).
constexpr int kChunk = 1024;
constexpr int kLanes = 256;

// Rows whose maximum reaches this magnitude are shifted by it first (see ops/softmax.h). In every row as then summed
// the maximum is above -2^16, so that a logit below -2^17 adds nothing: no chunk takes a lower one as its reference.
constexpr double kShiftFrom = 0x1p16;
constexpr double kLowestReference = -0x1p17;

template <class T>
SOFTMAX_FN T infinity();
template <>
SOFTMAX_FN float infinity<float>() {
  FloatBits u;
  u.bits = 0x7f800000u;
  return u.value;
}
template <>
SOFTMAX_FN double infinity<double>() {
  DoubleBits u;
  u.bits = 0x7ff0000000000000u;
  return u.value;
}

// The one NaN this library writes.
template <class T>
SOFTMAX_FN T canonical_nan();
template <>
SOFTMAX_FN float canonical_nan<float>() {
  FloatBits u;
  u.bits = Format<float>::canonical_nan_bits;
  return u.value;
}
template <>
SOFTMAX_FN double canonical_nan<double>() {
  DoubleBits u;
  u.bits = Format<double>::canonical_nan_bits;
  return u.value;
}

}  // namespace
}  // namespace softmax_native
