// The Jacobian of softmax, J_ij = p_i (delta_ij - p_j). It is written in vectors of 16 bytes, whatever k is and wherever
// the array starts: a vector may hold the end of a line (n, i, :) and the beginning of the next. What a thread needs to
// know of its vectors it finds once, as its next ones lie in the same places of other lines, or of other rows.
//
// Short rows are computed in the same launch, from probabilities in shared memory; for longer ones probabilities and
// diagonal entries are made first (a small part of k times as many entries), and any range of entries is written from
// them.
#include "../ops/jacobian.h"
#include "launch.h"
#include "row_sum.cuh"

namespace softmax_native::cuda {

// Division of non-negative numbers below 2^63, as Divisor.
struct LongDivisor {
  uint64_t divisor;
  uint64_t inverse;

  explicit LongDivisor(int64_t d)
      : divisor(static_cast<uint64_t>(d)), inverse(d <= 1 ? ~uint64_t(0) : ~uint64_t(0) / static_cast<uint64_t>(d)) {}

  __device__ __forceinline__ uint64_t divide(uint64_t n, uint64_t* remainder) const {
#if defined(__CUDA_ARCH__)
    uint64_t q = __umul64hi(n, inverse);
#else
    uint64_t q = static_cast<uint64_t>(static_cast<unsigned __int128>(n) * inverse >> 64);
#endif
    uint64_t r = n - q * divisor;
    if (r >= divisor) {
      q++;
      r -= divisor;
    }
    *remainder = r;
    return q;
  }
};

// Elements by which an array starts after a multiple of 16 bytes.
template <class T>
__host__ __device__ __forceinline__ uint32_t elements_past_vector(const T* out) {
  return static_cast<uint32_t>(reinterpret_cast<uintptr_t>(out) % 16 / sizeof(T));
}

// Entries [first, first + count) of the flat result, written from out[0] on. Entry (n, i, j) is number line * k + j,
// where the line n * k + i is also the place of p_i and of its diagonal entry.
template <class T>
struct JacobianEntries {
  const T* probabilities;
  const T* diagonals;
  T* out;
  LongDivisor by_k;
  int64_t first;
  int64_t count;

  // Entry number e of those.
  __device__ __forceinline__ T entry(int64_t e) const {
    uint64_t i, j;
    const uint64_t line = by_k.divide(static_cast<uint64_t>(first + e), &j);
    by_k.divide(line, &i);
    const T p_i = probabilities[line];
    if (p_i != p_i) return canonical_nan<T>();
    return i == j ? diagonals[line] : jacobian_off_diagonal(jacobian_scale_up(p_i), probabilities[line - i + j]);
  }

  // Of a vector from e on, what is wanted.
  __device__ __forceinline__ void write_each(int64_t e) const {
#pragma unroll 1
    for (int u = 0; u < kVector<T>; u++) {
      if (e + u >= 0 && e + u < count) out[e + u] = entry(e + u);
    }
  }

  // The entries before the first whole vector, by all threads of a block.
  __device__ __forceinline__ void write_head() const {
    if (threadIdx.x < head() && threadIdx.x < count) out[threadIdx.x] = entry(threadIdx.x);
  }

