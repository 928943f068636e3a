// Calls on a few elements of the host's memory: `small` of the native module.
#pragma once

#include <node_api.h>

namespace softmax_native::addon {

// Adds exports.small, see lib/binding.ts. Leaves an exception pending where it cannot.
void add_small_calls(napi_env env, napi_value exports);

}  // namespace softmax_native::addon
