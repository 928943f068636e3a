// The arguments of the operations on arrays in host memory, checked: the CPU's and the GPUs' calls take the same ones, in
// the same order, before or after arguments of their own. lib/ checks what the caller passed and explains it; this checks
// again whatever the memory's safety rests on, before anything is written, and finds overlapping memory by its address.
#pragma once

#include "arguments.h"
#include "errors.h"

namespace softmax_native::addon {

constexpr auto kExpectedFloats = "Expected Float32Array or Float64Array for x but received another value";
constexpr auto kExpectedSizes = "Expected integers of at least 0 for the sizes but received another value";
constexpr auto kUnreachableSize = "Expected a number of elements below 2**63 for the sizes but received more";
constexpr auto kLongRow = "Expected at most 2**31 - 1 elements in a row for x but received more";
constexpr auto kShortInput = "Expected as many elements as the sizes say for x but received fewer";
constexpr auto kShortOutput = "Expected as many elements as x has for out but received fewer";
constexpr auto kShortMax = "Expected an element for every row for out.max but received fewer";
constexpr auto kShortArgmax = "Expected an element for every row for out.argmax but received fewer";
constexpr auto kShortJacobian = "Expected rows * k * k elements for out but received fewer";
constexpr auto kPartOfInput = "Expected x itself or memory apart from it for out but received a part of x's memory";
constexpr auto kOutputOverlaps = "Expected memory apart from x for out but received a part of x's memory";
constexpr auto kMaxOverlaps = "Expected memory apart from x for out.max but received a part of x's memory";
constexpr auto kArgmaxOverlaps = "Expected memory apart from x for out.argmax but received a part of x's memory";
constexpr auto kArgmaxOverlapsMax = "Expected memory apart from out.max for out.argmax but received a part of it";

// An (outer, k, inner) array's sizes, and what follows from them.
struct Sizes {
  int64_t outer;
  int64_t k;
  int64_t inner;
  int64_t rows;
  int64_t count;
};

// These leave the exception pending where they return false.
inline bool read_sizes(napi_env env, const napi_value* outer_k_inner, Sizes* sizes) {
  if (!read_size(env, outer_k_inner[0], &sizes->outer) || !read_size(env, outer_k_inner[1], &sizes->k) ||
      !read_size(env, outer_k_inner[2], &sizes->inner)) {
    return out_of_range(env, kExpectedSizes);
  }
  if (!multiply(sizes->outer, sizes->inner, &sizes->rows) || !multiply(sizes->rows, sizes->k, &sizes->count)) {
    return out_of_range(env, kUnreachableSize);
  }
  return true;
}

struct JacobianSizes {
  int64_t rows;
  int64_t k;
  int64_t count;
  int64_t entries;
};

inline bool read_jacobian_sizes(napi_env env, const napi_value* rows_k, JacobianSizes* sizes) {
  if (!read_size(env, rows_k[0], &sizes->rows) || !read_size(env, rows_k[1], &sizes->k)) {
    return out_of_range(env, kExpectedSizes);
  }
  if (!multiply(sizes->rows, sizes->k, &sizes->count) || !multiply(sizes->count, sizes->k, &sizes->entries)) {
    return out_of_range(env, kUnreachableSize);
  }
  return true;
}

struct SoftmaxCall {
  View x, out;
  Sizes sizes;
};

// x, out, outer, k, inner; out may be exactly x.
inline bool read_softmax(napi_env env, const napi_value* arguments, SoftmaxCall* call) {
  View& x = call->x;
  View& out = call->out;
  if (!read_view(env, arguments[0], &x) || !x.is_float()) return invalid_type(env, kExpectedFloats);
  if (!read_view(env, arguments[1], &out) || out.type != x.type) {
    return invalid_type(env, "Expected an array of x's type for out but received another value");
  }
  if (!read_sizes(env, arguments + 2, &call->sizes)) return false;
  const int64_t count = call->sizes.count;
  if (!holds(x, count)) return shape_mismatch(env, kShortInput);
  if (!holds(out, count)) return shape_mismatch(env, kShortOutput);
  if (out.data != x.data && overlaps(x, count, out, count)) return overlap(env, kPartOfInput);
  return true;
}

struct RowMaxCall {
  View x, max, argmax;  // argmax.data is null where none is wanted
  Sizes sizes;
};

// x, max, argmax | undefined, outer, k, inner
inline bool read_row_max(napi_env env, const napi_value* arguments, RowMaxCall* call) {
  View& x = call->x;
  View& max = call->max;
  View& argmax = call->argmax;
  argmax = {napi_int32_array, 0, nullptr};
  if (!read_view(env, arguments[0], &x) || !x.is_float()) return invalid_type(env, kExpectedFloats);
  if (!read_view(env, arguments[1], &max) || max.type != x.type) {
    return invalid_type(env, "Expected an array of x's type for out.max but received another value");
  }
  const bool wants_argmax = !is_absent(env, arguments[2]);
  if (wants_argmax && (!read_view(env, arguments[2], &argmax) || argmax.type != napi_int32_array)) {
    return invalid_type(env, "Expected Int32Array for out.argmax but received another value");
  }
  if (!read_sizes(env, arguments + 3, &call->sizes)) return false;
  const int64_t rows = call->sizes.rows, count = call->sizes.count;
  if (call->sizes.k > std::numeric_limits<int32_t>::max()) return out_of_range(env, kLongRow);
  if (!holds(x, count)) return shape_mismatch(env, kShortInput);
  if (!holds(max, rows)) return shape_mismatch(env, kShortMax);
  if (wants_argmax && !holds(argmax, rows)) return shape_mismatch(env, kShortArgmax);
  const int64_t indices = wants_argmax ? rows : 0;
  if (overlaps(x, count, max, rows)) return overlap(env, kMaxOverlaps);
  if (overlaps(x, count, argmax, indices)) return overlap(env, kArgmaxOverlaps);
  if (overlaps(max, rows, argmax, indices)) return overlap(env, kArgmaxOverlapsMax);
  return true;
}

struct JacobianCall {
  View x, out;
  JacobianSizes sizes;
};

// x, out, rows, k
inline bool read_jacobian(napi_env env, const napi_value* arguments, JacobianCall* call) {
  View& x = call->x;
  View& out = call->out;
  if (!read_view(env, arguments[0], &x) || !x.is_float()) return invalid_type(env, kExpectedFloats);
  if (!read_view(env, arguments[1], &out) || out.type != x.type) {
    return invalid_type(env, "Expected an array of x's type for out but received another value");
  }
  if (!read_jacobian_sizes(env, arguments + 2, &call->sizes)) return false;
  if (!holds(x, call->sizes.count)) return shape_mismatch(env, kShortInput);
  if (!holds(out, call->sizes.entries)) return shape_mismatch(env, kShortJacobian);
  if (overlaps(x, call->sizes.count, out, call->sizes.entries)) return overlap(env, kOutputOverlaps);
  return true;
}

}  // namespace softmax_native::addon
