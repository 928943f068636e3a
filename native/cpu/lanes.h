// What a SIMD register type V adds to the arithmetic of numerics/scalar.h. Each vector_*.h specialises it:
//
//   width                       lanes in a register
//   quad                        elements in 16 bytes
//   load(p), store(p, v)        a whole register; p needs no alignment
//   load_part(p, n, fill)       n < width lanes from memory, the others `fill`; touches no memory beyond
//   store_part(p, n, v)         the first n < width lanes
//   fold_sum(v)                 adds lane i to lane i + width/2, then i + width/4, ... : the order of numerics/sum.h
//   fold_max(v)                 the largest lane (no NaN among them)
//   fold_sum_of(v, n)           the same where only the first n lanes count: the others are 0, or not the only largest
//   fold_max_of(v, n)           ones
//   any_less(a, b)              whether a < b in some lane
//   can_stream                  whether stream() is more than store()
//   stream(p, v)                store(p, v) past the caches, to memory aligned to a register; needs a fence() after all
//   load_quads(p, stride, v)    turns `width` rows of `quad` elements, row i at p + i * stride, into `quad` columns:
//                               lane i of v[j] is element j of row i
//   store_quads(p, stride, v)   the reverse; row after row, so that rows may be shorter than a quad
//   first_equal(v, value)       the first lane equal to value, or -1
//   first_nan(v)                the first lane that is NaN, or -1
#pragma once

namespace softmax_native {
namespace {

template <class V>
struct Lanes;

}  // namespace
}  // namespace softmax_native
