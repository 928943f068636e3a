// What the kernels share.
#pragma once

#include "../numerics/sum.h"
#include "kernels.h"

namespace softmax_native {
namespace {

using cpu::PartialSum;

static_assert(kChunk == cpu::kColumnsPerChunk);

// Rows up to this length keep their exponentials on the stack: three times as many bytes, which every thread's has.
template <class T>
constexpr int kKeptOnStack = 8192 / sizeof(T);

// After the parameters of a lambda that is called in more than one loop: GCC would make a function of it.
#define SOFTMAX_INLINED __attribute__((always_inline))

template <class T>
inline T negative_infinity() {
  return -infinity<T>();
}

template <class T>
inline bool is_finite(T v) {
  return v - v == T(0);
}

inline int64_t smaller(int64_t a, int64_t b) { return a < b ? a : b; }

template <class T>
inline void fill(T* y, int64_t n, T value) {
  for (int64_t i = 0; i < n; i++) y[i] = value;
}

template <class V, class T>
inline V load_up_to(const T* p, int64_t n, T rest) {
  return n >= Lanes<V>::width ? Lanes<V>::load(p) : Lanes<V>::load_part(p, static_cast<int>(n), rest);
}

template <class V, class T>
inline void store_up_to(T* p, int64_t n, V v) {
  if (n >= Lanes<V>::width) {
    Lanes<V>::store(p, v);
  } else {
    Lanes<V>::store_part(p, static_cast<int>(n), v);
  }
}

}  // namespace
}  // namespace softmax_native
