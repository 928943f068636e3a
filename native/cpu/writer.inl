// Results that are written past the caches.
//
// Such a (non-temporal) store does not read the line of memory that it replaces, but is worth it for whole lines only.
// Rows and Jacobians begin and end anywhere in a line: so kernels make pieces of them in a buffer, and what does not
// fill a register waits for the next piece.
#pragma once

#include "common.inl"

namespace softmax_native {
namespace {

template <class V, class T = Scalar<V>>
class Writer {
 public:
  explicit Writer(T* to) {
    const uintptr_t offset = reinterpret_cast<uintptr_t>(to) % (W * sizeof(T));
    filled_ = first_ = static_cast<int>(offset / sizeof(T));
    to_ = to - filled_;
  }
  Writer(const Writer&) = delete;
  Writer& operator=(const Writer&) = delete;

  ~Writer() {
    for (int i = first_; i < filled_; i++) to_[i] = held_[i];
    Lanes<V>::fence();
  }

  // Appends n values. The buffer they come from has room for a register after them, whose contents do not matter.
  void write(const T* from, int64_t n) {
    int64_t i = 0;
    if (filled_ > 0) {
      i = smaller(W - filled_, n);
      Lanes<V>::store(held_ + filled_, Lanes<V>::load(from));
      filled_ += static_cast<int>(i);
      if (filled_ < W) return;
      put_held();
    }
    for (; i + W <= n; i += W, to_ += W) Lanes<V>::stream(to_, Lanes<V>::load(from + i));
    filled_ = static_cast<int>(n - i);
    if (filled_ > 0) Lanes<V>::store(held_, Lanes<V>::load(from + i));
  }

 private:
  static constexpr int W = Lanes<V>::width;

  void put_held() {
    if (first_ > 0) {
      for (int i = first_; i < W; i++) to_[i] = held_[i];
      first_ = 0;
    } else {
      Lanes<V>::stream(to_, Lanes<V>::load(held_));
    }
    to_ += W;
  }

  alignas(64) T held_[2 * W];
  T* to_;      // aligned to a register; the values held_[first_] to held_[filled_ - 1] go to the same places from here
  int first_;  // above 0 only before the first whole register
  int filled_;
};

// In the place of a writer: results go to where they belong.
template <class V>
constexpr Writer<V>* kDirectly = nullptr;

}  // namespace
}  // namespace softmax_native
