// Errors of the native calls: JavaScript errors with a `code`, in the words that lib/errors.ts uses.
// Each function leaves the exception pending and returns null, which a Node-API callback returns at once.
#pragma once

#include <node_api.h>

namespace softmax_native::addon {

inline napi_value invalid_type(napi_env env, const char* text) {
  napi_throw_type_error(env, "ERR_INVALID_ARG_TYPE", text);
  return nullptr;
}

inline napi_value out_of_range(napi_env env, const char* text) {
  napi_throw_range_error(env, "ERR_OUT_OF_RANGE", text);
  return nullptr;
}

inline napi_value shape_mismatch(napi_env env, const char* text) {
  napi_throw_range_error(env, "ERR_SHAPE_MISMATCH", text);
  return nullptr;
}

inline napi_value overlap(napi_env env, const char* text) {
  napi_throw_range_error(env, "ERR_OVERLAP", text);
  return nullptr;
}

inline napi_value out_of_memory(napi_env env) {
  napi_throw_range_error(env, "ERR_OUT_OF_MEMORY",
                         "Expected working memory for the call but received none from the system");
  return nullptr;
}

}  // namespace softmax_native::addon