  __device__ __forceinline__ uint32_t head() const { return (kVector<T> - elements_past_vector(out)) % kVector<T>; }
};

// Writes the lines [begin, end) of the result in vectors of 16 bytes, those of a line that start in it; a thread of the
// block writes number `vector` of each line that it takes.
//
// Where vectors start in a line depends on where the line starts itself, and is the same a few lines later. A thread
// takes lines so far apart, and keeps its p_j in registers: of each line it needs p_i alone.
template <class T>
__device__ __forceinline__ void write_lines(const JacobianEntries<T>& all, int64_t begin, int64_t end,
                                            const JacobianLines& lines, int vector, int first_line) {
  constexpr int V = kVector<T>;
  const int k = static_cast<int>(all.by_k.divisor);
  const int step = lines.step;
  // The first line and the last may be wanted in part.
  const bool in_part = begin * k < all.first || end * k > all.first + all.count;
  for (int past = first_line; past < step; past += lines.at_once) {
    int64_t line = begin + past;
    int64_t e = line * k - all.first;
    const uint32_t past_vector = (elements_past_vector(all.out) + static_cast<uint32_t>(e)) % V;
    const int first_j = static_cast<int>((V - past_vector) % V) + vector * V;
    if (first_j >= k || line >= end) continue;
    e += first_j;
    const bool goes_on = first_j + V > k;  // into the next line

    uint64_t i_of_line;
    all.by_k.divide(static_cast<uint64_t>(line), &i_of_line);
    int i = static_cast<int>(i_of_line);
    const T* p_i = all.probabilities + line;
    T* out = all.out + e;
    int left = static_cast<int>(end - line);
    T p_j[V];
    // Most lines of a row are plain: those but the ones that end in another row, or within a vector with the next line's
    // diagonal entry; if the row has probabilities.
    const int first_plain = goes_on ? V - 1 : 0;
    int plain;
    const auto begin_row = [&] {
#pragma unroll
      for (int u = 0; u < V; u++) {
        const int j = first_j + u;
        p_j[u] = (p_i - i)[j < k ? j : smaller(j - k, k - 1)];
      }
      plain = p_j[0] == p_j[0] ? goes_on ? k - V : k : 0;
    };
    begin_row();
#pragma unroll 1
    while (true) {
      const bool is_plain = i >= first_plain && i < first_plain + plain;
      const bool is_cut = (in_part || !is_plain) && (out < all.out || out + V > all.out + all.count);
      if (is_cut || (k < V && !is_plain)) {
        if (out >= all.out) all.write_each(out - all.out);
      } else {
        const T here = jacobian_scale_up(p_i[0]);
        const T next = goes_on ? jacobian_scale_up(p_i[1]) : here;
        Vector<T, V> entries;
#pragma unroll
        for (int u = 0; u < V; u++) {
          entries.element[u] = jacobian_off_diagonal(first_j + u < k ? here : next, p_j[u]);
        }
        const int of_diagonal = i - first_j;
        if (static_cast<unsigned>(of_diagonal) < static_cast<unsigned>(V)) {
          const T diagonal = all.diagonals[p_i - all.probabilities];
#pragma unroll
          for (int u = 0; u < V; u++) entries.element[u] = u == of_diagonal ? diagonal : entries.element[u];
        }
        if (!is_plain) {
          const bool row_ends = i == k - 1;
          const T* const next_row = row_ends ? p_i + 1 : p_i - i;
          const int next_i = row_ends ? 0 : i + 1;
#pragma unroll
          for (int u = 0; u < V; u++) {
            const int j = first_j + u - k;
            if (j < 0) {
              if (here != here) entries.element[u] = canonical_nan<T>();
            } else {
              const T off_diagonal = jacobian_off_diagonal(next, next_row[j]);
              entries.element[u] = next != next  ? canonical_nan<T>()
                                   : j == next_i ? all.diagonals[p_i + 1 - all.probabilities]
                                                 : off_diagonal;
            }
          }
        }
        *reinterpret_cast<Vector<T, V>*>(out) = entries;
      }
      left -= step;
      if (left <= 0) break;
      out += lines.step_entries;
      p_i += step;
      i += step;
      if (i >= k) {
        do i -= k;
        while (i >= k);
        begin_row();
      }
    }
  }
}

// A vector of entries of a tile's rows, and those of the same place in later rows.
template <class T>
struct VectorOfRows {
  static constexpr uint32_t V = kVector<T>;
  const T* p_i[V];
  const T* p_j[V];  // or, on the diagonal, the entry itself
  bool on_diagonal[V];

  __device__ __forceinline__ VectorOfRows(const JacobianEntries<T>& all, Divisor by_k, uint32_t e) {
#pragma unroll
    for (uint32_t u = 0; u < V; u++) {
      uint32_t line, row, i, j;
      by_k.divide(e + u, &line, &j);
      by_k.divide(line, &row, &i);
      on_diagonal[u] = i == j;
      p_i[u] = all.probabilities + line;
      p_j[u] = on_diagonal[u] ? all.diagonals + line : all.probabilities + (line - i + j);
    }
  }

