// The controls of emulator.h for JavaScript: the property `emulator` of the addon over the emulated device.
//
//   configure({ device, devices, seed, driver: 'ok' | 'none' | 'old', computeMode, memory, multiprocessors, cluster,
//               ptx })                        what is left out stays as it is
//   inject({ call, nth, error, sticky })      pending(): number      lastError(): number      clear()
//   findings(): string[]                      launches(): Record<string, number>
//   delay(call, milliseconds)
//   endInExit()                               the environment ends in a handler of exit(), registered now
//   live(): { device: { count, bytes }, pinned: { count, bytes }, streams, events }
#include <cuda_runtime.h>
#include <napi.h>

#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <string>
#include <thread>
#include <type_traits>

#include "addon/cuda_environment.h"
#include "emulator.h"

namespace {

constexpr const char* kDriverNames[] = {"ok", "none", "old"};

void throw_type_error(Napi::Env env, const char* text) { Napi::TypeError::New(env, text).ThrowAsJavaScriptException(); }

bool read_driver(const std::string& name, emulated::Driver* driver) {
  for (int i = 0; i < 3; i++) {
    if (name == kDriverNames[i]) *driver = static_cast<emulated::Driver>(i);
  }
  return name == kDriverNames[static_cast<int>(*driver)];
}

// A property that is left out leaves the setting as it is.
template <class T>
void read(const Napi::Object& wanted, const char* name, T* setting) {
  const Napi::Value value = wanted.Get(name);
  if (value.IsUndefined()) return;
  if constexpr (std::is_same_v<T, std::string>) {
    *setting = value.ToString().Utf8Value();
  } else {
    *setting = static_cast<T>(value.ToNumber().Int64Value());
  }
}

void configure(const Napi::CallbackInfo& info) {
  emulated::Settings settings = emulated::settings();
  bool valid = info[0].IsObject();
  if (valid) {
    const Napi::Object wanted = info[0].As<Napi::Object>();
    std::string driver = kDriverNames[static_cast<int>(settings.driver)];
    read(wanted, "device", &settings.device);
    read(wanted, "devices", &settings.devices);
    read(wanted, "seed", &settings.seed);
    read(wanted, "driver", &driver);
    read(wanted, "computeMode", &settings.compute_mode);
    read(wanted, "memory", &settings.memory);
    read(wanted, "multiprocessors", &settings.multiprocessors);
    read(wanted, "cluster", &settings.cluster);
    read(wanted, "ptx", &settings.ptx);
    valid = read_driver(driver, &settings.driver);
  }
  if (!valid || !emulated::configure(settings)) {
    throw_type_error(info.Env(), "Expected settings of a machine that can be emulated");
  }
}

void inject(const Napi::CallbackInfo& info) {
  if (!info[0].IsObject()) return throw_type_error(info.Env(), "Expected { call, nth, error, sticky }");
  const Napi::Object wanted = info[0].As<Napi::Object>();
  const Napi::Value nth = wanted.Get("nth");
  emulated::inject(wanted.Get("call").ToString().Utf8Value(), nth.IsUndefined() ? 1 : nth.ToNumber().Int32Value(),
                   wanted.Get("error").ToNumber().Int32Value(), wanted.Get("sticky").ToBoolean().Value());
}

void delay(const Napi::CallbackInfo& info) {
  const std::chrono::milliseconds time(info[1].ToNumber().Int64Value());
  emulated::interpose(info[0].ToString().Utf8Value(), [time] { std::this_thread::sleep_for(time); });
}

Napi::Value pending(const Napi::CallbackInfo& info) {
  return Napi::Number::New(info.Env(), static_cast<double>(emulated::pending_injections()));
}

Napi::Value last_error(const Napi::CallbackInfo& info) { return Napi::Number::New(info.Env(), cudaPeekAtLastError()); }

void clear(const Napi::CallbackInfo&) { emulated::clear(); }

Napi::Value findings(const Napi::CallbackInfo& info) {
  Napi::Array list = Napi::Array::New(info.Env());
  for (const std::string& finding : emulated::findings()) {
    list.Set(list.Length(), Napi::String::New(info.Env(), finding));
  }
  return list;
}

// As in a program that embeds Node.js and frees its environments there. The runtime may be gone by then.
void end_in_exit(const Napi::CallbackInfo& info) {
  static softmax_native::addon::CudaEnvironment* environment;
  environment = &softmax_native::addon::CudaEnvironment::of(info.Env());
  static const int registered = std::atexit([] {
    emulated::inject("*", 1, cudaErrorCudartUnloading, false);
    environment->begin_anew();
    if (emulated::pending_injections() == 0) std::fputs("CUDA is called while the process ends\n", stderr);
  });
  static_cast<void>(registered);
}

Napi::Value amount(Napi::Env env, const emulated::Amount& amount) {
  Napi::Object object = Napi::Object::New(env);
  object.Set("count", static_cast<double>(amount.count));
  object.Set("bytes", static_cast<double>(amount.bytes));
  return object;
}

Napi::Value live(const Napi::CallbackInfo& info) {
  const emulated::Live live = emulated::live();
  Napi::Object object = Napi::Object::New(info.Env());
  object.Set("device", amount(info.Env(), live.device));
  object.Set("pinned", amount(info.Env(), live.pinned));
  object.Set("streams", static_cast<double>(live.streams));
  object.Set("events", static_cast<double>(live.events));
  return object;
}

Napi::Value launches(const Napi::CallbackInfo& info) {
  Napi::Object object = Napi::Object::New(info.Env());
  for (const auto& [kernel, count] : emulated::launches()) object.Set(kernel, static_cast<double>(count));
  return object;
}

}  // namespace

// Called where the addon is initialised.
void add_emulator(napi_env env, napi_value exports) {
  Napi::Object emulator = Napi::Object::New(env);
  emulator.Set("configure", Napi::Function::New(env, configure, "configure"));
  emulator.Set("inject", Napi::Function::New(env, inject, "inject"));
  emulator.Set("delay", Napi::Function::New(env, delay, "delay"));
  emulator.Set("pending", Napi::Function::New(env, pending, "pending"));
  emulator.Set("lastError", Napi::Function::New(env, last_error, "lastError"));
  emulator.Set("clear", Napi::Function::New(env, clear, "clear"));
  emulator.Set("findings", Napi::Function::New(env, findings, "findings"));
  emulator.Set("endInExit", Napi::Function::New(env, end_in_exit, "endInExit"));
  emulator.Set("live", Napi::Function::New(env, live, "live"));
  emulator.Set("launches", Napi::Function::New(env, launches, "launches"));
  Napi::Object(env, exports).Set("emulator", emulator);
}
