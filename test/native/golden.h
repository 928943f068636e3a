// What the golden hashes are taken of: inputs made from integers by exact arithmetic, and hashes that do not depend on
// the order in which they are gathered. Host and device code.
#pragma once

#include "row_reference.h"

namespace softmax_native {
namespace {

SOFTMAX_FN uint64_t bits_of(float v) {
  FloatBits u;
  u.value = v;
  return u.bits;
}
SOFTMAX_FN uint64_t bits_of(double v) {
  DoubleBits u;
  u.value = v;
  return u.bits;
}

// SplitMix64's output function.
SOFTMAX_FN uint64_t mix(uint64_t z) {
  z += 0x9e3779b97f4a7c15u;
  z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
  z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
  return z ^ (z >> 31);
}

template <class T>
SOFTMAX_FN uint64_t hash_at(uint64_t index, T value) {
  return bits_of(value) * (2 * index + 1);
}

// A number of magnitude below 2^magnitude, exact in float32.
template <class T>
SOFTMAX_FN T golden_input(uint64_t seed, uint64_t index, int magnitude) {
  const int32_t whole = static_cast<int32_t>(mix(seed + index) >> 40) - (1 << 23);
  return T(whole) * power_of_two(T(magnitude - 23));
}

constexpr uint64_t kGoldenExponentials = 1 << 20;

// The scaled exponential of input `index`, under its own reference and under one 64 above it.
template <class T>
SOFTMAX_FN uint64_t golden_exponential(uint64_t index) {
  const T x = golden_input<T>(1, index, static_cast<int>(index % 21) - 4);
  uint64_t hash = 0;
  for (int above = 0; above < 2; above++) {
    const Pair<T> term = exp_scaled(x, exp_reference(exponent_of(x) + T(64 * above)));
    hash += hash_at(4 * index + 2 * above, term.head) + hash_at(4 * index + 2 * above + 1, term.tail);
  }
  return hash;
}

constexpr int kGoldenRows = 64;
constexpr int kLongestGoldenRow = 5000;

SOFTMAX_FN int64_t golden_row_length(int row) {
  return row < 32 ? row + 1 : static_cast<int64_t>(mix(row) % (kLongestGoldenRow - 32)) + 33;
}

// The magnitude of the logits grows with the row's number, up to rows that are shifted by their maximum.
template <class T>
SOFTMAX_FN void golden_row(int row, T* x) {
  const int64_t k = golden_row_length(row);
  for (int64_t j = 0; j < k; j++) x[j] = golden_input<T>(uint64_t(row) << 32, j, row % 19);
}

template <class T>
SOFTMAX_FN uint64_t hash_row(const T* y, int64_t k) {
  uint64_t hash = 0;
  for (int64_t j = 0; j < k; j++) hash += hash_at(j, y[j]);
  return hash;
}

template <class T>
SOFTMAX_FN uint64_t golden_softmax(int row, T* x, T* y) {
  golden_row(row, x);
  softmax_row_reference(x, y, golden_row_length(row));
  return hash_row(y, golden_row_length(row)) * (2 * row + 1);
}

}  // namespace
}  // namespace softmax_native
