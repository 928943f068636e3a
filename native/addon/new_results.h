// The memory of large new results.
#pragma once

#include <node_api.h>

namespace softmax_native::addon {

// prepareResult(array): called with a new array before its first element is written. It changes what the array's pages
// cost, nothing else, and never throws.
napi_value prepare_result(napi_env env, napi_callback_info info);

}  // namespace softmax_native::addon
