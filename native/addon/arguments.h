// The arguments of a native call: how many there are, sizes and thread counts as integers, typed arrays as views.
// Raw Node-API, because this is the path of every call: node-addon-api costs about 70 ns more for two arrays.
#pragma once

#include <node_api.h>

#include <cstddef>
#include <cstdint>
#include <limits>

namespace softmax_native::addon {

// For a status that changes nothing about what is done next. All others are checked.
inline void ignore(napi_status) {}

// The arguments that were passed, `undefined` for those that were not. Should Node-API refuse to tell, null for all of
// them: it is no value of any type.
template <size_t expected>
struct Arguments {
  napi_value value[expected] = {};

  Arguments(napi_env env, napi_callback_info info) {
    size_t count = expected;
    ignore(napi_get_cb_info(env, info, &count, value, nullptr, nullptr));
  }
  napi_value operator[](size_t i) const { return value[i]; }
};

// A typed array's memory, good until JavaScript runs again. A detached or out-of-bounds array has length 0 (its
// pointer may then be anything), so a check of `length` is all that the memory's safety needs.
struct View {
  napi_typedarray_type type;
  size_t length;
  void* data;

  bool is_float() const { return type == napi_float32_array || type == napi_float64_array; }
  size_t element_size() const { return type == napi_float64_array ? sizeof(double) : sizeof(float); }
  template <class T>
  T* as() const {
    return static_cast<T*>(data);
  }
};

// False for anything that is not a typed array. Node leaves the type as it was where Node-API has no name for it, as
// some versions do with a Float16Array: it is then one that no call takes.
inline bool read_view(napi_env env, napi_value value, View* view) {
  view->type = napi_uint8_array;
  return napi_get_typedarray_info(env, value, &view->type, &view->length, &view->data, nullptr, nullptr) == napi_ok;
}

inline bool is_absent(napi_env env, napi_value value) {
  napi_valuetype type;
  return napi_typeof(env, value, &type) == napi_ok && (type == napi_undefined || type == napi_null);
}

// False for anything but true.
inline bool is_true(napi_env env, napi_value value) {
  bool is_set = false;
  return napi_get_value_bool(env, value, &is_set) == napi_ok && is_set;
}

// False for anything but a number that is not negative. JavaScript has already refused fractions.
inline bool read_size(napi_env env, napi_value value, int64_t* size) {
  return napi_get_value_int64(env, value, size) == napi_ok && *size >= 0;
}

inline bool read_threads(napi_env env, napi_value value, int* threads) {
  int32_t count;
  if (napi_get_value_int32(env, value, &count) != napi_ok || count < 1) return false;
  *threads = count;
  return true;
}

// False when a * b does not fit. (A division to find that out would take longer than the rest of the check.)
inline bool multiply(int64_t a, int64_t b, int64_t* product) { return !__builtin_mul_overflow(a, b, product); }

// Compares addresses, not buffers: two SharedArrayBuffer objects may stand for one memory.
inline bool ranges_overlap(const void* a, size_t a_bytes, const void* b, size_t b_bytes) {
  const auto a_begin = reinterpret_cast<uintptr_t>(a);
  const auto b_begin = reinterpret_cast<uintptr_t>(b);
  return a_begin < b_begin + b_bytes && b_begin < a_begin + a_bytes && a_bytes != 0 && b_bytes != 0;
}

// True when the first `count` elements of the one overlap the first `other_count` of the other.
inline bool overlaps(const View& view, int64_t count, const View& other, int64_t other_count) {
  return ranges_overlap(view.data, static_cast<size_t>(count) * view.element_size(), other.data,
                        static_cast<size_t>(other_count) * other.element_size());
}

inline bool holds(const View& view, int64_t count) { return static_cast<uint64_t>(count) <= view.length; }

}  // namespace softmax_native::addon
