#include "cuda_operations.h"

#include "array_calls.h"
#include "cuda_environment.h"
#include "jobs.h"

namespace softmax_native::addon {
namespace {

// The element types by their number in the native calls.
constexpr struct {
  napi_typedarray_type type;
  int64_t size;
} kTypes[] = {{napi_float32_array, 4}, {napi_float64_array, 8}, {napi_int32_array, 4}};
constexpr int kFloat32 = 0, kFloat64 = 1, kInt32 = 2;

constexpr auto kExpectedType = "Expected the number of an element type for dtype but received another value";
constexpr auto kExpectedBytes = "Expected an integer of at least 0 for the size but received another value";
constexpr auto kExpectedArray =
    "Expected Float32Array, Float64Array or Int32Array for the array but received another value";
constexpr auto kExpectedTensor = "Expected a tensor on a device, made in this thread, but received another value";
constexpr auto kNoResult = "Could not make the result of a native function";
constexpr auto kShortTensor = "Expected as many bytes as the array has for the tensor but received fewer";

bool read_type(napi_env env, napi_value value, int greatest, int* type) {
  int32_t number;
  if (napi_get_value_int32(env, value, &number) != napi_ok || number < 0 || number > greatest) {
    return invalid_type(env, kExpectedType);
  }
  *type = number;
  return true;
}

// A tensor of this environment whose memory was not freed.
bool read_tensor(napi_env env, const CudaEnvironment& self, napi_value value, cuda::Tensor** tensor) {
  *tensor = self.tensor_of(env, value);
  if (*tensor == nullptr) return invalid_type(env, kExpectedTensor);
  if ((*tensor)->disposed) {
    return disposed(env, "Expected a tensor that is in use but received one that was disposed of");
  }
  return true;
}

bool read_array(napi_env env, napi_value value, View* view) {
  if (!read_view(env, value, view) || (!view->is_float() && view->type != napi_int32_array)) {
    return invalid_type(env, kExpectedArray);
  }
  return true;
}

int64_t bytes_of(const View& view) { return static_cast<int64_t>(view.length * view.element_size()); }

bool holds(const cuda::Tensor& tensor, int64_t count, int type) { return count <= tensor.bytes / kTypes[type].size; }

bool overlaps(const cuda::Tensor& a, int64_t a_count, int a_type, const cuda::Tensor& b, int64_t b_count, int b_type) {
  return ranges_overlap(a.pointer, static_cast<size_t>(a_count * kTypes[a_type].size), b.pointer,
                        static_cast<size_t>(b_count * kTypes[b_type].size));
}

// What the kernels need of every tensor of a call: elements at their alignment, on one device.
bool fit_together(napi_env env, const cuda::Tensor& x, const cuda::Tensor& other, int type) {
  if (other.device != x.device) {
    return invalid_type(env, "Expected tensors on one device but received tensors on several");
  }
  if (reinterpret_cast<uintptr_t>(other.pointer) % static_cast<uintptr_t>(kTypes[type].size) != 0) {
    return out_of_range(env, "Expected a pointer aligned to its elements but received another");
  }
  return true;
}

napi_value throw_if(napi_env env, const cuda::Error& error) { return error ? cuda_failure(env, error) : nullptr; }

// { built, runtimeVersion, driverVersion, minimumDriver, error?, devices }
Napi::Value info(const Napi::CallbackInfo& call) {
  const Napi::Env env = call.Env();
  const cuda::Info info = cuda::info();
  Napi::Array devices = Napi::Array::New(env);
  for (const cuda::DeviceInfo& device : info.devices) {
    Napi::Object object = Napi::Object::New(env);
    const int capability = device.compute_capability;
    object.Set("name", device.name);
    object.Set("computeCapability", std::to_string(capability / 10) + "." + std::to_string(capability % 10));
    object.Set("memory", static_cast<double>(device.memory));
    object.Set("multiprocessors", device.multiprocessors);
    if (!device.reason.empty()) object.Set("reason", device.reason);
    devices.Set(devices.Length(), object);
  }
  Napi::Object result = Napi::Object::New(env);
  result.Set("built", info.built);
  result.Set("runtimeVersion", info.runtime_version);
  result.Set("driverVersion", info.driver_version);
  result.Set("minimumDriver", info.minimum_driver);
  if (info.error) {
    Napi::Object error = Napi::Object::New(env);
    error.Set("code", info.error.code);
    error.Set("name", cuda::error_name(info.error.code));
    error.Set("text", cuda::error_text(info.error.code));
    result.Set("error", error);
  }
  result.Set("devices", devices);
  return result;
}

Napi::Value take_warning(const Napi::CallbackInfo& call) {
  return Napi::Boolean::New(call.Env(), cuda::take_warning());
}

// start(device)
napi_value start(napi_env env, napi_callback_info info) {
  const Arguments<1> arguments(env, info);
  int device;
  if (!read_device(env, arguments[0], &device)) return nullptr;
  return throw_if(env, cuda::start(*CudaEnvironment::of(env), device));
}

// isStarted(device)
napi_value is_started(napi_env env, napi_callback_info info) {
  const Arguments<1> arguments(env, info);
  int device;
  if (!read_device(env, arguments[0], &device)) return nullptr;
  napi_value result;
  if (napi_get_boolean(env, cuda::is_started(device), &result) != napi_ok) return not_made(env, kNoResult);
  return result;
}

// costs(device): { upload, download, staging, launch }
napi_value costs(napi_env env, napi_callback_info info) {
  const Arguments<1> arguments(env, info);
  int device;
  if (!read_device(env, arguments[0], &device)) return nullptr;
  cuda::Costs costs{};
  if (const cuda::Error error = cuda::costs(*CudaEnvironment::of(env), device, &costs)) return cuda_failure(env, error);
  Napi::Object result = Napi::Object::New(env);
  result.Set("upload", costs.upload);
  result.Set("download", costs.download);
  result.Set("staging", costs.staging);
  result.Set("launch", costs.launch);
  return result;
}

// softmax(device, x, out, outer, k, inner); out may be exactly x.
// rowMax(device, x, max, argmax | undefined, outer, k, inner)
// softmaxJacobian(device, x, out, rows, k)
template <class Call>
napi_value compute(napi_env env, napi_callback_info info) {
  GpuCall<Call> call;
  if (!call.read(env, info) || call.of.is_empty()) return nullptr;
  return throw_if(env, call.compute(*CudaEnvironment::of(env), nullptr));
}

// allocate(device, bytes): handle
napi_value allocate(napi_env env, napi_callback_info info) {
  const Arguments<2> arguments(env, info);
  CudaEnvironment& self = CudaEnvironment::of(env);
  int device;
  int64_t bytes;
  cuda::Tensor* tensor = nullptr;
  if (!read_device(env, arguments[0], &device)) return nullptr;
  if (!read_size(env, arguments[1], &bytes)) return out_of_range(env, kExpectedBytes);
  if (const cuda::Error error = cuda::allocate(*self, device, bytes, &tensor)) return cuda_failure(env, error);
  return self.handle_of(env, tensor);
}

// fromPointer(device, pointer, bytes): handle
napi_value from_pointer(napi_env env, napi_callback_info info) {
  const Arguments<3> arguments(env, info);
  CudaEnvironment& self = CudaEnvironment::of(env);
  int device;
  uint64_t pointer;
  bool fits;
  int64_t bytes;
  cuda::Tensor* tensor = nullptr;
  if (!read_device(env, arguments[0], &device)) return nullptr;
  if (napi_get_value_bigint_uint64(env, arguments[1], &pointer, &fits) != napi_ok || !fits) {
    return invalid_type(env, "Expected a bigint from 0 to 2**64 - 1 for pointer but received another value");
  }
  if (!read_size(env, arguments[2], &bytes)) return out_of_range(env, kExpectedBytes);
  const cuda::Error error = cuda::from_pointer(*self, device, pointer, bytes, &tensor);
  return error ? cuda_failure(env, error) : self.handle_of(env, tensor);
}

// free(handle): any number of times
napi_value free_tensor(napi_env env, napi_callback_info info) {
  const Arguments<1> arguments(env, info);
  CudaEnvironment& self = CudaEnvironment::of(env);
  cuda::Tensor* tensor = self.tensor_of(env, arguments[0]);
  if (tensor == nullptr) return invalid_type(env, kExpectedTensor);
  self.free(env, *tensor);
  return nullptr;
}

// pointer(handle): bigint
napi_value pointer(napi_env env, napi_callback_info info) {
  const Arguments<1> arguments(env, info);
  cuda::Tensor* tensor;
  if (!read_tensor(env, CudaEnvironment::of(env), arguments[0], &tensor)) return nullptr;
  napi_value result;
  if (napi_create_bigint_uint64(env, reinterpret_cast<uintptr_t>(tensor->pointer), &result) != napi_ok) {
    return not_made(env, kNoResult);
  }
  return result;
}

// upload(handle, array)
napi_value upload(napi_env env, napi_callback_info info) {
  const Arguments<2> arguments(env, info);
  cuda::Tensor* tensor;
  View array;
  if (!read_tensor(env, CudaEnvironment::of(env), arguments[0], &tensor)) return nullptr;
  if (!read_array(env, arguments[1], &array)) return nullptr;
  if (bytes_of(array) > tensor->bytes) return shape_mismatch(env, kShortTensor);
  if (array.length == 0) return nullptr;
  return throw_if(env, cuda::upload(*tensor, array.data, bytes_of(array)));
}

// downloadSync(handle, array, length): as many elements of the array, whose others stay as they are
napi_value download_sync(napi_env env, napi_callback_info info) {
  const Arguments<3> arguments(env, info);
  cuda::Tensor* tensor;
  View array;
  int64_t length;
  if (!read_tensor(env, CudaEnvironment::of(env), arguments[0], &tensor)) return nullptr;
  if (!read_array(env, arguments[1], &array)) return nullptr;
  if (!read_size(env, arguments[2], &length)) return out_of_range(env, kExpectedSizes);
  if (!holds(array, length)) return shape_mismatch(env, "Expected as many elements as asked for but received fewer");
  const int64_t bytes = length * static_cast<int64_t>(array.element_size());
  if (bytes > tensor->bytes) return shape_mismatch(env, kShortTensor);
  return length == 0 ? nullptr : throw_if(env, cuda::download(*tensor, array.data, bytes));
}

// download(handle, array): a promise. Nobody may use the array until it is kept, nor detach it.
napi_value download(napi_env env, napi_callback_info info) {
  const Arguments<2> arguments(env, info);
  CudaEnvironment& self = CudaEnvironment::of(env);
  cuda::Tensor* tensor;
  View array;
  if (!read_tensor(env, self, arguments[0], &tensor)) return nullptr;
  if (!read_array(env, arguments[1], &array)) return nullptr;
  if (bytes_of(array) > tensor->bytes) return shape_mismatch(env, kShortTensor);
  return self.promise(env, tensor->device, tensor, arguments[1], array.data, bytes_of(array));
}

// synchronize(device): a promise
napi_value synchronize(napi_env env, napi_callback_info info) {
  const Arguments<1> arguments(env, info);
  int device;
  if (!read_device(env, arguments[0], &device)) return nullptr;
  return CudaEnvironment::of(env).promise(env, device, nullptr, nullptr, nullptr, 0);
}

// tensorSoftmax(x, out, dtype, outer, k, inner); out may be exactly x.
napi_value tensor_softmax(napi_env env, napi_callback_info info) {
  const Arguments<6> arguments(env, info);
  const CudaEnvironment& self = CudaEnvironment::of(env);
  cuda::Tensor *x, *out;
  int type;
  Sizes sizes;
  if (!read_tensor(env, self, arguments[0], &x) || !read_tensor(env, self, arguments[1], &out)) return nullptr;
  if (!read_type(env, arguments[2], kFloat64, &type) || !read_sizes(env, arguments.value + 3, &sizes)) return nullptr;
  if (!fit_together(env, *x, *x, type) || !fit_together(env, *x, *out, type)) return nullptr;
  if (!holds(*x, sizes.count, type)) return shape_mismatch(env, kShortInput);
  if (!holds(*out, sizes.count, type)) return shape_mismatch(env, kShortOutput);
  if (out->pointer != x->pointer && overlaps(*x, sizes.count, type, *out, sizes.count, type)) {
    return overlap(env, kPartOfInput);
  }
  if (sizes.count == 0) return nullptr;
  const cuda::Layout layout{sizes.outer, sizes.k, sizes.inner};
  return throw_if(env,
                  type == kFloat32 ? cuda::softmax<float>(*x, *out, layout) : cuda::softmax<double>(*x, *out, layout));
}

// tensorRowMax(x, max, argmax | undefined, dtype, outer, k, inner)
napi_value tensor_row_max(napi_env env, napi_callback_info info) {
  const Arguments<7> arguments(env, info);
  const CudaEnvironment& self = CudaEnvironment::of(env);
  cuda::Tensor *x, *max, *argmax = nullptr;
  int type;
  Sizes sizes;
  if (!read_tensor(env, self, arguments[0], &x) || !read_tensor(env, self, arguments[1], &max)) return nullptr;
  if (!is_absent(env, arguments[2]) && !read_tensor(env, self, arguments[2], &argmax)) return nullptr;
  if (!read_type(env, arguments[3], kFloat64, &type) || !read_sizes(env, arguments.value + 4, &sizes)) return nullptr;
  if (!fit_together(env, *x, *x, type) || !fit_together(env, *x, *max, type)) return nullptr;
  if (sizes.k > std::numeric_limits<int32_t>::max()) return out_of_range(env, kLongRow);
  if (!holds(*x, sizes.count, type)) return shape_mismatch(env, kShortInput);
  if (!holds(*max, sizes.rows, type)) return shape_mismatch(env, kShortMax);
  if (overlaps(*x, sizes.count, type, *max, sizes.rows, type)) return overlap(env, kMaxOverlaps);
  if (argmax != nullptr) {
    if (!fit_together(env, *x, *argmax, kInt32)) return nullptr;
    if (!holds(*argmax, sizes.rows, kInt32)) return shape_mismatch(env, kShortArgmax);
    if (overlaps(*x, sizes.count, type, *argmax, sizes.rows, kInt32)) return overlap(env, kArgmaxOverlaps);
    if (overlaps(*max, sizes.rows, type, *argmax, sizes.rows, kInt32)) return overlap(env, kArgmaxOverlapsMax);
  }
  if (sizes.rows == 0) return nullptr;
  const cuda::Layout layout{sizes.outer, sizes.k, sizes.inner};
  return throw_if(env, type == kFloat32 ? cuda::row_max<float>(*x, *max, argmax, layout)
                                        : cuda::row_max<double>(*x, *max, argmax, layout));
}

// tensorSoftmaxJacobian(x, out, dtype, rows, k)
napi_value tensor_softmax_jacobian(napi_env env, napi_callback_info info) {
  const Arguments<5> arguments(env, info);
  const CudaEnvironment& self = CudaEnvironment::of(env);
  cuda::Tensor *x, *out;
  int type;
  JacobianSizes sizes;
  if (!read_tensor(env, self, arguments[0], &x) || !read_tensor(env, self, arguments[1], &out)) return nullptr;
  if (!read_type(env, arguments[2], kFloat64, &type)) return nullptr;
  if (!read_jacobian_sizes(env, arguments.value + 3, &sizes)) return nullptr;
  if (!fit_together(env, *x, *x, type) || !fit_together(env, *x, *out, type)) return nullptr;
  if (!holds(*x, sizes.count, type)) return shape_mismatch(env, kShortInput);
  if (!holds(*out, sizes.entries, type)) return shape_mismatch(env, kShortJacobian);
  if (overlaps(*x, sizes.count, type, *out, sizes.entries, type)) return overlap(env, kOutputOverlaps);
  if (sizes.entries == 0) return nullptr;
  return throw_if(env, type == kFloat32 ? cuda::softmax_jacobian<float>(*x, *out, sizes.rows, sizes.k)
                                        : cuda::softmax_jacobian<double>(*x, *out, sizes.rows, sizes.k));
}

// allocatePinned(dtype, length): a typed array in page-locked memory; undefined where it has no elements, or where the
// runtime takes no memory of others, as it keeps all buffers in a heap of its own
napi_value allocate_pinned(napi_env env, napi_callback_info info) {
  const Arguments<2> arguments(env, info);
  CudaEnvironment& self = CudaEnvironment::of(env);
  int type;
  int64_t length, bytes;
  if (!read_type(env, arguments[0], kInt32, &type)) return nullptr;
  if (!read_size(env, arguments[1], &length)) return out_of_range(env, kExpectedBytes);
  if (!multiply(length, kTypes[type].size, &bytes)) return out_of_range(env, kUnreachableSize);
  if (bytes == 0) return nullptr;
  void* memory = nullptr;
  if (const cuda::Error error = cuda::allocate_page_locked(*self, bytes, &memory)) return cuda_failure(env, error);
  napi_value buffer, array;
  const napi_status status = self.page_locked_buffer(env, memory, bytes, &buffer);
  if (status == napi_no_external_buffers_allowed) return nullptr;
  if (status != napi_ok) return out_of_memory(env);
  if (napi_create_typedarray(env, kTypes[type].type, static_cast<size_t>(length), buffer, 0, &array) != napi_ok) {
    return not_made(env, kNoResult);
  }
  return array;
}

#ifdef SOFTMAX_EMULATED_CUDA
napi_value forget_devices(napi_env env, napi_callback_info) {
  end_gpu_of_jobs();
  cuda::forget_devices(*CudaEnvironment::of(env));
  return nullptr;
}

// beginAnew()
napi_value begin_anew(napi_env env, napi_callback_info) {
  CudaEnvironment::of(env).begin_anew();
  return nullptr;
}

// freeMemory(device): bytes
napi_value free_memory(napi_env env, napi_callback_info info) {
  const Arguments<1> arguments(env, info);
  int device;
  int64_t bytes = 0;
  if (!read_device(env, arguments[0], &device)) return nullptr;
  if (const cuda::Error error = cuda::free_memory(*CudaEnvironment::of(env), device, &bytes)) {
    return cuda_failure(env, error);
  }
  return Napi::Number::New(env, static_cast<double>(bytes));
}

// currentDevice(): number
napi_value current_device(napi_env env, napi_callback_info) { return Napi::Number::New(env, cuda::current_device()); }

// setCurrentDevice(device)
napi_value set_current_device(napi_env env, napi_callback_info info) {
  const Arguments<1> arguments(env, info);
  int device;
  if (read_device(env, arguments[0], &device)) cuda::set_current_device(device);
  return nullptr;
}
#endif

constexpr struct {
  const char* name;
  napi_callback function;
} kFunctions[] = {
    {"start", start},
    {"isStarted", is_started},
    {"costs", costs},
    {"softmax", compute<SoftmaxCall>},
    {"rowMax", compute<RowMaxCall>},
    {"softmaxJacobian", compute<JacobianCall>},
    {"allocate", allocate},
    {"fromPointer", from_pointer},
    {"free", free_tensor},
    {"pointer", pointer},
    {"upload", upload},
    {"downloadSync", download_sync},
    {"download", download},
    {"synchronize", synchronize},
    {"tensorSoftmax", tensor_softmax},
    {"tensorRowMax", tensor_row_max},
    {"tensorSoftmaxJacobian", tensor_softmax_jacobian},
    {"allocatePinned", allocate_pinned},
#ifdef SOFTMAX_EMULATED_CUDA
    {"forgetDevices", forget_devices},
    {"beginAnew", begin_anew},
    {"freeMemory", free_memory},
    {"currentDevice", current_device},
    {"setCurrentDevice", set_current_device},
#endif
};

}  // namespace

void add_cuda(Napi::Env env, Napi::Object exports) {
  if (!CudaEnvironment::begin(env)) return;
  Napi::Object functions = Napi::Object::New(env);
  functions.Set("info", Napi::Function::New(env, info, "info"));
  functions.Set("takeWarning", Napi::Function::New(env, take_warning, "takeWarning"));
  for (const auto& entry : kFunctions) {
    napi_value function;
    if (napi_create_function(env, entry.name, NAPI_AUTO_LENGTH, entry.function, nullptr, &function) != napi_ok) {
      not_made(env, "Could not make the native functions");
      return;
    }
    functions.Set(entry.name, Napi::Value(env, function));
  }
  exports.Set("cuda", functions);
}

}  // namespace softmax_native::addon
