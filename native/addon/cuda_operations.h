// The native functions for GPUs, as the object `cuda` of the module: in a build without CUDA too, where only info() and
// takeWarning() do not throw.
#pragma once

#include <napi.h>

namespace softmax_native::addon {

void add_cuda(Napi::Env env, Napi::Object exports);

}  // namespace softmax_native::addon
