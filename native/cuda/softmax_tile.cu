// Regime `tile`: rows of at most 1024 elements, along any axis, in shared memory. A tile lies there as in the array, so
// that neither the length of a row nor its alignment matters to the copies; in between, 1 to 32 lanes work on each row.
#include "chunk.cuh"
#include "regimes.h"
#include "spans.cuh"

namespace softmax_native::cuda {

// A block's tile: the rows (o, i) with o in a part of the outer axis and i in a part of the inner one. Either all of the
// inner axis, which is one span of the array, or lines of a part of it.
struct Tiles {
  Layout layout;
  int outer;  // of a tile; the last may have fewer
  int inner;
  int stride;  // from element to element of a row
  int tails;   // the place of the second halves of exponentials in shared memory, row after row
  bool are_spans;
  uint32_t inner_tiles;
  Divisor by_inner;

  Tiles(Layout array, const Plan& plan)
      : layout(array),
        outer(static_cast<int>(plan.tile_outer)),
        inner(static_cast<int>(plan.tile_inner)),
        stride(static_cast<int>(plan.stride)),
        tails(static_cast<int>(plan.tail_offset)),
        are_spans(plan.tile_inner == array.inner && plan.stride == array.inner),
        inner_tiles(static_cast<uint32_t>(policy::ceil_div(array.inner, plan.tile_inner))),
        by_inner(plan.tile_inner) {}
};

// Blocks of a multiprocessor, which limit a thread's registers.
constexpr int blocks_of_tiles(int element_size, int elements, bool contiguous) {
  if (element_size == 8) return 4;
  return elements == 32 ? (contiguous ? 4 : 3) : elements == 16 ? 6 : 8;
}

// Takes the k logits of a row at the places at(column) to its probabilities, by a warp. Between sum and division the first
// halves of the exponentials are in the logits' places and the second ones in `tails`; a lane meets its own alone.
template <class T, class At>
__device__ __forceinline__ void softmax_in_place(At at, T* tails, int k) {
  const T max = largest_in_shared<T>(at, k);
  const T shift = shift_of(max);
  const PartialSum<T> sum = sum_in_shared<kGroup / 2>(at, k, max, shift, [&](int column, Pair<T> term) {
    *at(column) = term.head;
    tails[column] = term.tail;
  });
  const RowScale<T> scale = scale_of(sum, shift);
  int column = lane_of_thread();
  if (!scale.regular) {
    for (; column < k; column += kWarpLanes) *at(column) = canonical_nan<T>();
    return;
  }
  // All of a group's exponentials are on their way before the first probability is stored.
  constexpr int group = 4;
  for (; column + (group - 1) * kWarpLanes < k; column += group * kWarpLanes) {
    Pair<T> terms[group];
#pragma unroll
    for (int i = 0; i < group; i++) terms[i] = {*at(column + i * kWarpLanes), tails[column + i * kWarpLanes]};
#pragma unroll
    for (int i = 0; i < group; i++) *at(column + i * kWarpLanes) = probability(terms[i], scale.inverse);
  }
  for (; column < k; column += kWarpLanes) {
    *at(column) = probability(Pair<T>{*at(column), tails[column]}, scale.inverse);
  }
}

// Adjacent lanes work on contiguous rows; along another axis adjacent lanes take adjacent rows.
template <class T, int E, int V, bool contiguous, class Lanes>
__global__ void __launch_bounds__(128, blocks_of_tiles(sizeof(T), E, contiguous))
    tile_softmax(const T* x, T* y, Tiles tiles, Lanes lanes) {
  const int k = static_cast<int>(tiles.layout.k);
  T* memory = reinterpret_cast<T*>(shared_memory());
  const int64_t first_outer = static_cast<int64_t>(blockIdx.x / tiles.inner_tiles) * tiles.outer;
  const int64_t first_inner = static_cast<int64_t>(blockIdx.x % tiles.inner_tiles) * tiles.inner;
  const int outer = static_cast<int>(smaller(tiles.layout.outer - first_outer, static_cast<int64_t>(tiles.outer)));
  const int inner = static_cast<int>(smaller(tiles.layout.inner - first_inner, static_cast<int64_t>(tiles.inner)));
  const int64_t first = first_outer * k * tiles.layout.inner + first_inner;
  const int rows = outer * inner;
  const bool is_span = contiguous || tiles.are_spans;
  // Vectors that would otherwise meet in few banks.
  const bool mixed = V > 1 && k / V % 2 == 0;

  Span span{0, rows * k};
  const Lines lines{k, inner, tiles.layout.inner, tiles.stride};
  if (is_span) {
    span.first = past_vector(x + first);
    span.end += span.first;
    start_copy_of_span(x + first - span.first, memory, span, mixed);
  } else {
    start_copy_of_lines(x + first, memory, lines);
  }
  wait_for_copies(0);
  __syncthreads();

  const int lane = lane_of_thread(), rows_of_warp = kWarpLanes / lanes.lanes;
  const int t = contiguous ? lane % lanes.lanes : lane / rows_of_warp;
  const int row_of_warp = contiguous ? lane / lanes.lanes : lane % rows_of_warp;
  for (int base = warp_of_thread() * rows_of_warp; base < rows; base += warps_of_block() * rows_of_warp) {
    // Lanes without a row go along with the last one, as exchanges need whole warps, and write nothing.
    const bool has_row = base + row_of_warp < rows;
    const int row = has_row ? base + row_of_warp : rows - 1;
    int place = span.first + row * k;
    if (!contiguous) {
      uint32_t o = 0, i = static_cast<uint32_t>(row);
      if (is_span) tiles.by_inner.divide(i, &o, &i);
      place = span.first + static_cast<int>(o) * k * tiles.stride + static_cast<int>(i);
    }
    const auto vector_at = [&](int column) {
      const int at = V > 1 ? place_of<T>(place + column, mixed) : place + column * (contiguous ? 1 : tiles.stride);
      return reinterpret_cast<Vector<T, V>*>(memory + at);
    };
    if constexpr (sizeof(T) == 8 && !Lanes::of_short_row) {
      const auto at = [&](int column) { return vector_at(column)->element; };
      softmax_in_place<T>(at, memory + tiles.tails + row * k, k);
    } else {
      Columns<T, V, E, Lanes> columns;
      columns.load_from(vector_at, k, t, lanes);
      __syncwarp();  // before another lane writes what one without a row has read
      const T max = columns.max(lanes);
      const T shift = shift_of(max);
      const PartialSum<T> sum = columns.sum(k, max, shift, lanes);
      if (has_row) columns.write_to(vector_at, k, t, scale_of(sum, shift), lanes);
    }
  }

  __syncthreads();
  if (is_span) {
    store_span(y + first, memory, span, mixed);
  } else {
    store_lines(y + first, memory, lines);
  }
}

// Rows of one element: 1, or NaN for what is no number.
template <class T>
__global__ void __launch_bounds__(256) single_softmax(const T* x, T* y, int64_t count) {
  constexpr int span = 16 * 256;
  const int64_t base = static_cast<int64_t>(blockIdx.x) * span;
  const auto one = [](T v) { return is_finite(v) ? T(1) : canonical_nan<T>(); };
  const Span of_block{past_vector(x),
                      past_vector(x) + static_cast<int>(smaller(count - base, static_cast<int64_t>(span)))};
  x += base - of_block.first;
  y += base - of_block.first;
  using Elements = Vector<T, kVector<T>>;
  of_block.for_each<T>(
      past_vector(y) == 0,
      [&](int e) {
        Elements elements = *reinterpret_cast<const Elements*>(x + e);
        for (T& element : elements.element) element = one(element);
        *reinterpret_cast<Elements*>(y + e) = elements;
      },
      [&](int e) { y[e] = one(x[e]); });
}

template <int E, int V, bool contiguous, class T, class Lanes>
static cudaError_t launch_tile(const T* x, T* y, Layout layout, const Plan& plan, Lanes lanes, cudaStream_t stream) {
  return launch(tile_softmax<T, E, V, contiguous, Lanes>, plan.blocks, plan.warps * kWarpLanes, plan.shared_bytes, 1,
                stream, x, y, Tiles(layout, plan), lanes);
}

// Contiguous rows with the number of lanes known when compiled: in vectors, unless many of the last ones would be empty.
template <int E, class T, int L>
static cudaError_t launch_rows(const T* x, T* y, Layout layout, const Plan& plan, AdjacentLanes<L> lanes,
                               cudaStream_t stream) {
  // Float32 rows that fill 32 lanes with vectors have a warp's registers, and others of that length no vectors here.
  if constexpr (E >= kVector<T> && (L < kWarpLanes || sizeof(T) == 8)) {
    const int64_t columns_at_once = int64_t(L) * kVector<T>;
    const int64_t computed = policy::ceil_div(layout.k, columns_at_once) * columns_at_once;
    if (has_vectors(x, layout.k) && computed * 15 <= layout.k * 16)
      return launch_tile<E, kVector<T>, true>(x, y, layout, plan, lanes, stream);
  }
  return launch_tile<E, 1, true>(x, y, layout, plan, lanes, stream);
}

template <int E, class T>
static cudaError_t launch_lanes(const T* x, T* y, Layout layout, const Plan& plan, cudaStream_t stream) {
  const int lanes = plan.lanes_per_row;
  if (lanes == 32) {
    return layout.inner > 1 ? launch_tile<E, 1, false>(x, y, layout, plan, AdjacentLanes<32>(), stream)
                            : launch_rows<E>(x, y, layout, plan, AdjacentLanes<32>(), stream);
  }
  if (layout.inner > 1) {
    return launch_tile<E, 1, false>(x, y, layout, plan, LanesApart{lanes, kWarpLanes / lanes}, stream);
  }
  switch (lanes) {
    case 2:
      return launch_rows<E>(x, y, layout, plan, AdjacentLanes<2>(), stream);
    case 4:
      return launch_rows<E>(x, y, layout, plan, AdjacentLanes<4>(), stream);
    case 8:
      return launch_rows<E>(x, y, layout, plan, AdjacentLanes<8>(), stream);
    case 16:
      return launch_rows<E>(x, y, layout, plan, AdjacentLanes<16>(), stream);
  }
  return cudaErrorInvalidValue;
}

// Rows of float64 for whose exponentials there are no registers: a warp for each.
static cudaError_t launch_warps(const double* x, double* y, Layout layout, const Plan& plan, cudaStream_t stream) {
  return layout.inner > 1 ? launch_tile<kGroup, 1, false>(x, y, layout, plan, WholeWarp(), stream)
                          : launch_tile<kGroup, 1, true>(x, y, layout, plan, WholeWarp(), stream);
}

// Rows that one lane holds.
template <int E, class T>
static cudaError_t launch_lane(const T* x, T* y, Layout layout, const Plan& plan, cudaStream_t stream) {
  return layout.inner > 1 ? launch_tile<E, 1, false>(x, y, layout, plan, AdjacentLanes<1>(), stream)
                          : launch_rows<E>(x, y, layout, plan, AdjacentLanes<1>(), stream);
}

template <class T>
cudaError_t softmax_tile(const T* x, T* y, Layout layout, const Plan& plan, cudaStream_t stream) {
  if (layout.k == 1) {
    const int64_t count = layout.outer * layout.inner;
    return launch(single_softmax<T>, policy::ceil_div(count, 16 * 256), 256, 0, 1, stream, x, y, count);
  }
  if (plan.lanes_per_row > 1) {
    if constexpr (sizeof(T) == 4) return launch_lanes<32>(x, y, layout, plan, stream);
    if constexpr (sizeof(T) == 8) {
      return plan.tail_offset > 0 ? launch_warps(x, y, layout, plan, stream)
                                  : launch_lanes<8>(x, y, layout, plan, stream);
    }
  }
  switch (plan.elements) {
    case 2:
      return launch_lane<2>(x, y, layout, plan, stream);
    case 4:
      return launch_lane<4>(x, y, layout, plan, stream);
    case 8:
      return launch_lane<8>(x, y, layout, plan, stream);
  }
  if constexpr (sizeof(T) == 4) {
    return plan.elements == 16 ? launch_lane<16>(x, y, layout, plan, stream)
                               : launch_lane<32>(x, y, layout, plan, stream);
  }
  return cudaErrorInvalidValue;
}

template cudaError_t softmax_tile(const float*, float*, Layout, const Plan&, cudaStream_t);
template cudaError_t softmax_tile(const double*, double*, Layout, const Plan&, cudaStream_t);

}  // namespace softmax_native::cuda
