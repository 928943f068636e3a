// Who works on which rows: the public functions of the CPU back end. No arithmetic here, and nothing here changes a bit
// of a result.
#include <atomic>
#include <cstdlib>

#include "cpu.h"
#include "dispatch.h"
#include "parallel.h"

namespace softmax_native::cpu {
namespace {

// Work worth waking one more thread for. To wake a sleeping thread and wait for it takes 5 to 20 microseconds on bare
// metal and 70 on a virtual machine (bench/sizes.mjs: 1 x 65,536 took 48 microseconds on one thread, 114 on two).
std::atomic<int64_t> work_per_thread{70'000};  // nanoseconds

// What the operations take on one thread, in picoseconds for each byte of the result (bench/sizes.mjs, AVX-512).
constexpr int64_t kSoftmaxCost = 150;
constexpr int64_t kMaxCost = 30;
constexpr int64_t kJacobianCost = 45;

// Logits of a Jacobian's rows whose probabilities are held at a time for each thread: they stay in its cache.
constexpr int64_t kJacobianBlock = 16384;

// Columns of an inner axis that one thread takes together: a multiple of every vector width and of a cache line.
constexpr int64_t kColumnBlock = 64;

template <class T>
const Kernels<T>& kernels();
template <>
const Kernels<float>& kernels<float>() {
  return *chosen_kernels()->f32;
}
template <>
const Kernels<double>& kernels<double>() {
  return *chosen_kernels()->f64;
}

int64_t smaller(int64_t a, int64_t b) { return a < b ? a : b; }

template <class T>
int worthwhile_threads(int64_t elements, int64_t cost, int threads) {
  const double nanoseconds = static_cast<double>(elements) * sizeof(T) * static_cast<double>(cost) / 1000;
  const double for_all = static_cast<double>(threads) * static_cast<double>(work_per_thread);
  if (nanoseconds >= for_all) return threads;
  return nanoseconds < 2.0 * work_per_thread ? 1 : static_cast<int>(nanoseconds / work_per_thread);
}

// Memory for `count` values of T, freed at the end of the scope; empty when there is none to be had.
template <class T>
struct Scratch {
  explicit Scratch(int64_t count) : data(static_cast<T*>(std::malloc(static_cast<size_t>(count) * sizeof(T)))) {}
  ~Scratch() { std::free(data); }
  Scratch(const Scratch&) = delete;
  Scratch& operator=(const Scratch&) = delete;
  T* data;
};

// One long row, its chunks spread over the threads.
template <class T>
Status softmax_split_row(const T* x, T* y, int64_t k, int threads) {
  const Kernels<T>& kernel = kernels<T>();
  const int64_t chunks = (k + kColumnsPerChunk - 1) / kColumnsPerChunk;
  Scratch<PartialSum<T>> sums(chunks);
  if (!sums.data) return Status::out_of_memory;
  T shift = 0;
  PartialSum<T> total;
  for (;;) {
    parallel_for(chunks, threads,
                 [&](int64_t begin, int64_t end) { kernel.chunk_sums(x, k, shift, begin, end, sums.data); });
    total = kernel.merge_chunks(sums.data, chunks);
    if (total.max - total.max != 0) break;  // an infinite maximum: the row is NaN whatever the shift
    const T needed = kernel.row_shift(total.max);
    if (needed == shift) break;
    shift = needed;
  }
  parallel_for(chunks, threads, [&](int64_t begin, int64_t end) {
    kernel.probabilities(x, y, shift, total, begin * kColumnsPerChunk, smaller(end * kColumnsPerChunk, k));
  });
  return Status::ok;
}

template <class T>
Status softmax_rows(const T* x, T* y, int64_t rows, int64_t k, int threads) {
  if (rows < threads && k > kColumnsPerChunk) {
    for (int64_t row = 0; row < rows; row++) {
      const Status status = softmax_split_row(x + row * k, y + row * k, k, threads);
      if (status != Status::ok) return status;
    }
    return Status::ok;
  }
  parallel_for(rows, threads, [&](int64_t begin, int64_t end) {
    kernels<T>().softmax_rows(x + begin * k, y + begin * k, end - begin, k);
  });
  return Status::ok;
}

// Calls work(outer, first, count) for blocks of at most kColumnBlock columns that cover all of `outer` x `inner`.
template <class Work>
void for_column_blocks(Layout layout, int threads, Work work) {
  const int64_t blocks = (layout.inner + kColumnBlock - 1) / kColumnBlock;
  parallel_for(layout.outer * blocks, threads, [&](int64_t begin, int64_t end) {
    for (int64_t item = begin; item < end; item++) {
      const int64_t first = item % blocks * kColumnBlock;
      work(item / blocks, first, smaller(kColumnBlock, layout.inner - first));
    }
  });
}

}  // namespace

void set_work_per_thread(int64_t nanoseconds) { work_per_thread = nanoseconds; }

template <class T>
Status softmax(const T* x, T* y, Layout layout, int threads) {
  const auto [outer, k, inner] = layout;
  if (outer == 0 || k == 0 || inner == 0) return Status::ok;
  const int used = worthwhile_threads<T>(outer * k * inner, kSoftmaxCost, threads);
  if (inner == 1) return softmax_rows(x, y, outer, k, used);
  for_column_blocks(layout, used, [&](int64_t o, int64_t first, int64_t count) {
    const int64_t offset = o * layout.k * layout.inner + first;
    kernels<T>().softmax_columns(x + offset, y + offset, layout.k, layout.inner, count);
  });
  return Status::ok;
}

template <class T>
Status row_max(const T* x, T* max, int32_t* argmax, Layout layout, int threads) {
  const Kernels<T>& kernel = kernels<T>();
  const int64_t k = layout.k;
  const int used = worthwhile_threads<T>(layout.outer * k * layout.inner, kMaxCost, threads);
  if (layout.inner == 1) {
    parallel_for(layout.outer, used, [&](int64_t begin, int64_t end) {
      for (int64_t row = begin; row < end; row++) {
        kernel.row_max(x + row * k, k, max + row, argmax ? argmax + row : nullptr);
      }
    });
    return Status::ok;
  }
  for_column_blocks(layout, used, [&](int64_t o, int64_t first, int64_t count) {
    const int64_t result = o * layout.inner + first;
    kernel.column_max(x + o * k * layout.inner + first, k, layout.inner, count, max + result,
                      argmax ? argmax + result : nullptr);
  });
  return Status::ok;
}

template <class T>
Status softmax_jacobian(const T* x, T* jacobian, int64_t rows, int64_t k, int threads) {
  if (rows == 0 || k == 0) return Status::ok;
  const Kernels<T>& kernel = kernels<T>();
  const int used = worthwhile_threads<T>(rows * k * k, kJacobianCost, threads);
  const int64_t block = smaller(rows, (kJacobianBlock * used + k - 1) / k);
  Scratch<T> probabilities(block * k), diagonals(block * k);
  if (!probabilities.data || !diagonals.data) return Status::out_of_memory;
  for (int64_t first = 0; first < rows; first += block) {
    const int64_t n = smaller(block, rows - first);
    const T* logits = x + first * k;
    T* block_jacobian = jacobian + first * k * k;
    if (used > 1 && n < used) {
      // Few long rows: their lines are spread over the threads.
      const Status status = softmax_rows(logits, probabilities.data, n, k, used);
      if (status != Status::ok) return status;
      for (int64_t row = 0; row < n; row++) {
        T* p = probabilities.data + row * k;
        T* diagonal = diagonals.data + row * k;
        kernel.jacobian_diagonal(logits + row * k, p, k, diagonal);
        parallel_for(k, used, [&](int64_t begin, int64_t end) {
          kernel.jacobian_lines(p, diagonal, k, begin, end, block_jacobian + row * k * k);
        });
      }
      continue;
    }
    parallel_for(n, used, [&](int64_t begin, int64_t end) {
      kernel.softmax_rows(logits + begin * k, probabilities.data + begin * k, end - begin, k);
      for (int64_t row = begin; row < end; row++) {
        const T* p = probabilities.data + row * k;
        T* diagonal = diagonals.data + row * k;
        kernel.jacobian_diagonal(logits + row * k, p, k, diagonal);
        kernel.jacobian_lines(p, diagonal, k, 0, k, block_jacobian + row * k * k);
      }
    });
  }
  return Status::ok;
}

template Status softmax(const float*, float*, Layout, int);
template Status softmax(const double*, double*, Layout, int);
template Status row_max(const float*, float*, int32_t*, Layout, int);
template Status row_max(const double*, double*, int32_t*, Layout, int);
template Status softmax_jacobian(const float*, float*, int64_t, int64_t, int);
template Status softmax_jacobian(const double*, double*, int64_t, int64_t, int);

}  // namespace softmax_native::cpu