  __device__ __forceinline__ Vector<T, V> entries() const {
    Vector<T, V> entries;
    T any_nan = T(0);
#pragma unroll
    for (uint32_t u = 0; u < V; u++) {
      const T factor = *p_j[u], off_diagonal = jacobian_off_diagonal(jacobian_scale_up(*p_i[u]), factor);
      entries.element[u] = on_diagonal[u] ? factor : off_diagonal;
      any_nan = u == 0 ? entries.element[u] : any_nan + entries.element[u];
    }
    if (any_nan != any_nan) {
#pragma unroll
      for (uint32_t u = 0; u < V; u++) {
        const T entry = entries.element[u];
        entries.element[u] = entry == entry ? entry : canonical_nan<T>();
      }
    }
    return entries;
  }

  __device__ __forceinline__ void step(uint32_t places) {
#pragma unroll
    for (uint32_t u = 0; u < V; u++) {
      p_i[u] += places;
      p_j[u] += places;
    }
  }
};

// The same where lines consist of whole vectors.
template <class T>
struct VectorOfLine {
  static constexpr uint32_t V = kVector<T>;
  const T* p_i;
  const T* p_j;
  int to_diagonal;  // from p_i
  uint32_t of_diagonal;

  __device__ __forceinline__ VectorOfLine(const JacobianEntries<T>& all, Divisor by_k, uint32_t e)
      : to_diagonal(static_cast<int>(all.diagonals - all.probabilities)) {
    uint32_t line, row, i, j;
    by_k.divide(e, &line, &j);
    by_k.divide(line, &row, &i);
    p_i = all.probabilities + line;
    p_j = all.probabilities + (line - i + j);
    of_diagonal = i - j;
  }

  __device__ __forceinline__ Vector<T, V> entries() const {
    const T scaled_up = jacobian_scale_up(*p_i);
    const Vector<T, V> factors = *reinterpret_cast<const Vector<T, V>*>(p_j);
    const T diagonal = of_diagonal < V ? p_i[to_diagonal] : T(0);
    Vector<T, V> entries;
#pragma unroll
    for (uint32_t u = 0; u < V; u++) {
      const T off_diagonal = jacobian_off_diagonal(scaled_up, factors.element[u]);
      entries.element[u] = u == of_diagonal ? diagonal : off_diagonal;
    }
    if (scaled_up != scaled_up) {
#pragma unroll
      for (uint32_t u = 0; u < V; u++) entries.element[u] = canonical_nan<T>();
    }
    return entries;
  }

