// What it costs to use a GPU for arrays in host memory: measured once, for whoever decides between it and the CPU.
#include <algorithm>
#include <chrono>
#include <cstring>
#include <new>

#include "launch.h"
#include "session.h"

namespace softmax_native::cuda {
namespace {

// The fastest of a few: what else the machine does only adds to a time.
constexpr int kRepetitions = 5;

constexpr int64_t kBytes = Staging::kBytes;

// The row of the launch that is measured.
constexpr Layout kSmall{1, 32, 1};

template <class Work>
Error measure(double* seconds, Work work) {
  *seconds = 1e9;
  for (int i = 0; i < kRepetitions; i++) {
    const auto begin = std::chrono::steady_clock::now();
    RETURN_ERROR(work());
    const std::chrono::duration<double> time = std::chrono::steady_clock::now() - begin;
    // A clock may stand still for less than its step.
    *seconds = std::min(*seconds, std::max(time.count(), 1e-9));
  }
  return {};
}

Error measure_all(Session& session, Costs* costs) {
  Device& device = session.device;
  const cudaStream_t stream = session.stream;
  RETURN_ERROR(session.uploads.finish());
  RETURN_ERROR(session.uploads.open());
  unsigned char* page_locked = session.uploads.memory();
  const std::unique_ptr<unsigned char[]> array(new (std::nothrow) unsigned char[kBytes]);
  if (array == nullptr) return {cudaErrorMemoryAllocation, "allocating memory to measure copies with"};
  std::memset(array.get(), 0, kBytes);
  std::memset(page_locked, 0, kBytes);
  ScopedMemory memory(device, stream);
  RETURN_ERROR(memory.allocate(kBytes));

  const auto wait = [&] { return device.check(cudaStreamSynchronize(stream), "measuring the device"); };
  double seconds;
  RETURN_ERROR(measure(&seconds, [&]() -> Error {
    std::memcpy(page_locked, array.get(), kBytes);
    return {};
  }));
  costs->staging = kBytes / seconds;
  RETURN_ERROR(measure(&seconds, [&]() -> Error {
    RETURN_ERROR(device.check(cudaMemcpyAsync(memory.data(), page_locked, kBytes, cudaMemcpyHostToDevice, stream),
                              "measuring copies to the device"));
    return wait();
  }));
  costs->upload = kBytes / seconds;
  RETURN_ERROR(measure(&seconds, [&]() -> Error {
    RETURN_ERROR(device.check(cudaMemcpyAsync(page_locked, memory.data(), kBytes, cudaMemcpyDeviceToHost, stream),
                              "measuring copies from the device"));
    return wait();
  }));
  costs->download = kBytes / seconds;
  auto* row = reinterpret_cast<float*>(memory.data());
  return measure(&costs->launch, [&]() -> Error {
    RETURN_ERROR(with_workspace(device, softmax_workspace<float>(kSmall, device.properties), stream, [&](void* space) {
      return device.check(softmax<float>(row, row, kSmall, device.properties, space, stream), "measuring a launch");
    }));
    return wait();
  });
}

}  // namespace

Error costs(Environment& environment, int index, Costs* costs) {
  const CallersDevice callers;
  Session* session = nullptr;
  RETURN_ERROR(environment.enter(index, &session));
  Device& device = session->device;
  const std::lock_guard<std::mutex> lock(device.measuring);
  if (!device.costs) {
    Costs measured{};
    Error error = measure_all(*session, &measured);
    if (error) {
      // The copies that an error leaves behind must not outlive the memory they use.
      if (cudaStreamSynchronize(session->stream) != cudaSuccess) cudaGetLastError();
      return error;
    }
    device.costs = measured;
  }
  *costs = *device.costs;
  return {};
}

}  // namespace softmax_native::cuda
