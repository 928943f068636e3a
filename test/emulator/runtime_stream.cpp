// Streams and events.
#include "machine.h"
#include "streams.h"

using namespace emulated;

extern "C" {

cudaError_t cudaStreamCreateWithFlags(cudaStream_t* stream, unsigned flags) {
  return device_call("cudaStreamCreateWithFlags", [&](Lock&) {
    if ((flags & ~unsigned(cudaStreamNonBlocking)) != 0) return cudaErrorInvalidValue;
    *stream = create_stream(current_device(), flags);
    return cudaSuccess;
  });
}

cudaError_t cudaStreamCreate(cudaStream_t* stream) { return cudaStreamCreateWithFlags(stream, cudaStreamDefault); }

cudaError_t cudaStreamDestroy(cudaStream_t stream) {
  return release_call("cudaStreamDestroy", [&](Lock&) {
    if (stream == nullptr || find_stream(stream) == nullptr) return cudaErrorInvalidResourceHandle;
    destroy_stream(stream);
    return cudaSuccess;
  });
}

cudaError_t cudaStreamSynchronize(cudaStream_t handle) {
  return device_call("cudaStreamSynchronize", [&](Lock& lock) {
    const auto stream = find_stream(handle);
    return stream == nullptr ? cudaErrorInvalidResourceHandle : synchronize_stream(lock, stream);
  });
}

cudaError_t cudaStreamQuery(cudaStream_t handle) {
  return device_call("cudaStreamQuery", [&](Lock& lock) {
    const auto stream = find_stream(handle);
    if (stream == nullptr) return cudaErrorInvalidResourceHandle;
    make_progress(lock);
    if (machine().devices[stream->device].lost != cudaSuccess) return machine().devices[stream->device].lost;
    if (!is_idle(*stream)) return cudaErrorNotReady;
    host_has_seen(*stream);
    return cudaSuccess;
  });
}

cudaError_t cudaStreamWaitEvent(cudaStream_t stream_handle, cudaEvent_t event_handle, unsigned flags) {
  return device_call("cudaStreamWaitEvent", [&](Lock&) {
    const auto stream = find_stream(stream_handle);
    const auto event = find_event(event_handle);
    if (stream == nullptr || event == nullptr) return cudaErrorInvalidResourceHandle;
    if (flags != 0) return cudaErrorInvalidValue;
    await_event(stream.get(), event);
    return cudaSuccess;
  });
}

cudaError_t cudaLaunchHostFunc(cudaStream_t handle, cudaHostFn_t function, void* data) {
  return device_call("cudaLaunchHostFunc", [&](Lock&) {
    const auto stream = find_stream(handle);
    if (stream == nullptr) return cudaErrorInvalidResourceHandle;
    Operation operation;
    operation.host_function = function;
    operation.data = data;
    enqueue(stream.get(), std::move(operation));
    start_host_functions();
    return cudaSuccess;
  });
}

cudaError_t cudaEventCreateWithFlags(cudaEvent_t* event, unsigned flags) {
  return device_call("cudaEventCreateWithFlags", [&](Lock&) {
    if ((flags & ~unsigned(cudaEventBlockingSync | cudaEventDisableTiming)) != 0) return cudaErrorInvalidValue;
    *event = create_event(current_device(), flags);
    return cudaSuccess;
  });
}

cudaError_t cudaEventCreate(cudaEvent_t* event) {
  return device_call("cudaEventCreate", [&](Lock&) {
    *event = create_event(current_device(), cudaEventDefault);
    return cudaSuccess;
  });
}

cudaError_t cudaEventRecord(cudaEvent_t event_handle, cudaStream_t stream_handle) {
  return device_call("cudaEventRecord", [&](Lock&) {
    const auto event = find_event(event_handle);
    const auto stream = find_stream(stream_handle);
    if (event == nullptr || stream == nullptr || event->device != stream->device) {
      return cudaErrorInvalidResourceHandle;
    }
    record_event(stream.get(), event);
    return cudaSuccess;
  });
}

cudaError_t cudaEventSynchronize(cudaEvent_t handle) {
  return device_call("cudaEventSynchronize", [&](Lock& lock) {
    const auto event = find_event(handle);
    return event == nullptr ? cudaErrorInvalidResourceHandle : synchronize_event(lock, event);
  });
}

cudaError_t cudaEventQuery(cudaEvent_t handle) {
  return device_call("cudaEventQuery", [&](Lock& lock) {
    const auto event = find_event(handle);
    if (event == nullptr) return cudaErrorInvalidResourceHandle;
    make_progress(lock);
    if (machine().devices[event->device].lost != cudaSuccess) return machine().devices[event->device].lost;
    if (!is_complete(*event)) return cudaErrorNotReady;
    host_has_seen(*event);
    return cudaSuccess;
  });
}

cudaError_t cudaEventElapsedTime(float* milliseconds, cudaEvent_t start_handle, cudaEvent_t end_handle) {
  return device_call("cudaEventElapsedTime", [&](Lock&) {
    const auto start = find_event(start_handle);
    const auto end = find_event(end_handle);
    if (start == nullptr || end == nullptr) return cudaErrorInvalidResourceHandle;
    if (((start->flags | end->flags) & cudaEventDisableTiming) != 0 || start->recorded == 0 || end->recorded == 0) {
      return cudaErrorInvalidResourceHandle;
    }
    if (!is_complete(*start) || !is_complete(*end)) return cudaErrorNotReady;
    *milliseconds = static_cast<float>(end->milliseconds - start->milliseconds);
    return cudaSuccess;
  });
}

cudaError_t cudaEventDestroy(cudaEvent_t event) {
  return release_call("cudaEventDestroy", [&](Lock&) {
    if (find_event(event) == nullptr) return cudaErrorInvalidResourceHandle;
    destroy_event(event);
    return cudaSuccess;
  });
}

}  // extern "C"
