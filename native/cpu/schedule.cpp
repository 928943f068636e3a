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

// What an operation takes on one thread with AVX-512, in picoseconds (bench/sizes.mjs): for each row, and for each byte
// of the logits, or of the Jacobian.
struct Cost {
  double row;
  double byte;
};
constexpr Cost kSoftmaxOfRows = {30'000, 150};
constexpr Cost kSoftmaxOfColumns = {5'000, 300};  // and of short rows, which are turned into columns
constexpr Cost kMaxOfRows = {8'000, 30};
constexpr Cost kMaxOfColumns = {1'000, 250};
constexpr Cost kJacobian = {60'000, 45};

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

int64_t chunks_of(int64_t k) { return (k + kColumnsPerChunk - 1) / kColumnsPerChunk; }

// How many of `threads` are worth waking for rows that hold, or make, `elements` of T.
template <class T>
int worthwhile_threads(Cost cost, int64_t rows, int64_t elements, int threads) {
  const double picoseconds =
      cost.row * static_cast<double>(rows) + cost.byte * sizeof(T) * static_cast<double>(elements);
  const double nanoseconds = picoseconds / 1000 * chosen_kernels()->slower_than_avx512;
  const double for_one_more = static_cast<double>(work_per_thread);
  if (nanoseconds >= for_one_more * threads) return threads;
  return nanoseconds < 2 * for_one_more ? 1 : static_cast<int>(nanoseconds / for_one_more);
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

// Calls work(row, first, last) for pieces of rows that cover all of `rows` x `length`, spread evenly over the threads.
template <class Work>
void for_pieces_of_rows(int64_t rows, int64_t length, int threads, Work work) {
  parallel_for(rows * length, threads, [&](int64_t begin, int64_t end) {
    while (begin < end) {
      const int64_t row = begin / length;
      const int64_t row_end = smaller(end, (row + 1) * length);
      work(row, begin - row * length, row_end - row * length);
      begin = row_end;
    }
  });
}

// A few long rows: the chunks of all of them are spread over the threads.
template <class T>
Status softmax_long_rows(const T* x, T* y, int64_t rows, int64_t k, int threads) {
  const Kernels<T>& kernel = kernels<T>();
  const int64_t chunks = chunks_of(k);
  Scratch<PartialSum<T>> sums(rows * chunks);
  Scratch<PartialSum<T>> totals(rows);
  Scratch<T> shifts(rows);
  if (!sums.data || !totals.data || !shifts.data) return Status::out_of_memory;

  for_pieces_of_rows(rows, chunks, threads, [&](int64_t row, int64_t first, int64_t last) {
    kernel.chunk_sums(x + row * k, k, T(0), first, last, sums.data + row * chunks);
  });
  for (int64_t row = 0; row < rows; row++) {
    PartialSum<T>* row_sums = sums.data + row * chunks;
    totals.data[row] = kernel.merge_chunks(row_sums, chunks);
    const T max = totals.data[row].max;
    // A row with an infinite maximum is NaN whatever its shift.
    shifts.data[row] = max - max == 0 ? kernel.row_shift(max) : T(0);
    if (shifts.data[row] == 0) continue;
    parallel_for(chunks, threads, [&](int64_t first, int64_t last) {
      kernel.chunk_sums(x + row * k, k, shifts.data[row], first, last, row_sums);
    });
    totals.data[row] = kernel.merge_chunks(row_sums, chunks);
  }
  for_pieces_of_rows(rows, chunks, threads, [&](int64_t row, int64_t first, int64_t last) {
    kernel.probabilities(x + row * k, y + row * k, shifts.data[row], totals.data[row], first * kColumnsPerChunk,
                         smaller(last * kColumnsPerChunk, k));
  });
  return Status::ok;
}

template <class T>
Status softmax_rows(const T* x, T* y, int64_t rows, int64_t k, int threads) {
  if (rows < threads && k > kColumnsPerChunk) return softmax_long_rows(x, y, rows, k, threads);
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
  const int64_t k = layout.k, inner = layout.inner, rows = layout.outer * inner;
  if (rows == 0 || k == 0) return Status::ok;
  const Cost cost = inner == 1 && k > kShortRow ? kSoftmaxOfRows : kSoftmaxOfColumns;
  const int used = worthwhile_threads<T>(cost, rows, rows * k, threads);
  if (inner == 1) return softmax_rows(x, y, rows, k, used);
  for_column_blocks(layout, used, [&](int64_t o, int64_t first, int64_t count) {
    const int64_t offset = o * k * inner + first;
    kernels<T>().softmax_columns(x + offset, y + offset, k, inner, count);
  });
  return Status::ok;
}

template <class T>
Status row_max(const T* x, T* max, int32_t* argmax, Layout layout, int threads) {
  const Kernels<T>& kernel = kernels<T>();
  const int64_t k = layout.k, inner = layout.inner, rows = layout.outer * inner;
  const int used = worthwhile_threads<T>(inner == 1 ? kMaxOfRows : kMaxOfColumns, rows, rows * k, threads);
  if (inner == 1) {
    parallel_for(rows, used, [&](int64_t begin, int64_t end) {
      for (int64_t row = begin; row < end; row++) {
        kernel.row_max(x + row * k, k, max + row, argmax ? argmax + row : nullptr);
      }
    });
    return Status::ok;
  }
  for_column_blocks(layout, used, [&](int64_t o, int64_t first, int64_t count) {
    const int64_t result = o * inner + first;
    kernel.column_max(x + o * k * inner + first, k, inner, count, max + result, argmax ? argmax + result : nullptr);
  });
  return Status::ok;
}

template <class T>
Status softmax_jacobian(const T* x, T* jacobian, int64_t rows, int64_t k, int threads) {
  if (rows == 0 || k == 0) return Status::ok;
  const Kernels<T>& kernel = kernels<T>();
  const int used = worthwhile_threads<T>(kJacobian, rows, rows * k * k, threads);
  const int64_t block = smaller(rows, (kJacobianBlock * used + k - 1) / k);
  Scratch<T> probabilities(block * k), diagonals(block * k);
  if (!probabilities.data || !diagonals.data) return Status::out_of_memory;
  for (int64_t first = 0; first < rows; first += block) {
    const int64_t n = smaller(block, rows - first);
    const T* logits = x + first * k;
    T* p = probabilities.data;
    T* diagonal = diagonals.data;
    T* jacobians = jacobian + first * k * k;
    if (n < used) {
      // A few long rows: the lines of all their Jacobians are spread over the threads.
      const Status status = softmax_rows(logits, p, n, k, used);
      if (status != Status::ok) return status;
      for (int64_t row = 0; row < n; row++) {
        kernel.jacobian_diagonal(logits + row * k, p + row * k, k, diagonal + row * k);
      }
      for_pieces_of_rows(n, k, used, [&](int64_t row, int64_t line, int64_t last) {
        kernel.jacobian_lines(p + row * k, diagonal + row * k, k, line, last, jacobians + row * k * k);
      });
      continue;
    }
    parallel_for(n, used, [&](int64_t begin, int64_t end) {
      kernel.softmax_rows(logits + begin * k, p + begin * k, end - begin, k);
      for (int64_t row = begin; row < end; row++) {
        kernel.jacobian_diagonal(logits + row * k, p + row * k, k, diagonal + row * k);
        kernel.jacobian_lines(p + row * k, diagonal + row * k, k, 0, k, jacobians + row * k * k);
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
