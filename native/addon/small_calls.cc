// Small calls take no arguments. To get at an array of JavaScript's costs more than to compute a few elements, and a new
// array of 64 bytes or less, which lies in the garbage collector's heap, is first given memory of its own. So lib/cpu.ts
// writes the sizes and the logits into typed arrays over one buffer, and reads the results from others over it:
//
//   sizes             outer, k, inner, and 1 for float64 or 0 for float32
//   logits            as float32 and as float64
//   results           the probabilities, Jacobians or maxima, as float32 and as float64
//   indices           of the maxima
//
// Each environment keeps such a buffer until its end; its functions know the address.
#include "small_calls.h"

#include "array_calls.h"
#include "cpu/cpu.h"

namespace softmax_native::addon {
namespace {

// An ArrayBuffer's memory is aligned for every number.
struct Room {
  alignas(8) int32_t sizes[4];
  alignas(8) char logits[1024];
  alignas(8) char results[2048];
  int32_t indices[128];
};

constexpr auto kTooLarge = "Expected sizes of a few elements for a small call but received others";

struct SmallCall {
  Room* room;
  Sizes sizes;
  bool is_double;

  int64_t element_size() const { return is_double ? sizeof(double) : sizeof(float); }
};

// The sizes of a call whose logits have room; others leave an exception pending and give false.
bool read_small_call(napi_env env, napi_callback_info info, SmallCall* call) {
  void* room = nullptr;
  ignore(napi_get_cb_info(env, info, nullptr, nullptr, nullptr, &room));
  call->room = static_cast<Room*>(room);
  const int32_t* sizes = call->room->sizes;
  call->is_double = sizes[3] != 0;
  constexpr int32_t kMost = sizeof(Room::logits) / sizeof(float);
  // Products of three such sizes do not overflow.
  for (int i = 0; i < 3; i++) {
    if (sizes[i] < 0 || sizes[i] > kMost) return out_of_range(env, kTooLarge);
  }
  const int64_t outer = sizes[0], k = sizes[1], inner = sizes[2];
  call->sizes = {outer, k, inner, outer * inner, outer * inner * k};
  const auto room_for_rows = static_cast<int64_t>(sizeof(Room::indices) / sizeof(int32_t));
  if (call->sizes.rows > room_for_rows ||
      call->sizes.count * call->element_size() > static_cast<int64_t>(sizeof(Room::logits))) {
    return out_of_range(env, kTooLarge);
  }
  return true;
}

// Calls operation(logits, results).
template <class Operation>
napi_value run(napi_env env, const SmallCall& call, Operation operation) {
  const auto with = [&](auto type) {
    using T = decltype(type);
    return operation(reinterpret_cast<const T*>(call.room->logits), reinterpret_cast<T*>(call.room->results));
  };
  const cpu::Status status = call.is_double ? with(double()) : with(float());
  if (status == cpu::Status::out_of_memory) return out_of_memory(env);
  return nullptr;
}

napi_value softmax(napi_env env, napi_callback_info info) {
  SmallCall call;
  if (!read_small_call(env, info, &call)) return nullptr;
  const Sizes& sizes = call.sizes;
  return run(env, call, [&](const auto* logits, auto* results) {
    return cpu::softmax(logits, results, {sizes.outer, sizes.k, sizes.inner}, 1);
  });
}

napi_value row_max(napi_env env, napi_callback_info info) {
  SmallCall call;
  if (!read_small_call(env, info, &call)) return nullptr;
  const Sizes& sizes = call.sizes;
  return run(env, call, [&](const auto* logits, auto* results) {
    return cpu::row_max(logits, results, call.room->indices, {sizes.outer, sizes.k, sizes.inner}, 1);
  });
}

napi_value softmax_jacobian(napi_env env, napi_callback_info info) {
  SmallCall call;
  if (!read_small_call(env, info, &call)) return nullptr;
  const Sizes& sizes = call.sizes;
  if (sizes.count * sizes.k * call.element_size() > static_cast<int64_t>(sizeof(Room::results))) {
    return out_of_range(env, kTooLarge);
  }
  return run(env, call, [&](const auto* logits, auto* results) {
    return cpu::softmax_jacobian(logits, results, sizes.rows, sizes.k, 1);
  });
}

struct Part {
  const char* name;
  napi_typedarray_type type;
  size_t offset, length;
};

constexpr Part kParts[] = {
    {"sizes", napi_int32_array, offsetof(Room, sizes), 4},
    {"logits32", napi_float32_array, offsetof(Room, logits), sizeof(Room::logits) / sizeof(float)},
    {"logits64", napi_float64_array, offsetof(Room, logits), sizeof(Room::logits) / sizeof(double)},
    {"results32", napi_float32_array, offsetof(Room, results), sizeof(Room::results) / sizeof(float)},
    {"results64", napi_float64_array, offsetof(Room, results), sizeof(Room::results) / sizeof(double)},
    {"indices", napi_int32_array, offsetof(Room, indices), sizeof(Room::indices) / sizeof(int32_t)},
};

constexpr struct {
  const char* name;
  napi_callback function;
} kFunctions[] = {{"softmax", softmax}, {"rowMax", row_max}, {"softmaxJacobian", softmax_jacobian}};

bool set(napi_env env, napi_value object, const char* name, napi_status made, const napi_value& value) {
  return made == napi_ok && napi_set_named_property(env, object, name, value) == napi_ok;
}

bool make(napi_env env, napi_value exports) {
  napi_value small, buffer, value;
  napi_ref until_the_end;
  void* room;
  if (napi_create_object(env, &small) != napi_ok) return false;
  if (napi_create_arraybuffer(env, sizeof(Room), &room, &buffer) != napi_ok) return false;
  if (napi_create_reference(env, buffer, 1, &until_the_end) != napi_ok) return false;
  for (const auto& [name, type, offset, length] : kParts) {
    if (!set(env, small, name, napi_create_typedarray(env, type, length, buffer, offset, &value), value)) return false;
  }
  for (const auto& [name, function] : kFunctions) {
    if (!set(env, small, name, napi_create_function(env, name, NAPI_AUTO_LENGTH, function, room, &value), value)) {
      return false;
    }
  }
  return napi_set_named_property(env, exports, "small", small) == napi_ok;
}

}  // namespace

void add_small_calls(napi_env env, napi_value exports) {
  if (!make(env, exports)) not_made(env, "Could not make the buffer and functions of small calls");
}

}  // namespace softmax_native::addon
