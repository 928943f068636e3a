#include "operations.h"

#include "arguments.h"
#include "cpu/cpu.h"
#include "errors.h"

namespace softmax_native::addon {
namespace {

// The arguments that were passed, `undefined` for those that were not.
template <size_t expected>
struct Arguments {
  napi_value value[expected];

  Arguments(napi_env env, napi_callback_info info) {
    size_t count = expected;
    napi_get_cb_info(env, info, &count, value, nullptr, nullptr);
  }
  napi_value operator[](size_t i) const { return value[i]; }
};

// Calls `operation` with x's memory as a pointer to what it holds.
template <class Operation>
napi_value run(napi_env env, const View& x, Operation operation) {
  const cpu::Status status =
      x.type == napi_float32_array ? operation(static_cast<float*>(x.data)) : operation(static_cast<double*>(x.data));
  return status == cpu::Status::out_of_memory ? out_of_memory(env) : nullptr;
}

bool read_layout(napi_env env, napi_value outer, napi_value k, napi_value inner, cpu::Layout* layout) {
  return read_size(env, outer, &layout->outer) && read_size(env, k, &layout->k) &&
         read_size(env, inner, &layout->inner);
}

constexpr auto kExpectedFloats = "Expected Float32Array or Float64Array for x but received another value";
constexpr auto kExpectedSizes = "Expected integers of at least 0 for the sizes but received another value";
constexpr auto kExpectedThreads = "Expected an integer of at least 1 for threads but received another value";
constexpr auto kUnreachableSize = "Expected a number of elements below 2**63 for the sizes but received more";
constexpr auto kShortInput = "Expected as many elements as the sizes say for x but received fewer";

}  // namespace

napi_value softmax(napi_env env, napi_callback_info info) {
  const Arguments<6> arguments(env, info);
  View x, out;
  cpu::Layout layout;
  int threads;
  int64_t rows, count;

  if (!read_view(env, arguments[0], &x) || !x.is_float()) return invalid_type(env, kExpectedFloats);
  if (!read_view(env, arguments[1], &out) || out.type != x.type) {
    return invalid_type(env, "Expected an array of x's type for out but received another value");
  }
  if (!read_layout(env, arguments[2], arguments[3], arguments[4], &layout)) return out_of_range(env, kExpectedSizes);
  if (!read_threads(env, arguments[5], &threads)) return out_of_range(env, kExpectedThreads);
  if (!multiply(layout.outer, layout.inner, &rows) || !multiply(rows, layout.k, &count)) {
    return out_of_range(env, kUnreachableSize);
  }
  if (!holds(x, count)) return shape_mismatch(env, kShortInput);
  if (!holds(out, count)) {
    return shape_mismatch(env, "Expected as many elements as x has for out but received fewer");
  }
  if (out.data != x.data && overlaps(x, count, out, count)) {
    return overlap(env, "Expected x itself or memory apart from it for out but received a part of x's memory");
  }
  if (count == 0) return nullptr;

  return run(env, x, [&](auto* logits) {
    return cpu::softmax(logits, static_cast<decltype(logits)>(out.data), layout, threads);
  });
}

napi_value row_max(napi_env env, napi_callback_info info) {
  const Arguments<7> arguments(env, info);
  View x, max;
  View argmax{napi_int32_array, 0, nullptr};
  cpu::Layout layout;
  int threads;
  int64_t rows, count;

  if (!read_view(env, arguments[0], &x) || !x.is_float()) return invalid_type(env, kExpectedFloats);
  if (!read_view(env, arguments[1], &max) || max.type != x.type) {
    return invalid_type(env, "Expected an array of x's type for out.max but received another value");
  }
  const bool wants_argmax = !is_absent(env, arguments[2]);
  if (wants_argmax && (!read_view(env, arguments[2], &argmax) || argmax.type != napi_int32_array)) {
    return invalid_type(env, "Expected Int32Array for out.argmax but received another value");
  }
  if (!read_layout(env, arguments[3], arguments[4], arguments[5], &layout)) return out_of_range(env, kExpectedSizes);
  if (!read_threads(env, arguments[6], &threads)) return out_of_range(env, kExpectedThreads);
  if (layout.k > std::numeric_limits<int32_t>::max()) {
    return out_of_range(env, "Expected at most 2**31 - 1 elements in a row for x but received more");
  }
  if (!multiply(layout.outer, layout.inner, &rows) || !multiply(rows, layout.k, &count)) {
    return out_of_range(env, kUnreachableSize);
  }
  if (!holds(x, count)) return shape_mismatch(env, kShortInput);
  if (!holds(max, rows)) {
    return shape_mismatch(env, "Expected an element for every row for out.max but received fewer");
  }
  if (wants_argmax && !holds(argmax, rows)) {
    return shape_mismatch(env, "Expected an element for every row for out.argmax but received fewer");
  }
  const int64_t indices = wants_argmax ? rows : 0;
  if (overlaps(x, count, max, rows)) {
    return overlap(env, "Expected memory apart from x for out.max but received a part of x's memory");
  }
  if (overlaps(x, count, argmax, indices)) {
    return overlap(env, "Expected memory apart from x for out.argmax but received a part of x's memory");
  }
  if (overlaps(max, rows, argmax, indices)) {
    return overlap(env, "Expected memory apart from out.max for out.argmax but received a part of it");
  }
  if (rows == 0) return nullptr;

  return run(env, x, [&](auto* logits) {
    return cpu::row_max(logits, static_cast<decltype(logits)>(max.data), static_cast<int32_t*>(argmax.data), layout,
                        threads);
  });
}

napi_value softmax_jacobian(napi_env env, napi_callback_info info) {
  const Arguments<5> arguments(env, info);
  View x, out;
  int64_t rows, k, count, entries;
  int threads;

  if (!read_view(env, arguments[0], &x) || !x.is_float()) return invalid_type(env, kExpectedFloats);
  if (!read_view(env, arguments[1], &out) || out.type != x.type) {
    return invalid_type(env, "Expected an array of x's type for out but received another value");
  }
  if (!read_size(env, arguments[2], &rows) || !read_size(env, arguments[3], &k)) {
    return out_of_range(env, kExpectedSizes);
  }
  if (!read_threads(env, arguments[4], &threads)) return out_of_range(env, kExpectedThreads);
  if (!multiply(rows, k, &count) || !multiply(count, k, &entries)) return out_of_range(env, kUnreachableSize);
  if (!holds(x, count)) return shape_mismatch(env, kShortInput);
  if (!holds(out, entries)) {
    return shape_mismatch(env, "Expected rows * k * k elements for out but received fewer");
  }
  if (overlaps(x, count, out, entries)) {
    return overlap(env, "Expected memory apart from x for out but received a part of x's memory");
  }
  if (entries == 0) return nullptr;

  return run(env, x, [&](auto* logits) {
    return cpu::softmax_jacobian(logits, static_cast<decltype(logits)>(out.data), rows, k, threads);
  });
}

}  // namespace softmax_native::addon
