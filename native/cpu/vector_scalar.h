// Vectors of width 1: float and double themselves. Runs on every processor; where there is no fma instruction the C
// library computes it.
#pragma once

#include "../numerics/scalar.h"
#include "lanes.h"

namespace softmax_native {
namespace {

template <class T>
struct ScalarLanes {
  static constexpr int width = 1;
  static constexpr int quad = 1;
  static constexpr bool can_stream = false;
  static T load(const T* p) { return *p; }
  static T load_part(const T*, int, T fill) { return fill; }
  static void store(T* p, T v) { *p = v; }
  static void store_part(T*, int, T) {}
  static T fold_sum(T v) { return v; }
  static T fold_max(T v) { return v; }
  static T fold_sum_of(T v, int) { return v; }
  static T fold_max_of(T v, int) { return v; }
  static bool any_less(T a, T b) { return a < b; }
  static void stream(T* p, T v) { *p = v; }
  static void fence() {}
  static void load_quads(const T* p, int64_t, T* v) { *v = *p; }
  static void store_quads(T* p, int64_t, const T* v) { *p = *v; }
  static int first_equal(T v, T value) { return v == value ? 0 : -1; }
  static int first_nan(T v) { return v != v ? 0 : -1; }
};

template <>
struct Lanes<float> : ScalarLanes<float> {};
template <>
struct Lanes<double> : ScalarLanes<double> {};

}  // namespace
}  // namespace softmax_native
