// Calls in the background: the operations as jobs of the process's work queues, with a promise for each.
#pragma once

#include <node_api.h>

namespace softmax_native::addon {

// Adds `jobs`, an object of functions; lib/binding.ts describes them.
void add_jobs(napi_env env, napi_value exports);

}  // namespace softmax_native::addon
