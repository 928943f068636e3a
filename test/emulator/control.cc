// The controls of emulator.h for JavaScript: the property `emulator` of the addon over the emulated device.
//
//   configure({ device, devices, seed, driver: 'ok' | 'none' | 'old', memory, multiprocessors, cluster, ptx })
//                                             what is left out stays as it is
//   inject({ call, nth, error, sticky })      pending(): number      clear()
//   findings(): string[]                      launches(): Record<string, number>
//   live(): { device: { count, bytes }, pinned: { count, bytes }, streams, events }
#include <napi.h>

#include <string>

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

void configure(const Napi::CallbackInfo& info) {
  emulated::Settings settings = emulated::settings();
  bool valid = info[0].IsObject();
  if (valid) {
    const Napi::Object wanted = info[0].As<Napi::Object>();
    const Napi::Value device = wanted.Get("device");
    const Napi::Value devices = wanted.Get("devices");
    const Napi::Value seed = wanted.Get("seed");
    const Napi::Value driver = wanted.Get("driver");
    const Napi::Value memory = wanted.Get("memory");
    if (!device.IsUndefined()) settings.device = device.ToString().Utf8Value();
    if (!devices.IsUndefined()) settings.devices = devices.ToNumber().Int32Value();
    if (!seed.IsUndefined()) settings.seed = static_cast<uint64_t>(seed.ToNumber().Int64Value());
    if (!driver.IsUndefined()) valid = read_driver(driver.ToString().Utf8Value(), &settings.driver);
    const Napi::Value multiprocessors = wanted.Get("multiprocessors");
    if (!multiprocessors.IsUndefined()) settings.multiprocessors = multiprocessors.ToNumber().Int32Value();
    const Napi::Value cluster = wanted.Get("cluster");
    if (!cluster.IsUndefined()) settings.cluster = cluster.ToNumber().Int32Value();
    const Napi::Value ptx = wanted.Get("ptx");
    if (!ptx.IsUndefined()) settings.ptx = ptx.ToNumber().Int32Value();
    if (!memory.IsUndefined()) settings.memory = static_cast<size_t>(memory.ToNumber().Int64Value());
  }
  if (!valid || !emulated::configure(settings)) {
    throw_type_error(
        info.Env(),
        "Expected { device, devices, seed, driver, memory, multiprocessors, cluster, ptx } that can be emulated");
  }
}

void inject(const Napi::CallbackInfo& info) {
  if (!info[0].IsObject()) return throw_type_error(info.Env(), "Expected { call, nth, error, sticky }");
  const Napi::Object wanted = info[0].As<Napi::Object>();
  const Napi::Value nth = wanted.Get("nth");
  emulated::inject(wanted.Get("call").ToString().Utf8Value(), nth.IsUndefined() ? 1 : nth.ToNumber().Int32Value(),
                   wanted.Get("error").ToNumber().Int32Value(), wanted.Get("sticky").ToBoolean().Value());
}

Napi::Value pending(const Napi::CallbackInfo& info) {
  return Napi::Number::New(info.Env(), static_cast<double>(emulated::pending_injections()));
}

void clear(const Napi::CallbackInfo&) { emulated::clear(); }

Napi::Value findings(const Napi::CallbackInfo& info) {
  Napi::Array list = Napi::Array::New(info.Env());
  for (const std::string& finding : emulated::findings()) {
    list.Set(list.Length(), Napi::String::New(info.Env(), finding));
  }
  return list;
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
  emulator.Set("pending", Napi::Function::New(env, pending, "pending"));
  emulator.Set("clear", Napi::Function::New(env, clear, "clear"));
  emulator.Set("findings", Napi::Function::New(env, findings, "findings"));
  emulator.Set("live", Napi::Function::New(env, live, "live"));
  emulator.Set("launches", Napi::Function::New(env, launches, "launches"));
  Napi::Object(env, exports).Set("emulator", emulator);
}
