// Who works on which rows: the public functions of the CPU back end. No arithmetic here, and nothing here changes a bit
// of a result.
#include <atomic>
#include <cstdlib>

#include "cpu.h"
#include "dispatch.h"
#include "parallel.h"
#include "untouched.h"

namespace softmax_native::cpu {
namespace {

// Work worth waking one more thread for. To wake a sleeping thread and wait for it takes 5 to 20 microseconds on bare
// metal and, now and then, 100 on a virtual machine. bench/threads.mjs measured two threads as fast as one for work of 45
// microseconds, and took 0.76 of its time at 64.
std::atomic<int64_t> work_per_thread{35'000};  // nanoseconds

// What an operation takes on one thread with AVX-512, in picoseconds: for each row, and for each byte of the logits, or
// of the Jacobian.
struct Cost {
  double row;
  double byte;
};
constexpr Cost kSoftmaxOfRows = {70'000, 150};
constexpr Cost kSoftmaxOfColumns = {3'000, 280};  // and of short rows, which are turned into columns
constexpr Cost kMaxOfRows = {8'000, 30};
constexpr Cost kMaxOfColumns = {1'000, 80};  // and of short rows
constexpr Cost kJacobian = {30'000, 60};

// Rows up to this size keep their exponentials and results, three times as many bytes, in the level-2 cache.
constexpr int64_t kKeptBytes = 256 * 1024;

// Results from this size on are written past the caches, which they would leave before anybody reads them. The last
// cache is often larger, but slow: writing to it and past it take the same time at about this size.
std::atomic<int64_t> past_caches_from{8 * 1024 * 1024};  // bytes

// New results are written past them at a sixteenth of it already. JavaScript's garbage collector frees results by tens of
// megabytes, so that a new one's memory has left the nearer caches since its last use. Past the caches, 512 KB took 0.6 of
// the time, and 0.9 to 1 together with somebody who reads it.
constexpr int64_t kSoonerIfNew = 16;

// Elements that kernels may read after a row of probabilities.
constexpr int64_t kAfterRow = 16;

// Columns of an inner axis that one thread takes together: a multiple of every vector width and of a cache line. With
// fewer columns than that, rows of several outer indices are taken together.
constexpr int64_t kColumnBlock = 128;

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

// What a call takes on one thread, estimated.
template <class T>
double nanoseconds_of(Cost cost, int64_t rows, int64_t elements) {
  const double picoseconds =
      cost.row * static_cast<double>(rows) + cost.byte * sizeof(T) * static_cast<double>(elements);
  return picoseconds / 1000 * chosen_kernels()->slower_than_avx512;
}

// How many of `threads` are worth waking for it.
int worthwhile_threads(double nanoseconds, int threads) {
  const double for_one_more = static_cast<double>(work_per_thread);
  if (nanoseconds >= for_one_more * threads) return threads;
  return nanoseconds < 2 * for_one_more ? 1 : static_cast<int>(nanoseconds / for_one_more);
}

// The steps of a call in the background take about as long on one thread: a caller who stops it hardly waits, and what a
// step costs beside its work, as memory of its own, is not seen.
constexpr double kStepNanoseconds = 1e6;

// How a call is carried out.
struct Call {
  int threads;
  bool is_new;
  Control* control;
  double nanoseconds;
  int64_t elements;  // that it counts for

  bool stopped() const { return is_stopped(control); }

  // For `items` that are this share of the work.
  Steps steps(int64_t items, double share = 1) const {
    if (control == nullptr) return {};
    const double n = static_cast<double>(items > 0 ? items : 1);
    const double in_a_step = n * kStepNanoseconds / (nanoseconds * share);
    return {control,
            in_a_step < 1   ? 1
            : in_a_step < n ? static_cast<int64_t>(in_a_step)
                            : items,
            share * static_cast<double>(elements) / n};
  }

  // Of a part whose progress nobody counts.
  Call uncounted() const { return {threads, false, control, nanoseconds, 0}; }
};

// Aligned memory for `count` values of T, freed at the end of the scope; null when there is none to be had, or none is
// asked for. (aligned_alloc takes longer than a small call.)
template <class T>
struct Scratch {
  explicit Scratch(int64_t count) {
    if (count <= 0) return;
    constexpr size_t line = 64;
    memory = std::malloc(static_cast<size_t>(count) * sizeof(T) + line);
    if (memory) data = reinterpret_cast<T*>((reinterpret_cast<uintptr_t>(memory) + line) / line * line);
  }
  ~Scratch() { std::free(memory); }
  Scratch(const Scratch&) = delete;
  Scratch& operator=(const Scratch&) = delete;
  void* memory = nullptr;
  T* data = nullptr;
};

// Whether a result is to be written past the caches: it is large, and its lines are not in the caches already, as its
// logits' are where it takes their place, and as those of a page are that the system has just filled with zeros. (A
// Jacobian of 128 MB in such pages took 29 ms past the caches and 21 through them, softmax as long either way.)
template <class T>
bool is_past_caches(const T* x, const T* result, int64_t elements, bool is_new) {
  const int64_t bytes = elements * static_cast<int64_t>(sizeof(T));
  const int64_t from = is_new ? past_caches_from / kSoonerIfNew : static_cast<int64_t>(past_caches_from);
  return static_cast<const void*>(x) != result && bytes >= from && !is_untouched(result, bytes);
}

int64_t column_blocks(Layout layout) { return (layout.inner + kColumnBlock - 1) / kColumnBlock; }

// Calls work(row, first, last) for pieces of rows that cover all of `rows` x `length`, spread evenly over the threads.
template <class Work>
void for_pieces_of_rows(int64_t rows, int64_t length, int threads, const Steps& steps, Work work) {
  parallel_for(rows * length, threads, steps, [&](int64_t begin, int64_t end) {
    while (begin < end) {
      const int64_t row = begin / length;
      const int64_t row_end = smaller(end, (row + 1) * length);
      work(row, begin - row * length, row_end - row * length);
      begin = row_end;
    }
  });
}

// Rows, or Jacobians, up to this size are computed in one step, of a few milliseconds, where a call in the background may
// be stopped.
constexpr int64_t kLongestUndividedRow = int64_t{1} << 22;

// A few long rows: the chunks of all of them are spread over the threads. The sums are about half of the work.
template <class T>
Status softmax_long_rows(const T* x, T* y, int64_t rows, int64_t k, const Call& call) {
  const Kernels<T>& kernel = kernels<T>();
  const int64_t chunks = chunks_of(k);
  const bool past_caches = is_past_caches(x, y, rows * k, call.is_new);
  Scratch<PartialSum<T>> sums(rows * chunks);
  Scratch<PartialSum<T>> totals(rows);
  Scratch<T> shifts(rows);
  if (!sums.data || !totals.data || !shifts.data) return Status::out_of_memory;

  const Steps steps = call.steps(rows * chunks, 0.5);
  for_pieces_of_rows(rows, chunks, call.threads, steps, [&](int64_t row, int64_t first, int64_t last) {
    kernel.chunk_sums(x + row * k, k, T(0), first, last, sums.data + row * chunks);
  });
  for (int64_t row = 0; row < rows; row++) {
    if (call.stopped()) return Status::stopped;
    PartialSum<T>* row_sums = sums.data + row * chunks;
    totals.data[row] = kernel.merge_chunks(row_sums, chunks);
    shifts.data[row] = kernel.row_shift(totals.data[row].max);
    if (shifts.data[row] == 0) continue;
    parallel_for(chunks, call.threads, {steps.control, steps.items}, [&](int64_t first, int64_t last) {
      kernel.chunk_sums(x + row * k, k, shifts.data[row], first, last, row_sums);
    });
    if (call.stopped()) return Status::stopped;
    totals.data[row] = kernel.merge_chunks(row_sums, chunks);
  }
  for_pieces_of_rows(rows, chunks, call.threads, steps, [&](int64_t row, int64_t first, int64_t last) {
    kernel.probabilities(x + row * k, y + row * k, shifts.data[row], totals.data[row], first * kColumnsPerChunk,
                         smaller(last * kColumnsPerChunk, k), past_caches);
  });
  return call.stopped() ? Status::stopped : Status::ok;
}

template <class T>
Status softmax_rows(const T* x, T* y, int64_t rows, int64_t k, const Call& call) {
  const bool stops_within_rows = call.control != nullptr && k > kLongestUndividedRow;
  if ((rows < call.threads || stops_within_rows) && k > kColumnsPerChunk) {
    return softmax_long_rows(x, y, rows, k, call);
  }
  const Kernels<T>& kernel = kernels<T>();
  const bool past_caches = is_past_caches(x, y, rows * k, call.is_new);
  const bool kept = k * static_cast<int64_t>(sizeof(T)) <= kKeptBytes;
  parallel_for(rows, call.threads, call.steps(rows), [&](int64_t begin, int64_t end) {
    const Scratch<T> memory(kept ? kernel.rows_memory(k) : 0);
    kernel.softmax_rows(x + begin * k, y + begin * k, end - begin, k, memory.data, past_caches);
  });
  return call.stopped() ? Status::stopped : Status::ok;
}

// Calls work(outer, first, count) for blocks of at most kColumnBlock columns that cover all of `outer` x `inner`.
template <class Work>
void for_column_blocks(Layout layout, int64_t begin, int64_t end, Work work) {
  const int64_t blocks = column_blocks(layout);
  for (int64_t item = begin; item < end; item++) {
    const int64_t first = item % blocks * kColumnBlock;
    work(item / blocks, first, smaller(kColumnBlock, layout.inner - first));
  }
}

// A few long columns leave most lanes of a register empty, and all threads but one without work: they are copied to
// memory where they lie one after another, and back. (Two columns of a million float32 logits take a quarter of the time
// on one thread, eight 0.7; eight of float64 would take twice as long.)
template <class T>
constexpr int64_t kFewColumns = 32 / sizeof(T);
// The copy is as large as the array: of larger ones it would be more memory than a caller expects.
constexpr int64_t kMostCopiedBytes = int64_t{1} << 28;

template <class T>
Status softmax_of_few_columns(const T* x, T* y, int64_t k, int64_t columns, const Call& call, T* rows) {
  const Steps copies = call.uncounted().steps(k);
  const auto for_elements = [&](auto visit) {
    parallel_for(k, call.threads, copies, [&](int64_t begin, int64_t end) {
      for (int64_t j = begin; j < end; j++) {
        for (int64_t i = 0; i < columns; i++) visit(j * columns + i, i * k + j);
      }
    });
  };
  for_elements([&](int64_t in_columns, int64_t in_rows) { rows[in_rows] = x[in_columns]; });
  if (call.stopped()) return Status::stopped;
  const Status status = softmax_rows(rows, rows, columns, k, call);
  if (status != Status::ok) return status;
  for_elements([&](int64_t in_columns, int64_t in_rows) { y[in_columns] = rows[in_rows]; });
  return call.stopped() ? Status::stopped : Status::ok;
}

// Rows along any axis but the last.
template <class T>
Status softmax_inner_axis(const T* x, T* y, Layout layout, const Call& call) {
  const Kernels<T>& kernel = kernels<T>();
  const int64_t k = layout.k, inner = layout.inner;
  const int64_t rows = layout.outer * inner;
  const bool is_copied = rows * k <= kMostCopiedBytes / static_cast<int64_t>(sizeof(T));
  if (layout.outer == 1 && inner <= kFewColumns<T> && k > kColumnsPerChunk && is_copied) {
    const Scratch<T> memory(rows * k);
    if (memory.data) return softmax_of_few_columns(x, y, k, inner, call, memory.data);
  }
  const bool scattered = inner < kColumnBlock;
  const bool past_caches = !scattered && is_past_caches(x, y, rows * k, call.is_new);
  const int64_t items = scattered ? (rows + kColumnBlock - 1) / kColumnBlock : layout.outer * column_blocks(layout);
  std::atomic<bool> out_of_memory{false};
  parallel_for(items, call.threads, call.steps(items), [&](int64_t begin, int64_t end) {
    const Scratch<T> memory(kernel.columns_memory(k));
    if (!memory.data) {
      out_of_memory = true;
      return;
    }
    if (scattered) {
      kernel.softmax_scattered(x, y, k, inner, begin * kColumnBlock, smaller(end * kColumnBlock, rows), memory.data);
      return;
    }
    for_column_blocks(layout, begin, end, [&](int64_t o, int64_t first, int64_t count) {
      const int64_t offset = o * k * inner + first;
      kernel.softmax_columns(x + offset, y + offset, k, inner, count, memory.data, past_caches);
    });
  });
  return out_of_memory ? Status::out_of_memory : call.stopped() ? Status::stopped : Status::ok;
}

}  // namespace

void set_work_per_thread(int64_t nanoseconds) { work_per_thread = nanoseconds; }

void set_past_caches_from(int64_t bytes) { past_caches_from = bytes; }

template <class T>
Status softmax(const T* x, T* y, Layout layout, int threads, bool is_new, Control* control) {
  const int64_t k = layout.k, inner = layout.inner, rows = layout.outer * inner;
  if (rows == 0 || k == 0) return Status::ok;
  const Cost cost = inner == 1 && k > kShortRow<T> ? kSoftmaxOfRows : kSoftmaxOfColumns;
  const double nanoseconds = nanoseconds_of<T>(cost, rows, rows * k);
  const Call call{worthwhile_threads(nanoseconds, threads), is_new, control, nanoseconds, rows * k};
  return inner == 1 || k == 1 ? softmax_rows(x, y, rows, k, call) : softmax_inner_axis(x, y, layout, call);
}

template <class T>
Status row_max(const T* x, T* max, int32_t* argmax, Layout layout, int threads, Control* control) {
  const Kernels<T>& kernel = kernels<T>();
  const int64_t k = layout.k, inner = layout.inner, rows = layout.outer * inner;
  const Cost cost = inner == 1 && k > kShortRow<T> ? kMaxOfRows : kMaxOfColumns;
  const double nanoseconds = nanoseconds_of<T>(cost, rows, rows * k);
  const Call call{worthwhile_threads(nanoseconds, threads), false, control, nanoseconds, rows * k};
  if (inner == 1) {
    parallel_for(rows, call.threads, call.steps(rows), [&](int64_t begin, int64_t end) {
      kernel.row_max(x + begin * k, end - begin, k, max + begin, argmax ? argmax + begin : nullptr);
    });
  } else {
    const int64_t blocks = layout.outer * column_blocks(layout);
    parallel_for(blocks, call.threads, call.steps(blocks), [&](int64_t begin, int64_t end) {
      for_column_blocks(layout, begin, end, [&](int64_t o, int64_t first, int64_t count) {
        const int64_t result = o * inner + first;
        kernel.column_max(x + o * k * inner + first, k, inner, count, max + result, argmax ? argmax + result : nullptr);
      });
    });
  }
  return call.stopped() ? Status::stopped : Status::ok;
}

template <class T>
Status softmax_jacobian(const T* x, T* jacobian, int64_t rows, int64_t k, int threads, bool is_new, Control* control) {
  if (rows == 0 || k == 0) return Status::ok;
  const Kernels<T>& kernel = kernels<T>();
  const int64_t entries = rows * k * k;
  const double nanoseconds = nanoseconds_of<T>(kJacobian, rows, entries);
  const Call call{worthwhile_threads(nanoseconds, threads), is_new, control, nanoseconds, entries};
  const bool past_caches = is_past_caches(x, jacobian, entries, is_new);
  std::atomic<bool> out_of_memory{false};
  const bool stops_within_rows = control != nullptr && k * k > kLongestUndividedRow;
  if (rows >= call.threads && !stops_within_rows) {
    parallel_for(rows, call.threads, call.steps(rows), [&](int64_t begin, int64_t end) {
      const Scratch<T> memory(kernel.jacobian_memory(k));
      if (!memory.data) {
        out_of_memory = true;
        return;
      }
      kernel.jacobian_rows(x + begin * k, jacobian + begin * k * k, end - begin, k, memory.data, past_caches);
    });
    return out_of_memory ? Status::out_of_memory : call.stopped() ? Status::stopped : Status::ok;
  }
  // A few long rows: the lines of all their Jacobians are spread over the threads.
  const Scratch<T> probabilities(rows * k + kAfterRow), diagonals(rows * k);
  if (!probabilities.data || !diagonals.data) return Status::out_of_memory;
  T* p = probabilities.data;
  for (int64_t i = 0; i < kAfterRow; i++) p[rows * k + i] = 0;
  T* diagonal = diagonals.data;
  const Status status = softmax_rows(x, p, rows, k, call.uncounted());
  if (status != Status::ok) return status;
  for (int64_t row = 0; row < rows; row++) {
    kernel.jacobian_diagonal(x + row * k, p + row * k, k, diagonal + row * k);
  }
  for_pieces_of_rows(rows, k, call.threads, call.steps(rows * k), [&](int64_t row, int64_t line, int64_t last) {
    kernel.jacobian_lines(p + row * k, diagonal + row * k, k, line, last, jacobian + row * k * k, past_caches);
  });
  return call.stopped() ? Status::stopped : Status::ok;
}

template Status softmax(const float*, float*, Layout, int, bool, Control*);
template Status softmax(const double*, double*, Layout, int, bool, Control*);
template Status row_max(const float*, float*, int32_t*, Layout, int, Control*);
template Status row_max(const double*, double*, int32_t*, Layout, int, Control*);
template Status softmax_jacobian(const float*, float*, int64_t, int64_t, int, bool, Control*);
template Status softmax_jacobian(const double*, double*, int64_t, int64_t, int, bool, Control*);

}  // namespace softmax_native::cpu
