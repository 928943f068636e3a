// Copies between global memory and a block's shared memory, in vectors of 16 bytes wherever both sides allow it.
#pragma once

#include "device.cuh"

namespace softmax_native::cuda {

// Elements by which a place in memory comes after a multiple of 16 bytes.
template <class T>
__device__ __forceinline__ int past_vector(const T* p) {
  return static_cast<int>(reinterpret_cast<uintptr_t>(p) % 16 / sizeof(T));
}

// Where element e of a span lies in shared memory. Lanes that read rows of a multiple of 32 banks would all meet in a
// few; mixed, the vectors at one place of 8 adjacent lines of 128 bytes are in different banks.
template <class T>
__device__ __forceinline__ int place_of(int e, bool mixed) {
  constexpr unsigned vectors = 7 * kVector<T>;  // which of 8, in elements
  return static_cast<int>(static_cast<unsigned>(e) ^ (static_cast<unsigned>(e) / 8 & (mixed ? vectors : 0)));
}

// Adjacent elements, counted from a multiple of 16 bytes: the first is number `first`.
struct Span {
  int first;
  int end;

  // Calls vector(e) for whole vectors and single(e) for what is left at both ends, by all threads of a block.
  template <class T, class Vectors, class Single>
  __device__ __forceinline__ void for_each(bool in_vectors, Vectors vector, Single single) const {
    constexpr int V = kVector<T>;
    const int thread = static_cast<int>(threadIdx.x), threads = static_cast<int>(blockDim.x);
    if (!in_vectors) {
#pragma unroll 4
      for (int e = first + thread; e < end; e += threads) single(e);
      return;
    }
    const int begin = (first + V - 1) / V * V;
#pragma unroll 2
    for (int e = begin + thread * V; e + V <= end; e += threads * V) vector(e);
    if (thread >= V) return;
    if (first + thread < smaller(begin, end)) single(first + thread);
    const int rest = larger_of(begin, end / V * V) + thread;
    if (rest < end) single(rest);
  }

 private:
  __device__ __forceinline__ static int larger_of(int a, int b) { return a > b ? a : b; }
};

// Starts to copy a span into shared memory. `x` and `memory` are its element 0, which may lie before the array.
template <class T>
__device__ __forceinline__ void start_copy_of_span(const T* x, T* memory, Span span, bool mixed) {
  using Elements = Vector<T, kVector<T>>;
  span.for_each<T>(
      true,
      [&](int e) {
        start_copy(reinterpret_cast<Elements*>(memory + place_of<T>(e, mixed)),
                   reinterpret_cast<const Elements*>(x + e));
      },
      [&](int e) { start_copy(memory + place_of<T>(e, mixed), x + e); });
  end_group_of_copies();
}

// Writes a span. `y` is where its element `first` goes; in vectors if that lies as far past a multiple of 16 bytes.
template <class T>
__device__ __forceinline__ void store_span(T* y, const T* memory, Span span, bool mixed) {
  using Elements = Vector<T, kVector<T>>;
  y -= span.first;
  span.for_each<T>(
      past_vector(y) == 0,
      [&](int e) {
        *reinterpret_cast<Elements*>(y + e) = *reinterpret_cast<const Elements*>(memory + place_of<T>(e, mixed));
      },
      [&](int e) { y[e] = memory[place_of<T>(e, mixed)]; });
}

// `count` lines of `width` elements, `step` apart in global memory and `stride` in shared memory.
struct Lines {
  int count;
  int width;
  int64_t step;
  int stride;

  // Calls use(offset, place) for all vectors of V elements, by all threads of a block.
  template <int V, class Use>
  __device__ __forceinline__ void for_each(Use use) const {
    const unsigned of_line = static_cast<unsigned>(width) / V;
    unsigned line = threadIdx.x / of_line, vector = threadIdx.x % of_line;
    const unsigned lines = blockDim.x / of_line, vectors = blockDim.x % of_line;
#pragma unroll 4
    while (line < static_cast<unsigned>(count)) {
      use(line * step + vector * V, static_cast<int>(line) * stride + static_cast<int>(vector) * V);
      line += lines;
      vector += vectors;
      if (vector >= of_line) {
        vector -= of_line;
        line++;
      }
    }
  }

  template <class T>
  __device__ __forceinline__ bool in_vectors(const T* p) const {
    constexpr int V = kVector<T>;
    return past_vector(p) == 0 && width % V == 0 && step % V == 0 && stride % V == 0;
  }
};

template <class T>
__device__ __forceinline__ void start_copy_of_lines(const T* x, T* memory, Lines lines) {
  using Elements = Vector<T, kVector<T>>;
  if (lines.in_vectors(x)) {
    lines.for_each<kVector<T>>([&](int64_t offset, int place) {
      start_copy(reinterpret_cast<Elements*>(memory + place), reinterpret_cast<const Elements*>(x + offset));
    });
  } else {
    lines.for_each<1>([&](int64_t offset, int place) { start_copy(memory + place, x + offset); });
  }
  end_group_of_copies();
}

template <class T>
__device__ __forceinline__ void store_lines(T* y, const T* memory, Lines lines) {
  using Elements = Vector<T, kVector<T>>;
  if (lines.in_vectors(y)) {
    lines.for_each<kVector<T>>([&](int64_t offset, int place) {
      *reinterpret_cast<Elements*>(y + offset) = *reinterpret_cast<const Elements*>(memory + place);
    });
  } else {
    lines.for_each<1>([&](int64_t offset, int place) { y[offset] = memory[place]; });
  }
}

}  // namespace softmax_native::cuda
