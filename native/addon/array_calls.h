// The operations on arrays in host memory: their arguments, checked, and what computes them. The CPU's and the GPUs' calls
// take the same arguments, in the same order, before or after some of their own, at once or as jobs. lib/ checks what the
// caller passed and explains it; this checks again whatever the memory's safety rests on, before anything is written, and
// finds overlapping memory by its address.
//
// Each class has the number of its arguments, of which the arrays come first, and the same functions: read() leaves an
// exception pending where it returns false, and elements() are those that are read and written.
#pragma once

#include "arguments.h"
#include "cpu/cpu.h"
#include "cuda/cuda.h"
#include "errors.h"

namespace softmax_native::addon {

constexpr auto kExpectedFloats = "Expected Float32Array or Float64Array for x but received another value";
constexpr auto kExpectedThreads = "Expected an integer of at least 1 for threads but received another value";
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
inline bool read_device(napi_env env, napi_value value, int* device) {
  int32_t index;
  if (napi_get_value_int32(env, value, &index) != napi_ok) {
    return invalid_type(env, "Expected an integer for device but received another value");
  }
  *device = index;
  return true;
}

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

constexpr size_t kMostArrays = 3;

// x, out, outer, k, inner; out may be exactly x.
struct SoftmaxCall {
  static constexpr size_t kArguments = 5, kArrays = 2;

  View x, out;
  Sizes sizes;

  bool read(napi_env env, const napi_value* arguments) {
    if (!read_view(env, arguments[0], &x) || !x.is_float()) return invalid_type(env, kExpectedFloats);
    if (!read_view(env, arguments[1], &out) || out.type != x.type) {
      return invalid_type(env, "Expected an array of x's type for out but received another value");
    }
    if (!read_sizes(env, arguments + 2, &sizes)) return false;
    const int64_t count = sizes.count;
    if (!holds(x, count)) return shape_mismatch(env, kShortInput);
    if (!holds(out, count)) return shape_mismatch(env, kShortOutput);
    if (out.data != x.data && overlaps(x, count, out, count)) return overlap(env, kPartOfInput);
    return true;
  }

  bool is_empty() const { return sizes.count == 0; }
  int64_t elements() const { return 2 * sizes.count; }

  template <class T>
  cpu::Status on_cpu(int threads, bool is_new, Control* control) const {
    return cpu::softmax(x.as<const T>(), out.as<T>(), {sizes.outer, sizes.k, sizes.inner}, threads, is_new, control);
  }
  template <class T>
  cuda::Error on_gpu(cuda::Environment& environment, int device, Control* control) const {
    return cuda::softmax(environment, device, x.as<const T>(), out.as<T>(), {sizes.outer, sizes.k, sizes.inner},
                         control);
  }
};

// x, max, argmax | undefined, outer, k, inner
struct RowMaxCall {
  static constexpr size_t kArguments = 6, kArrays = 3;

  View x, max, argmax;  // argmax.data is null where none is wanted
  Sizes sizes;

  bool read(napi_env env, const napi_value* arguments) {
    argmax = {napi_int32_array, 0, nullptr};
    if (!read_view(env, arguments[0], &x) || !x.is_float()) return invalid_type(env, kExpectedFloats);
    if (!read_view(env, arguments[1], &max) || max.type != x.type) {
      return invalid_type(env, "Expected an array of x's type for out.max but received another value");
    }
    const bool wants_argmax = !is_absent(env, arguments[2]);
    if (wants_argmax && (!read_view(env, arguments[2], &argmax) || argmax.type != napi_int32_array)) {
      return invalid_type(env, "Expected Int32Array for out.argmax but received another value");
    }
    if (!read_sizes(env, arguments + 3, &sizes)) return false;
    const int64_t rows = sizes.rows, count = sizes.count;
    if (sizes.k > std::numeric_limits<int32_t>::max()) return out_of_range(env, kLongRow);
    if (!holds(x, count)) return shape_mismatch(env, kShortInput);
    if (!holds(max, rows)) return shape_mismatch(env, kShortMax);
    if (wants_argmax && !holds(argmax, rows)) return shape_mismatch(env, kShortArgmax);
    const int64_t indices = wants_argmax ? rows : 0;
    if (overlaps(x, count, max, rows)) return overlap(env, kMaxOverlaps);
    if (overlaps(x, count, argmax, indices)) return overlap(env, kArgmaxOverlaps);
    if (overlaps(max, rows, argmax, indices)) return overlap(env, kArgmaxOverlapsMax);
    return true;
  }

