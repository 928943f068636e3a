// The native module `softmax_native`: positional primitives for lib/, and what the processor offers.
//
// What the CPU back end decides once (the instruction set), or a test sets (the work per thread), holds for the process.
// On the GPUs the main thread and every worker have their own streams and memory (cuda_environment.h).
#include <napi.h>

#include <string>

#include "cpu/cpu.h"
#include "cuda_operations.h"
#include "errors.h"
#include "jobs.h"
#include "new_results.h"
#include "operations.h"
#include "small_calls.h"

#ifdef SOFTMAX_EMULATED_CUDA
// The controls of the emulated devices (test/emulator).
void add_emulator(napi_env env, napi_value exports);
#endif

namespace softmax_native::addon {
namespace {

// { isa: 'avx2', available: ['scalar', 'avx2'], threads: true, passiveWait: true }
Napi::Value cpu_info(const Napi::CallbackInfo& info) {
  const Napi::Env env = info.Env();
  Napi::Array available = Napi::Array::New(env);
  for (const char* const* name = cpu::available_isas(); *name != nullptr; ++name) {
    available.Set(available.Length(), Napi::String::New(env, *name));
  }
  Napi::Object cpu = Napi::Object::New(env);
  cpu.Set("isa", cpu::isa());
  cpu.Set("available", available);
  cpu.Set("threads", cpu::has_threads());
  cpu.Set("passiveWait", cpu::passive_wait());
  return cpu;
}

void set_work_per_thread(const Napi::CallbackInfo& info) {
  cpu::set_work_per_thread(info[0].IsNumber() ? info[0].As<Napi::Number>().Int64Value() : 0);
}

void set_past_caches_from(const Napi::CallbackInfo& info) {
  cpu::set_past_caches_from(info[0].IsNumber() ? info[0].As<Napi::Number>().Int64Value() : 0);
}

void throw_unsupported_isa(Napi::Env env) {
  std::string text = "Expected ";
  for (const char* const* name = cpu::available_isas(); *name != nullptr; ++name) {
    if (name != cpu::available_isas()) text += name[1] == nullptr ? " or " : ", ";
    text += *name;
  }
  text += " for SOFTMAX_NATIVE_ISA on this processor but received '";
  text += cpu::requested_isa();
  text += "'";
  napi_throw_error(env, "ERR_UNSUPPORTED_ISA", text.c_str());
}

// Without node-addon-api's wrapper, which would cost more than the call itself on small rows.
void add_operation(Napi::Env env, Napi::Object exports, const char* name, napi_callback operation) {
  napi_value function;
  if (napi_create_function(env, name, NAPI_AUTO_LENGTH, operation, nullptr, &function) != napi_ok) {
    not_made(env, "Could not make the native functions");
    return;
  }
  exports.Set(name, Napi::Value(env, function));
}

Napi::Object initialize(Napi::Env env, Napi::Object exports) {
  if (cpu::isa() == nullptr) {
    throw_unsupported_isa(env);
    return exports;
  }
  add_operation(env, exports, "softmax", softmax);
  add_operation(env, exports, "rowMax", row_max);
  add_operation(env, exports, "softmaxJacobian", softmax_jacobian);
  exports.Set("setWorkPerThread", Napi::Function::New(env, set_work_per_thread, "setWorkPerThread"));
  exports.Set("setPastCachesFrom", Napi::Function::New(env, set_past_caches_from, "setPastCachesFrom"));
  exports.Set("cpuInfo", Napi::Function::New(env, cpu_info, "cpuInfo"));
  add_operation(env, exports, "prepareResult", prepare_result);
  add_small_calls(env, exports);
  add_cuda(env, exports);
  add_jobs(env, exports);
#ifdef SOFTMAX_EMULATED_CUDA
  add_emulator(env, exports);
#endif
  return exports;
}

NODE_API_MODULE(softmax_native, initialize)

}  // namespace
}  // namespace softmax_native::addon
