// Results that are written past the caches.
//
// Such a (non-temporal) store does not read the line of memory that it replaces, but is worth it for whole lines only.
// Rows and Jacobians begin and end anywhere in a line: what does not fill a register waits for the values after it.
//
// The stores after it in a program wait for such a store, and memory takes longer for a line than a kernel does for a
// register of exponentials. So results may also be handed over as a whole, and are then written one register at a time
// while the next ones are computed.
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
    finish();
    for (int i = first_; i < filled_; i++) to_[i] = held_[i];
    Lanes<V>::fence();
  }

  // Appends n values: make(i) gives a register of them from number i on, of which those after the last do not matter.
  template <class Make>
  SOFTMAX_FN void append(int64_t n, Make make) {
    finish();
    int64_t i = fill_held(make(0), n);
    for (; i + W <= n; i += W, to_ += W) Lanes<V>::stream(to_, make(i));
    if (i < n) hold(make(i), n - i);
  }

  // Appends n values that stay where they are, with room for a register after them, until finish(). Each step() before
  // that writes a register of them.
  void append_later(const T* from, int64_t n) {
    finish();
    waiting_ = from + fill_held(Lanes<V>::load(from), n);
    end_ = from + n;
  }

  SOFTMAX_FN void step() {
    if (end_ - waiting_ < W) return;
    Lanes<V>::stream(to_, Lanes<V>::load(waiting_));
    waiting_ += W;
    to_ += W;
  }

  void finish() {
    for (; end_ - waiting_ >= W; waiting_ += W, to_ += W) Lanes<V>::stream(to_, Lanes<V>::load(waiting_));
    if (waiting_ < end_) hold(Lanes<V>::load(waiting_), end_ - waiting_);
    waiting_ = end_ = nullptr;
  }

 private:
  static constexpr int W = Lanes<V>::width;

  // Fills up the register that is held, where there is one, from the first of n values. How many it took.
  int64_t fill_held(V values, int64_t n) {
    if (filled_ == 0) return 0;
    const int64_t taken = smaller(W - filled_, n);
    Lanes<V>::store(held_ + filled_, values);
    filled_ += static_cast<int>(taken);
    if (filled_ < W) return taken;
    if (first_ > 0) {
      for (int i = first_; i < W; i++) to_[i] = held_[i];
      first_ = 0;
    } else {
      Lanes<V>::stream(to_, Lanes<V>::load(held_));
    }
    to_ += W;
    filled_ = 0;
    return taken;
  }

  // Called where nothing is held.
  void hold(V values, int64_t n) {
    Lanes<V>::store(held_, values);
    filled_ = static_cast<int>(n);
  }

  alignas(64) T held_[2 * W];
  T* to_;      // aligned to a register; the values held_[first_] to held_[filled_ - 1] go to the same places from here
  int first_;  // above 0 only before the first whole register
  int filled_;
  const T* waiting_ = nullptr;
  const T* end_ = nullptr;
};

// In the place of a writer: results go to where they belong.
template <class V>
constexpr Writer<V>* kDirectly = nullptr;

}  // namespace
}  // namespace softmax_native