  bool is_empty() const { return sizes.rows == 0; }
  int64_t elements() const { return sizes.count + 2 * sizes.rows; }

  template <class T>
  cpu::Status on_cpu(int threads, bool /* is_new */, Control* control) const {
    return cpu::row_max(x.as<const T>(), max.as<T>(), argmax.as<int32_t>(), {sizes.outer, sizes.k, sizes.inner},
                        threads, control);
  }
  template <class T>
  cuda::Error on_gpu(cuda::Environment& environment, int device, Control* control) const {
    return cuda::row_max(environment, device, x.as<const T>(), max.as<T>(), argmax.as<int32_t>(),
                         {sizes.outer, sizes.k, sizes.inner}, control);
  }
};

// x, out, rows, k
struct JacobianCall {
  static constexpr size_t kArguments = 4, kArrays = 2;

  View x, out;
  JacobianSizes sizes;

  bool read(napi_env env, const napi_value* arguments) {
    if (!read_view(env, arguments[0], &x) || !x.is_float()) return invalid_type(env, kExpectedFloats);
    if (!read_view(env, arguments[1], &out) || out.type != x.type) {
      return invalid_type(env, "Expected an array of x's type for out but received another value");
    }
    if (!read_jacobian_sizes(env, arguments + 2, &sizes)) return false;
    if (!holds(x, sizes.count)) return shape_mismatch(env, kShortInput);
    if (!holds(out, sizes.entries)) return shape_mismatch(env, kShortJacobian);
    if (overlaps(x, sizes.count, out, sizes.entries)) return overlap(env, kOutputOverlaps);
    return true;
  }

  bool is_empty() const { return sizes.entries == 0; }
  int64_t elements() const { return sizes.count + sizes.entries; }

  template <class T>
  cpu::Status on_cpu(int threads, bool is_new, Control* control) const {
    return cpu::softmax_jacobian(x.as<const T>(), out.as<T>(), sizes.rows, sizes.k, threads, is_new, control);
  }
  template <class T>
  cuda::Error on_gpu(cuda::Environment& environment, int device, Control* control) const {
    return cuda::softmax_jacobian(environment, device, x.as<const T>(), out.as<T>(), sizes.rows, sizes.k, control);
  }
};

// The arguments of a call on the CPU: those of the operation, threads, and whether the result is new memory.
template <class Call>
struct CpuCall {
  Call of;
  int threads;
  bool is_new;

  // Gives the arrays too.
  bool read(napi_env env, napi_callback_info info, napi_value (*arrays)[kMostArrays] = nullptr) {
    const Arguments<Call::kArguments + 2> arguments(env, info);
    if (!of.read(env, arguments.value)) return false;
    if (!read_threads(env, arguments[Call::kArguments], &threads)) {
      return out_of_range(env, kExpectedThreads);
    }
    is_new = is_true(env, arguments[Call::kArguments + 1]);
    for (size_t i = 0; arrays != nullptr && i < Call::kArrays; i++) (*arrays)[i] = arguments[i];
    return true;
  }

  cpu::Status compute(Control* control) const {
    return of.x.type == napi_float32_array ? of.template on_cpu<float>(threads, is_new, control)
                                           : of.template on_cpu<double>(threads, is_new, control);
  }
};

// The arguments of a call on a GPU: its number, and those of the operation.
template <class Call>
struct GpuCall {
  int device;
  Call of;

  bool read(napi_env env, napi_callback_info info, napi_value (*arrays)[kMostArrays] = nullptr) {
    const Arguments<1 + Call::kArguments> arguments(env, info);
    if (!read_device(env, arguments[0], &device) || !of.read(env, arguments.value + 1)) return false;
    for (size_t i = 0; arrays != nullptr && i < Call::kArrays; i++) (*arrays)[i] = arguments[1 + i];
    return true;
  }

  cuda::Error compute(cuda::Environment& environment, Control* control) const {
    return of.x.type == napi_float32_array ? of.template on_gpu<float>(environment, device, control)
                                           : of.template on_gpu<double>(environment, device, control);
  }
};

}  // namespace softmax_native::addon
