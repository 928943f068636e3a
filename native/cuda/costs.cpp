// What it costs to use a GPU for arrays in host memory: measured once, for whoever decides between it and the CPU.
#include <algorithm>
#include <chrono>
#include <cstring>
#include <memory>
#include <new>

#ifdef __linux__
#include <unistd.h>
#endif

#include "launch.h"
#include "session.h"

namespace softmax_native::cuda {
namespace {

// The fastest of a few: what else the machine does only adds to a time.
constexpr int kRepetitions = 5;

constexpr int64_t kBytes = Staging::kBytes;

// The array by which copies of the processor are measured: twice what its last cache holds, so that every byte comes from
// memory, as in the calls that are large enough for a GPU; copies within the cache are several times as fast. To fill
// and copy it takes some 0.1 s, once, beside the 0.3 s of the start. Beyond 64 MB of cache the copies are taken for
// faster than they are.
constexpr int64_t array_bytes(int64_t cache) {
  constexpr int64_t least = int64_t{64} << 20, most = int64_t{128} << 20;
  return 2 * cache < least ? least : 2 * cache > most ? most : 2 * cache;
}

// The size of the last cache in bytes, 0 where it is not known.
int64_t cache_bytes() {
#ifdef _SC_LEVEL3_CACHE_SIZE
  return std::max<int64_t>(0, sysconf(_SC_LEVEL3_CACHE_SIZE));
#else
  return 0;
#endif
}

// The array is copied once each way in so many parts, of which the fastest counts.
constexpr int kParts = 4;

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

// The bytes per second of copies between ordinary memory and the pieces of Staging, in both directions alike.
Error measure_staging(unsigned char* pieces, double* speed) {
  const int64_t bytes = array_bytes(cache_bytes()), part = bytes / kParts;
  const std::unique_ptr<unsigned char[]> array(new (std::nothrow) unsigned char[static_cast<size_t>(bytes)]);
  if (array == nullptr) return {cudaErrorMemoryAllocation, "allocating memory to measure copies with"};
  std::memset(array.get(), 0, static_cast<size_t>(bytes));
  double both = 0;
  for (const bool up : {true, false}) {
    double fastest = 1e9;
    for (int64_t first = 0; first < bytes; first += part) {
      const auto begin = std::chrono::steady_clock::now();
      for (int64_t i = 0; i < part; i += Staging::kPieceBytes) {
        unsigned char* piece = pieces + i % Staging::kBytes;
        unsigned char* place = array.get() + first + i;
        std::memcpy(up ? piece : place, up ? place : piece, Staging::kPieceBytes);
      }
      const std::chrono::duration<double> time = std::chrono::steady_clock::now() - begin;
      fastest = std::min(fastest, std::max(time.count(), 1e-9));
    }
    both += fastest;
  }
  *speed = 2 * static_cast<double>(part) / both;
  return {};
}

Error measure_all(Session& session, Costs* costs) {
  Device& device = session.device;
  const cudaStream_t stream = session.stream;
  RETURN_ERROR(session.uploads.finish());
  RETURN_ERROR(session.uploads.open());
  unsigned char* page_locked = session.uploads.memory();
  std::memset(page_locked, 0, kBytes);
  RETURN_ERROR(measure_staging(page_locked, &costs->staging));
  ScopedMemory memory(device, stream);
  RETURN_ERROR(memory.allocate(kBytes));

  const auto wait = [&] { return device.check(cudaStreamSynchronize(stream), "measuring the device"); };
  double seconds;
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
