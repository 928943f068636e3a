#include "machine.h"

#include <cstdlib>

#include "allocations.h"
#include "findings.h"
#include "streams.h"

namespace emulated {
namespace {

thread_local int thread_device = 0;
thread_local cudaError_t thread_error = cudaSuccess;
thread_local bool thread_in_host_function = false;

bool is_valid(const Settings& settings) {
  const Preset* preset = find_preset(settings.device);
  // The driver compiles no PTX of a later generation than the GPU's.
  return preset != nullptr && settings.devices >= 0 && settings.devices <= kMostDevices && settings.compute_mode >= 0 &&
         settings.compute_mode <= 3 && settings.multiprocessors >= 0 && settings.cluster >= 0 && settings.ptx >= 0 &&
         settings.ptx <= preset->major * 10 + preset->minor;
}

Settings settings_of_environment() {
  Settings settings;
  if (const char* device = std::getenv("SOFTMAX_EMULATED_DEVICE")) settings.device = device;
  if (const char* devices = std::getenv("SOFTMAX_EMULATED_DEVICES")) settings.devices = std::atoi(devices);
  if (const char* seed = std::getenv("SOFTMAX_EMULATED_SEED")) settings.seed = std::strtoull(seed, nullptr, 10);
  if (const char* count = std::getenv("SOFTMAX_EMULATED_MULTIPROCESSORS")) settings.multiprocessors = std::atoi(count);
  if (const char* blocks = std::getenv("SOFTMAX_EMULATED_CLUSTER")) settings.cluster = std::atoi(blocks);
  if (const char* ptx = std::getenv("SOFTMAX_EMULATED_PTX")) settings.ptx = std::atoi(ptx);
  if (is_valid(settings)) return settings;
  std::fprintf(stderr, "emulated CUDA: %d devices %s cannot be emulated\n", settings.devices, settings.device.c_str());
  std::abort();
}

}  // namespace

Machine::Machine() : settings(settings_of_environment()), preset(find_preset(settings.device)), random(settings.seed) {}

Machine& machine() {
  static auto* the_machine = new Machine;
  return *the_machine;
}

int current_device() { return thread_device; }
void set_current_device(int device) { thread_device = device; }

cudaError_t last_error() {
  const cudaError_t lost = machine().devices[thread_device].lost;
  return lost != cudaSuccess ? lost : thread_error;
}
cudaError_t remember(cudaError_t error) {
  if (error != cudaSuccess && error != cudaErrorNotReady) thread_error = error;
  return error;
}
void forget_last_error() { thread_error = cudaSuccess; }

void set_in_host_function(bool in) { thread_in_host_function = in; }
bool in_host_function() { return thread_in_host_function; }

cudaError_t report_host_function(const char* call) {
  add_finding("host function", std::string("misuse: ") + call + " is called in a host function of a stream");
  return cudaErrorNotPermitted;
}

void run_interlude(const char* call, std::unique_lock<std::mutex>& lock) {
  if (machine().interludes.empty()) return;
  const auto interlude = machine().interludes.extract(call);
  if (interlude.empty()) return;
  lock.unlock();
  interlude.mapped()();
  lock.lock();
}

cudaError_t injected(const char* call, int device, bool by_any_name) {
  cudaError_t result = cudaSuccess;
  auto& injections = machine().injections;
  for (auto injection = injections.begin(); injection != injections.end();) {
    const bool is_meant = injection->call == call || (by_any_name && injection->call == "*");
    if (!is_meant || --injection->calls_left > 0) {
      ++injection;
      continue;
    }
    result = injection->error;
    if (injection->sticky) machine().devices[device].lost = result;
    injection = injections.erase(injection);
  }
  return result;
}

cudaError_t check_driver() {
  if (machine().settings.driver != Driver::ok) return cudaErrorInsufficientDriver;
  return machine().settings.devices == 0 ? cudaErrorNoDevice : cudaSuccess;
}

Settings settings() {
  std::lock_guard<std::mutex> lock(machine().mutex);
  return machine().settings;
}

bool configure(const Settings& settings) {
  if (!is_valid(settings)) return false;
  std::lock_guard<std::mutex> lock(machine().mutex);
  machine().settings = settings;
  machine().preset = find_preset(settings.device);
  machine().random = Random(settings.seed);
  return true;
}

void inject(const std::string& call, int nth, int error, bool sticky) {
  std::lock_guard<std::mutex> lock(machine().mutex);
  machine().injections.push_back({call, nth, static_cast<cudaError_t>(error), sticky});
}

void interpose(const std::string& call, std::function<void()> interlude) {
  std::lock_guard<std::mutex> lock(machine().mutex);
  machine().interludes[call] = std::move(interlude);
}

size_t pending_injections() {
  std::lock_guard<std::mutex> lock(machine().mutex);
  return machine().injections.size();
}

void clear() {
  std::unique_lock<std::mutex> lock(machine().mutex);
  settle_everything(lock);
  machine().injections.clear();
  machine().interludes.clear();
  machine().launches.clear();
  for (Device& device : machine().devices) device.lost = cudaSuccess;
  forget_last_error();
  forget_findings();
}

std::vector<std::string> findings() {
  std::lock_guard<std::mutex> lock(machine().mutex);
  return all_findings();
}

Live live() {
  std::lock_guard<std::mutex> lock(machine().mutex);
  Live live;
  for (const Window window : {Window::device0, Window::device1}) {
    Amount amount;
    count_allocations(window, &amount.count, &amount.bytes);
    live.device.count += amount.count;
    live.device.bytes += amount.bytes;
  }
  count_allocations(Window::pinned, &live.pinned.count, &live.pinned.bytes);
  live.streams = count_streams();
  live.events = count_events();
  return live;
}

std::map<std::string, uint64_t> launches() {
  std::lock_guard<std::mutex> lock(machine().mutex);
  return machine().launches;
}

}  // namespace emulated
