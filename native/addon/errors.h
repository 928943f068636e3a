// Errors of the native calls: JavaScript errors with a `code`, in the words that lib/errors.ts uses.
// Each function leaves the exception pending and returns Refused, which a Node-API callback returns at once as null, and
// a function that reads arguments as false.
#pragma once

#include <node_api.h>

namespace softmax_native::addon {

struct Refused {
  operator napi_value() const { return nullptr; }
  operator bool() const { return false; }
};

inline Refused invalid_type(napi_env env, const char* text) {
  napi_throw_type_error(env, "ERR_INVALID_ARG_TYPE", text);
  return {};
}

inline Refused out_of_range(napi_env env, const char* text) {
  napi_throw_range_error(env, "ERR_OUT_OF_RANGE", text);
  return {};
}

inline Refused shape_mismatch(napi_env env, const char* text) {
  napi_throw_range_error(env, "ERR_SHAPE_MISMATCH", text);
  return {};
}

inline Refused overlap(napi_env env, const char* text) {
  napi_throw_range_error(env, "ERR_OVERLAP", text);
  return {};
}

constexpr auto kNoWorkingMemory = "Expected working memory for the call but received none from the system";

inline Refused out_of_memory(napi_env env) {
  napi_throw_range_error(env, "ERR_OUT_OF_MEMORY", kNoWorkingMemory);
  return {};
}

// For what Node-API refuses to make.
inline Refused not_made(napi_env env, const char* text) {
  // The exception that it may have left says more.
  bool pending = false;
  if (napi_is_exception_pending(env, &pending) == napi_ok && pending) return {};
  napi_throw_error(env, nullptr, text);
  return {};
}

inline Refused disposed(napi_env env, const char* text) {
  napi_throw_type_error(env, "ERR_DISPOSED", text);
  return {};
}

}  // namespace softmax_native::addon
