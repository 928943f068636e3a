// Copies and fills.
//
// What CUDA leaves open is decided so that a caller who relies on it finds out: pinned host memory is read and written
// when the copy runs, not when it is asked for, and compared with what it held then; pageable memory is read at the call,
// and written before it returns.
#include <cstring>
#include <memory>
#include <vector>

#include "allocations.h"
#include "copies.h"
#include "findings.h"
#include "machine.h"
#include "shadow.h"
#include "streams.h"

using namespace emulated;

namespace {

// Rows of `width` bytes, `pitch` bytes apart.
struct Rows {
  uintptr_t begin;
  size_t pitch;
  size_t width;
  size_t height;

  size_t extent() const { return height == 0 ? 0 : (height - 1) * pitch + width; }
  uintptr_t row(size_t i) const { return begin + i * pitch; }
};

enum class Place { pageable, pinned, device, invalid };

// Where the rows lie; invalid when they begin in memory of the device or in pinned memory and go beyond it.
Place place_of_rows(const Rows& rows, const char* call) {
  const Allocation* allocation = find_allocation(reinterpret_cast<void*>(rows.begin));
  if (allocation == nullptr) {
    Window window;
    if (!find_window(rows.begin, &window)) return Place::pageable;
    add_finding(call, std::string("out of bounds: ") + call + " begins at " + describe_allocated(rows.begin));
    return Place::invalid;
  }
  if (allocation->released || rows.begin + rows.extent() > allocation->begin + allocation->bytes) {
    add_finding(call, std::string("out of bounds: ") + call + " of " + std::to_string(rows.extent()) +
                          " bytes begins at " + describe_allocated(rows.begin) +
                          (allocation->released ? " that was released" : ""));
    return Place::invalid;
  }
  return allocation->window == Window::pinned ? Place::pinned : Place::device;
}

bool allows(cudaMemcpyKind kind, Place to, Place from) {
  const bool to_device = to == Place::device;
  const bool from_device = from == Place::device;
  switch (kind) {
    case cudaMemcpyHostToHost:
      return !to_device && !from_device;
    case cudaMemcpyHostToDevice:
      return to_device && !from_device;
    case cudaMemcpyDeviceToHost:
      return !to_device && from_device;
    case cudaMemcpyDeviceToDevice:
      return to_device && from_device;
    case cudaMemcpyDefault:
      return true;
  }
  return false;
}

cudaError_t copy_rows(const Rows& to, Place to_place, const Rows& from, Place from_place) {
  const cudaError_t error = injected("copy", current_device(), false);
  if (error != cudaSuccess) return error;
  for (size_t i = 0; i < to.height; i++) {
    if (from_place != Place::pageable) check_copy(from.row(i), from.width, false);
    if (to_place != Place::pageable) check_copy(to.row(i), to.width, true);
    std::memcpy(reinterpret_cast<void*>(to.row(i)), reinterpret_cast<void*>(from.row(i)), to.width);
    // Of memory that the host can write too, all counts as written.
    if (to_place == Place::device && from_place == Place::device) {
      copy_written(to.row(i), from.row(i), to.width);
    } else if (to_place != Place::pageable) {
      set_written(to.row(i), to.width);
    }
  }
  return cudaSuccess;
}

// The rows' bytes, one row behind the other.
std::vector<unsigned char> read_rows(const Rows& rows) {
  std::vector<unsigned char> bytes(rows.width * rows.height);
  for (size_t i = 0; i < rows.height; i++) {
    std::memcpy(bytes.data() + i * rows.width, reinterpret_cast<void*>(rows.row(i)), rows.width);
  }
  return bytes;
}

// What pinned memory held when a copy of it was asked for, and when that was.
struct Promised {
  std::vector<unsigned char> bytes;
  uint64_t time;
};

// Until the copy is done, nobody may write to its source but work that was enqueued before, which leaves its time.
void check_promise(const char* call, const Rows& rows, const Promised& promised) {
  for (size_t i = 0; i < rows.height; i++) {
    const auto* now = reinterpret_cast<const unsigned char*>(rows.row(i));
    const unsigned char* before = promised.bytes.data() + i * rows.width;
    if (std::memcmp(now, before, rows.width) == 0) continue;
    for (size_t j = 0; j < rows.width; j++) {
      if (now[j] == before[j] || time_of(cell_of(rows.row(i) + j)->write) > promised.time) continue;
      add_finding(call, std::string("race: the host has changed ") + describe_allocated(rows.row(i) + j) + " before " +
                            call + " has copied it");
      return;
    }
  }
}

cudaError_t copy(Lock& lock, const char* call, Rows to, Rows from, cudaMemcpyKind kind, cudaStream_t handle,
                 bool synchronous) {
  const auto stream = find_stream(handle);
  if (stream == nullptr) return cudaErrorInvalidResourceHandle;
  if (to.extent() == 0 || to.width == 0) return cudaSuccess;
  if (to.begin == 0 || from.begin == 0) return cudaErrorInvalidValue;
  const Place to_place = place_of_rows(to, call);
  const Place from_place = place_of_rows(from, call);
  if (to_place == Place::invalid || from_place == Place::invalid) return cudaErrorInvalidValue;
  if (!allows(kind, to_place, from_place)) return cudaErrorInvalidValue;

  if (from_place == Place::pageable && to_place == Place::device) {
    if (synchronous) {
      const cudaError_t error = synchronize_stream(lock, stream);
      if (error != cudaSuccess) return error;
    }
    const auto staged = std::make_shared<std::vector<unsigned char>>(read_rows(from));
    const Rows rows{reinterpret_cast<uintptr_t>(staged->data()), from.width, from.width, from.height};
    enqueue(stream.get(),
            [to, to_place, rows, staged, from_place] { return copy_rows(to, to_place, rows, from_place); });
    return cudaSuccess;
  }
  if (from_place == Place::pinned && to_place == Place::device) {
    const auto promised = std::make_shared<const Promised>(Promised{read_rows(from), running.time});
    enqueue(stream.get(), [=] {
      check_promise(call, from, *promised);
      return copy_rows(to, to_place, from, from_place);
    });
    return synchronous ? synchronize_stream(lock, stream) : cudaSuccess;
  }
  enqueue(stream.get(), [=] { return copy_rows(to, to_place, from, from_place); });
  const bool to_pageable = to_place == Place::pageable;
  const bool both_device = to_place == Place::device && from_place == Place::device;
  if (to_pageable || from_place == Place::pageable || (synchronous && !both_device)) {
    return synchronize_stream(lock, stream);
  }
  return cudaSuccess;
}

Rows one_row(const void* begin, size_t bytes) { return {reinterpret_cast<uintptr_t>(begin), bytes, bytes, 1}; }

cudaError_t fill(const char* call, void* pointer, int value, size_t bytes, cudaStream_t handle) {
  const auto stream = find_stream(handle);
  if (stream == nullptr) return cudaErrorInvalidResourceHandle;
  if (bytes == 0) return cudaSuccess;
  const Rows rows = one_row(pointer, bytes);
  const Place place = place_of_rows(rows, call);
  if (place != Place::device && place != Place::pinned) return cudaErrorInvalidValue;
  enqueue(stream.get(), [=] {
    check_copy(rows.begin, bytes, true);
    std::memset(pointer, value, bytes);
    set_written(rows.begin, bytes);
    return cudaSuccess;
  });
  return cudaSuccess;
}

}  // namespace

