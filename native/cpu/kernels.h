// The kernels one instruction set provides, as a table of functions. kernels.inl writes them once over a vector type;
// each kernels_*.cpp compiles them for one instruction set.
#pragma once

#include <cstdint>

namespace softmax_native::cpu {

// A chunk of a long row, or all of one: its largest and smallest logit, and the sum of exponentials as (head + tail) *
// 2^(exponent - scale) after `shift` has been subtracted from every logit (numerics/sum.h).
template <class T>
struct PartialSum {
  T max;
  T min;
  T exponent;
  T head;
  T tail;
};

// `memory` is a kernel's own, as many elements as the function that stands beside the kernel says, and `past_caches`
// tells it to write its results there, where the schedule expects that to be quicker.
template <class T>
struct Kernels {
  // Softmax of `rows` contiguous rows of k logits. Without memory it takes longer.
  void (*softmax_rows)(const T* x, T* y, int64_t rows, int64_t k, T* memory, bool past_caches);
  int64_t (*rows_memory)(int64_t k);

  // Softmax of `columns` adjacent columns of k logits; logit j of column i lies at j * stride + i.
  void (*softmax_columns)(const T* x, T* y, int64_t k, int64_t stride, int64_t columns, T* memory, bool past_caches);
  // Softmax of the rows [first, last) of an (outer, k, inner) array; row o * inner + i is that of (o, i).
  void (*softmax_scattered)(const T* x, T* y, int64_t k, int64_t inner, int64_t first, int64_t last, T* memory);
  int64_t (*columns_memory)(int64_t k);

  // A long row in pieces: the partial sums of chunks [first, last), one entry each; their merged sum (which needs all
  // of the row's chunks); what must be subtracted from the row's logits given its maximum; and the probabilities of
  // the columns [first, last). Where the shift is not 0, the sums are taken again with it.
  void (*chunk_sums)(const T* x, int64_t k, T shift, int64_t first, int64_t last, PartialSum<T>* sums);
  PartialSum<T> (*merge_chunks)(const PartialSum<T>* sums, int64_t chunks);
  T (*row_shift)(T row_max);
  void (*probabilities)(const T* x, T* y, T shift, PartialSum<T> sum, int64_t first, int64_t last, bool past_caches);

  // The maxima of contiguous rows, or of columns, and their first indices, NaN above all; index -1 for an empty one.
  void (*row_max)(const T* x, int64_t rows, int64_t k, T* max, int32_t* argmax);
  void (*column_max)(const T* x, int64_t k, int64_t stride, int64_t columns, T* max, int32_t* argmax);

  // The Jacobians of contiguous rows.
  void (*jacobian_rows)(const T* x, T* jacobian, int64_t rows, int64_t k, T* memory, bool past_caches);
  int64_t (*jacobian_memory)(int64_t k);
  // One Jacobian in pieces: its diagonal from the row's logits and probabilities, and its lines [first, last), for which
  // a register is read after the probabilities (that of a row is best followed by the next row's, or by zeros).
  void (*jacobian_diagonal)(const T* x, const T* p, int64_t k, T* diagonal);
  void (*jacobian_lines)(const T* p, const T* diagonal, int64_t k, int64_t first, int64_t last, T* jacobian,
                         bool past_caches);
};

struct KernelTable {
  const char* isa;
  double slower_than_avx512;  // how many times, on data in the cache
  const Kernels<float>* f32;
  const Kernels<double>* f64;
};

extern const KernelTable kScalarKernels;
#if defined(__x86_64__)
extern const KernelTable kAvx2Kernels;
extern const KernelTable kAvx512Kernels;
#elif defined(__aarch64__)
extern const KernelTable kNeonKernels;
#endif

// Rows up to this length are worked on side by side, one in each lane: their exponentials then fill the level-1 cache.
template <class T>
constexpr int kShortRow = 512 / sizeof(T);

constexpr int64_t kColumnsPerChunk = 1024;  // kChunk of numerics/format.h, which the schedule does not include

}  // namespace softmax_native::cpu
