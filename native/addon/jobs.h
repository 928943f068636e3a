// Calls in the background: the operations as jobs of the process's work queues, with a promise for each.
#pragma once

#include <node_api.h>

namespace softmax_native::addon {

// Adds `jobs`, an object of functions; lib/binding.ts describes them.
void add_jobs(napi_env env, napi_value exports);

#ifdef SOFTMAX_EMULATED_CUDA
// For tests that go on with other devices, while no job is under way: ends what the jobs have on the GPUs.
void end_gpu_of_jobs();
#endif

}  // namespace softmax_native::addon