  __device__ __forceinline__ void step(uint32_t places) {
    p_i += places;
    p_j += places;
  }
};

// Writes the entries of a tile's rows in vectors of 16 bytes. Where vectors start in a row is the same a few rows later:
// a thread takes rows so far apart, and finds only once which entries its vector holds.
template <class Entries, class T>
__device__ __forceinline__ void write_rows(const JacobianEntries<T>& all, Divisor by_k, const JacobianLines& lines,
                                           uint32_t vector, uint32_t first_period) {
  constexpr uint32_t V = kVector<T>;
  const auto count = static_cast<uint32_t>(all.count);
  const uint32_t period_places = lines.period_rows * by_k.divisor;
  const uint32_t period_entries = period_places * by_k.divisor;
  const auto step = static_cast<uint32_t>(lines.step_entries);
  for (uint32_t of_period = vector * V; of_period < period_entries; of_period += lines.threads_per_line * V) {
    uint32_t e = all.head() + first_period * period_entries + of_period;
    if (e >= count) continue;
    Entries entries(all, by_k, e);
#pragma unroll 1
    for (; e + V <= count; e += step) {
      *reinterpret_cast<Vector<T, V>*>(all.out + e) = entries.entries();
      entries.step(lines.at_once * period_places);
    }
    if (e < count) all.write_each(e);
  }
}

// Reads a tile of contiguous rows into shared memory, where it is once all threads of the block have come to a barrier.
template <class T>
__device__ __forceinline__ void load_rows(const T* x, T* memory, int count) {
  constexpr int V = kVector<T>;
  const int thread = static_cast<int>(threadIdx.x), threads = static_cast<int>(blockDim.x);
  if (!has_async_copies()) {
#pragma unroll 8
    for (int e = thread; e < count; e += threads) memory[e] = x[e];
    return;
  }
  const int in_vectors = elements_past_vector(x) == 0 ? count / V * V : 0;
  for (int e = thread * V; e < in_vectors; e += threads * V) {
    start_copy(reinterpret_cast<Vector<T, V>*>(memory + e), reinterpret_cast<const Vector<T, V>*>(x + e));
  }
  for (int e = in_vectors + thread; e < count; e += threads) start_copy(memory + e, x + e);
  end_group_of_copies();
  wait_for_copies(0);
}

// The sum of a row of at most 256 columns without its peak, from the terms of the whole row's sum: where all of them are
// ordinary under its reference, those of another one differ by a power of two, in both halves exactly.
template <class T, class Lanes>
__device__ __forceinline__ PartialSum<T> sum_of_terms(const Columns<T, 1, kGroup, Lanes>& terms, int used, int peak,
                                                      T max, T exponent, T factor, Lanes lanes) {
  T on_grid = T(0);
  T rest[kGroup];
#pragma unroll
  for (int u = 0; u < kGroup; u++) {
    rest[u] = T(0);
    if (u >= used) continue;
    const bool kept = u != peak;
    const Pair<T> term = {kept ? terms.head[u] * factor : T(0), kept ? terms.tail[u] * factor : T(0)};
    rest[u] = rest[u] + split_on_grid(term, on_grid);
  }
#pragma unroll
  for (int half = kGroup / 2; half > 0; half /= 2) {
#pragma unroll
    for (int u = 0; u < half; u++) rest[u] = rest[u] + rest[u + half];
  }
  for (int offset = lanes.lanes / 2; offset > 0; offset /= 2) {
    on_grid = on_grid + __shfl_xor_sync(kAllLanes, on_grid, offset);
    rest[0] = rest[0] + __shfl_xor_sync(kAllLanes, rest[0], offset);
  }
  const Sum<T> sum = chunk_sum(exponent, on_grid, rest[0]);
  return {max, sum.exponent, sum.head, sum.tail};
}

// Makes the probabilities and the diagonal entries of a row of k <= 1024 columns, by a group of lanes; n is k, or 0 for
// lanes without a row, which go along as exchanges need whole warps. The probabilities may take the logits' place.
template <class T, int E, class Lanes>
__device__ __forceinline__ void make_row(const T* logits, T* probabilities, T* diagonals, int n, int k, int t,
                                         Lanes lanes) {
  constexpr bool is_short = E == kGroup;
  using RowColumns = Columns<T, 1, E, Lanes>;
  RowColumns columns, others;
  columns.load(logits, n, t, lanes);
  if (is_short) others = columns;
  const T max = columns.max(lanes);
  const T shift = shift_of(max);
  const PartialSum<T> all = columns.sum(k, max, shift, lanes);
  const RowScale<T> scale = scale_of(all, shift);
  // One probability at most is above one half. Its diagonal entry takes the sum of the other columns.
  int peak = -1;
  T peak_probability = T(0);
#pragma unroll
  for (int u = 0; u < E; u++) {
    const int column = RowColumns::column_of(u, t, lanes);
    if (column >= n) break;
    T p = canonical_nan<T>();
    if (scale.regular) p = probability(columns.term_of(u, scale), scale.inverse);
    probabilities[column] = p;
    diagonals[column] = jacobian_diagonal(p);
    if (p > T(0.5)) {
      peak = u;
      peak_probability = p;
    }
  }
  if (!__any_sync(kAllLanes, peak >= 0)) return;

  if (!is_short) others.load(logits, n, t, lanes);
#pragma unroll
  for (int u = 0; u < E; u++) {
    if (u == peak) others.head[u] = -infinity<T>();
  }
  const T others_max = others.max(lanes);
  PartialSum<T> rest;
  bool is_summed = false;
  if constexpr (is_short && RowColumns::keeps_terms) {
    const T exponent = chunk_exponent(others_max - shift);
    const T bound = ordinary_from(all.exponent);
    bool ordinary = all.exponent - exponent <= T(Format<T>::ordinary_range);
    const int used = RowColumns::registers_of(k, lanes);
#pragma unroll
    for (int u = 0; u < E; u++) {
      if (u >= used) break;
      const T logit = others.head[u];
      ordinary = ordinary && (logit - shift >= bound || logit == -infinity<T>());
    }
    is_summed = !__any_sync(kAllLanes, n > 0 && !ordinary);
    if (is_summed) {
      rest = sum_of_terms(columns, used, peak, others_max, exponent, power_of_two(all.exponent - exponent), lanes);
    }
  }
  if (!is_summed) rest = others.sum(k, others_max, shift, lanes);
  if (peak >= 0) {
    diagonals[RowColumns::column_of(peak, t, lanes)] = jacobian_diagonal(
        peak_probability, Sum<T>{all.exponent, all.head, all.tail}, Sum<T>{rest.exponent, rest.head, rest.tail});
  }
}

static_assert(kMostJacobianThreads == 256);  // as the kernels' launch bounds say

// Short rows: a tile of them, first as logits and then as probabilities, in shared memory, with their diagonals.
template <class T>
__global__ void __launch_bounds__(256, sizeof(T) == 4 ? 3 : 2)
    tile_jacobian(const T* x, T* out, int64_t rows, int rows_of_tile, Divisor by_k, LongDivisor by_long_k,
                  int lanes_per_row, JacobianLines lines, Divisor by_threads_per_line) {
  const int k = static_cast<int>(by_k.divisor);
  T* const memory = reinterpret_cast<T*>(shared_memory());
  T* const diagonals = memory + rows_of_tile * k;
  const int64_t first_row = static_cast<int64_t>(blockIdx.x) * rows_of_tile;
  const int tile_rows = static_cast<int>(smaller(rows - first_row, static_cast<int64_t>(rows_of_tile)));
  load_rows(x + first_row * k, memory, tile_rows * k);
  __syncthreads();

  const PartOfWarp lanes{lanes_per_row};
  const int t = static_cast<int>(threadIdx.x) % lanes_per_row;
  const int group = static_cast<int>(threadIdx.x) / lanes_per_row;
  const int groups = static_cast<int>(blockDim.x) / lanes_per_row;
  for (int first = 0; first < tile_rows; first += groups) {
    const bool has_row = first + group < tile_rows;
    const int place = has_row ? (first + group) * k : 0;
    make_row<T, kGroup>(memory + place, memory + place, diagonals + place, has_row ? k : 0, k, t, lanes);
  }
  __syncthreads();

  // From here on the tile's rows are all there are.
  const JacobianEntries<T> all{memory,    diagonals, out + first_row * k * k,
                               by_long_k, 0,         static_cast<int64_t>(tile_rows) * k * k};
  all.write_head();
  uint32_t line, vector;
  by_threads_per_line.divide(threadIdx.x, &line, &vector);
  if (line >= static_cast<uint32_t>(lines.at_once)) return;
  if (lines.period_rows > 0) {
    if (k % kVector<T> == 0 && all.head() == 0) {
      write_rows<VectorOfLine<T>>(all, by_k, lines, vector, line);
    } else {
      write_rows<VectorOfRows<T>>(all, by_k, lines, vector, line);
    }
  } else {
    write_lines(all, 0, tile_rows * k, lines, static_cast<int>(vector), static_cast<int>(line));
  }
}

// Rows of at most a chunk, a group of lanes for each.
template <class T, int E>
__global__ void __launch_bounds__(256, 1)
    jacobian_short_rows(const T* x, T* probabilities, T* diagonals, int64_t rows, int k, int lanes_per_row) {
  const int64_t thread = static_cast<int64_t>(blockIdx.x) * blockDim.x + threadIdx.x;
  const int64_t row = thread / lanes_per_row;
  const int64_t place = row < rows ? row * k : 0;
  make_row<T, E>(x + place, probabilities + place, diagonals + place, row < rows ? k : 0, k,
                 static_cast<int>(thread % lanes_per_row), PartOfWarp{lanes_per_row});
}

// Longer rows, a block for each.
template <class T>
__global__ void __launch_bounds__(256, 1)
    jacobian_long_rows(const T* x, T* probabilities, T* diagonals, int64_t k, int chunks_per_slot) {
  const int64_t row = blockIdx.x;
  x += row * k;
  probabilities += row * k;
  diagonals += row * k;
  const Part part{k, 0, (k + kChunk - 1) / kChunk, chunks_per_slot};
  const int slots = part.slots();
  T* const chunk_of_warp = reinterpret_cast<T*>(shared_memory()) + warp_of_thread() * kChunk;
  PartialSum<T>* const sums = reinterpret_cast<PartialSum<T>*>(shared_memory() + warps_of_block() * kChunk * sizeof(T));
  const int t = lane_of_thread();

  const auto sum_slot = [&](const Part& some, T shift, int64_t without) {
    sum_slots(
        some, shift,
        [&](int64_t chunk, int n) {
          copy_chunk<T, 1>(x + chunk * kChunk, chunk_of_warp, n);
          if (chunk == without / kChunk) {
            if (t == 0) chunk_of_warp[without % kChunk] = -infinity<T>();
            __syncwarp();
          }
          return chunk_of_warp;
        },
        [&](int slot, PartialSum<T> sum) {
          if (t == 0) sums[some.first / chunks_per_slot + slot] = sum;
        });
    __syncthreads();
    const PartialSum<T> total = tree_of_array(sums, slots, sums + slots);
    __syncthreads();
    return total;
  };
  constexpr int64_t none = -kChunk;
  PartialSum<T> all = sum_slot(part, T(0), none);
  const T shift = shift_of(all.max);
  if (shift != T(0)) all = sum_slot(part, shift, none);
  const RowScale<T> scale = scale_of(all, shift);

  // One probability at most is above one half.
  int64_t* const found = reinterpret_cast<int64_t*>(shared_memory());
  if (threadIdx.x == 0) *found = none;
  __syncthreads();
  constexpr int at_once = 4;
  for (int64_t first = threadIdx.x; first < k; first += at_once * static_cast<int>(blockDim.x)) {
    T logits[at_once];
#pragma unroll
    for (int u = 0; u < at_once; u++) {
      const int64_t i = first + u * static_cast<int>(blockDim.x);
      if (i < k) logits[u] = x[i];
    }
#pragma unroll
    for (int u = 0; u < at_once; u++) {
      const int64_t i = first + u * static_cast<int>(blockDim.x);
      if (i >= k) break;
      const T p = probability_of(logits[u], scale);
      probabilities[i] = p;
      diagonals[i] = jacobian_diagonal(p);
      if (p > T(0.5)) *found = i;
    }
  }
  __syncthreads();
  const int64_t peak = *found;
  if (peak < 0) return;
  __syncthreads();  // all have read it before a chunk takes its place

  // The sum of the others: only the peak's slot differs.
  const int64_t slot = peak / kChunk / chunks_per_slot;
  const Part slot_of_peak{k, slot * chunks_per_slot, smaller((slot + 1) * chunks_per_slot, part.last), chunks_per_slot};
  const PartialSum<T> others = sum_slot(slot_of_peak, shift, peak);
  if (threadIdx.x == 0) {
    const T p = probability_of(x[peak], scale);
    diagonals[peak] = jacobian_diagonal(p, Sum<T>{all.exponent, all.head, all.tail},
                                        Sum<T>{others.exponent, others.head, others.tail});
  }
}

// The entries of longer rows: a block writes a part of some adjacent lines.
template <class T>
__global__ void __launch_bounds__(256, 3) jacobian_stream(JacobianEntries<T> all, int64_t first_line, int64_t last_line,
                                                          JacobianLines lines, Divisor by_threads_per_line) {
  if (blockIdx.x == 0) all.write_head();
  uint32_t line, vector;
  by_threads_per_line.divide(threadIdx.x, &line, &vector);
  if (line >= static_cast<uint32_t>(lines.at_once)) return;
  const auto parts = static_cast<uint32_t>(lines.parts_of_line);
  const uint32_t part = blockIdx.x % parts;
  const int64_t begin = first_line + static_cast<int64_t>(blockIdx.x / parts) * lines.per_block;
  write_lines(all, begin, smaller(begin + lines.per_block, last_line), lines,
              static_cast<int>(part * by_threads_per_line.divisor + vector), static_cast<int>(line));
}

static int64_t aligned(int64_t bytes) { return policy::ceil_div(bytes, 256) * 256; }

template <class T>
cudaError_t jacobian_rows(const T* x, T* probabilities, T* diagonal, int64_t rows, int64_t k, cudaStream_t stream) {
  constexpr int64_t short_columns = kGroup * kWarpLanes;
  const auto launch_short_rows = [&](auto kernel, int lanes, int threads) {
    return launch(kernel, policy::ceil_div(rows * lanes, threads), threads, 0, 1, stream, x, probabilities, diagonal,
                  rows, static_cast<int>(k), lanes);
  };
  if (k <= short_columns) {
    const int64_t lanes = policy::power_of_two_from(policy::ceil_div(k, kGroup));
    return launch_short_rows(jacobian_short_rows<T, kGroup>, static_cast<int>(lanes), 256);
  }
  // Float64 would not fit a warp's registers. A few of these rows fill the GPU, so that the blocks are small.
  if constexpr (sizeof(T) == 4) {
    if (k <= kChunk) return launch_short_rows(jacobian_short_rows<T, kChunk / kWarpLanes>, kWarpLanes, 2 * kWarpLanes);
  }
  const int64_t chunks = policy::ceil_div(k, kChunk);
  const int64_t chunks_per_slot = policy::chunks_per_slot(chunks);
  const int64_t slots = policy::ceil_div(chunks, chunks_per_slot);
  const int warps = policy::stream_warps(sizeof(T));
  const int64_t shared_bytes = policy::chunk_bytes(sizeof(T), warps) + policy::slot_bytes(sizeof(T), slots);
  return launch(jacobian_long_rows<T>, rows, warps * kWarpLanes, shared_bytes, 1, stream, x, probabilities, diagonal, k,
                static_cast<int>(chunks_per_slot));
}

template <class T>
cudaError_t jacobian_entries(const T* probabilities, const T* diagonal, T* out, int64_t k, int64_t first, int64_t last,
                             cudaStream_t stream) {
  const int64_t first_line = first / k, last_line = policy::ceil_div(last, k);
  const JacobianLines lines = jacobian_lines(last_line - first_line, k, sizeof(T));
  const int64_t blocks = policy::ceil_div(last_line - first_line, lines.per_block) * lines.parts_of_line;
  return launch(jacobian_stream<T>, blocks, lines.threads, 0, 1, stream,
                JacobianEntries<T>{probabilities, diagonal, out, LongDivisor(k), first, last - first}, first_line,
                last_line, lines, Divisor(lines.threads_per_line));
}

template <class T>
int64_t jacobian_workspace(int64_t rows, int64_t k, const DeviceProperties& device) {
  if (jacobian_in_tiles(rows, k, sizeof(T), device)) return 0;
  return 2 * aligned(rows * k * static_cast<int64_t>(sizeof(T)));
}

template <class T>
cudaError_t jacobian(const T* x, T* out, int64_t rows, int64_t k, const DeviceProperties& device, void* workspace,
                     cudaStream_t stream) {
  if (jacobian_in_tiles(rows, k, sizeof(T), device)) {
    const Plan plan = jacobian_plan(rows, k, sizeof(T), device);
    const JacobianLines lines = k <= kRowJacobianColumns ? jacobian_rows_of_tile(k, sizeof(T))
                                                         : jacobian_lines(plan.tile_outer * k, k, sizeof(T));
    return launch(tile_jacobian<T>, plan.blocks, plan.warps * kWarpLanes, plan.shared_bytes, 1, stream, x, out, rows,
                  static_cast<int>(plan.tile_outer), Divisor(k), LongDivisor(k), plan.lanes_per_row, lines,
                  Divisor(lines.threads_per_line));
  }
  unsigned char* const memory = static_cast<unsigned char*>(workspace);
  const int64_t array_bytes = aligned(rows * k * static_cast<int64_t>(sizeof(T)));
  T* const probabilities = reinterpret_cast<T*>(memory);
  T* const diagonal = reinterpret_cast<T*>(memory + array_bytes);
  const cudaError_t error = jacobian_rows(x, probabilities, diagonal, rows, k, stream);
  if (error != cudaSuccess) return error;
  return jacobian_entries(probabilities, diagonal, out, k, 0, rows * k * k, stream);
}

#define SOFTMAX_INSTANTIATE(T)                                                                                 \
  template int64_t jacobian_workspace<T>(int64_t, int64_t, const DeviceProperties&);                           \
  template cudaError_t jacobian(const T*, T*, int64_t, int64_t, const DeviceProperties&, void*, cudaStream_t); \
  template cudaError_t jacobian_rows(const T*, T*, T*, int64_t, int64_t, cudaStream_t);                        \
  template cudaError_t jacobian_entries(const T*, const T*, T*, int64_t, int64_t, int64_t, cudaStream_t);
SOFTMAX_INSTANTIATE(float)
SOFTMAX_INSTANTIATE(double)

}  // namespace softmax_native::cuda