extern "C" {

cudaError_t cudaMemcpy(void* to, const void* from, size_t bytes, cudaMemcpyKind kind) {
  return device_call("cudaMemcpy", [&](Lock& lock) {
    return copy(lock, "cudaMemcpy", one_row(to, bytes), one_row(from, bytes), kind, nullptr, true);
  });
}

cudaError_t cudaMemcpyAsync(void* to, const void* from, size_t bytes, cudaMemcpyKind kind, cudaStream_t stream) {
  return device_call("cudaMemcpyAsync", [&](Lock& lock) {
    return copy(lock, "cudaMemcpyAsync", one_row(to, bytes), one_row(from, bytes), kind, stream, false);
  });
}

cudaError_t cudaMemcpy2DAsync(void* to, size_t to_pitch, const void* from, size_t from_pitch, size_t width,
                              size_t height, cudaMemcpyKind kind, cudaStream_t stream) {
  return device_call("cudaMemcpy2DAsync", [&](Lock& lock) {
    if (width > to_pitch || width > from_pitch) return cudaErrorInvalidPitchValue;
    const Rows to_rows{reinterpret_cast<uintptr_t>(to), to_pitch, width, height};
    const Rows from_rows{reinterpret_cast<uintptr_t>(from), from_pitch, width, height};
    return copy(lock, "cudaMemcpy2DAsync", to_rows, from_rows, kind, stream, false);
  });
}

cudaError_t cudaMemset(void* pointer, int value, size_t bytes) {
  return device_call("cudaMemset", [&](Lock&) { return fill("cudaMemset", pointer, value, bytes, nullptr); });
}

cudaError_t cudaMemsetAsync(void* pointer, int value, size_t bytes, cudaStream_t stream) {
  return device_call("cudaMemsetAsync", [&](Lock&) { return fill("cudaMemsetAsync", pointer, value, bytes, stream); });
}

}  // extern "C"
