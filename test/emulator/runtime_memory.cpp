// Device memory, pools and pinned host memory.
#include <algorithm>
#include <set>

#include "allocations.h"
#include "copies.h"
#include "machine.h"
#include "streams.h"

using namespace emulated;

namespace {

// Bytes that nobody has written are no zeros.
constexpr int kGarbage = 0xcb;

Window window_of(int device) { return device == 0 ? Window::device0 : Window::device1; }
int device_of(Window window) { return window == Window::device1 ? 1 : 0; }

void fill_with_garbage(const Allocation& allocation) {
  std::fill_n(reinterpret_cast<unsigned char*>(allocation.begin), allocation.bytes, kGarbage);
}

// A stream-ordered pool: memory released to it stays with it until it is trimmed, or until the host waits for a stream
// and more than the threshold is unused.
struct Pool {
  int device;
  bool destroyed = false;  // and to be deleted with its last allocation
  uint64_t threshold = 0;
  size_t used = 0;
  size_t reserved = 0;
  size_t most_used = 0;
  size_t most_reserved = 0;
};

std::set<Pool*>& pools() {
  static auto* all = new std::set<Pool*>;
  return *all;
}

Pool* default_pool(int device) {
  static auto* all = new Pool[kMostDevices];
  all[device].device = device;
  return &all[device];
}

Pool* find_pool(cudaMemPool_t handle) {
  auto* pool = reinterpret_cast<Pool*>(handle);
  for (int device = 0; device < kMostDevices; device++) {
    if (pool == default_pool(device)) return pool;
  }
  return pools().count(pool) != 0 && !pool->destroyed ? pool : nullptr;
}

size_t free_bytes(int device) {
  const size_t used = machine().devices[device].allocated + machine().devices[device].pooled;
  return machine().memory() > used ? machine().memory() - used : 0;
}

void set_reserved(Pool* pool, size_t bytes) {
  machine().devices[pool->device].pooled += bytes - pool->reserved;
  pool->reserved = bytes;
  pool->most_reserved = std::max(pool->most_reserved, bytes);
}

void trim(Pool* pool, size_t keep) {
  if (pool->reserved > std::max(keep, pool->used)) set_reserved(pool, std::max(keep, pool->used));
}

cudaError_t allocate_device(void** pointer, size_t bytes) {
  *pointer = nullptr;
  const int device = current_device();
  if (bytes == 0) return cudaSuccess;
  if (bytes > free_bytes(device)) return cudaErrorMemoryAllocation;
  const Allocation* allocation = allocate(window_of(device), bytes, nullptr);
  if (allocation == nullptr) return cudaErrorMemoryAllocation;
  machine().devices[device].allocated += bytes;
  fill_with_garbage(*allocation);
  *pointer = reinterpret_cast<void*>(allocation->begin);
  return cudaSuccess;
}

// In a stream: what is not ordered after this may meet the memory in use by work of the stream that was before.
void begin_to_exist(Allocation* allocation) {
  fill_with_garbage(*allocation);
  set_exists_from_now(allocation->begin, allocation->bytes);
  allocation->exists = true;
}

cudaError_t allocate_from_pool(Lock& lock, void** pointer, size_t bytes, Pool* pool,
                               const std::shared_ptr<Stream>& stream) {
  *pointer = nullptr;
  if (pool == nullptr) return cudaErrorInvalidValue;
  if (stream == nullptr) return cudaErrorInvalidResourceHandle;
  if (bytes == 0) return cudaSuccess;
  // What the stream is still to release may be used again by work that comes after it in the stream.
  if (pool->used + bytes > pool->reserved + free_bytes(pool->device)) synchronize_stream(lock, stream);
  if (pool->used + bytes > pool->reserved + free_bytes(pool->device)) return cudaErrorMemoryAllocation;
  const Allocation* allocation = allocate(window_of(pool->device), bytes, pool);
  if (allocation == nullptr) return cudaErrorMemoryAllocation;
  pool->used += bytes;
  pool->most_used = std::max(pool->most_used, pool->used);
  if (pool->used > pool->reserved) set_reserved(pool, pool->used);
  *pointer = reinterpret_cast<void*>(allocation->begin);
  Operation operation;
  operation.even_when_lost = true;
  operation.run = [begin = *pointer] {
    Allocation* allocation = find_allocation_at(begin);
    // Nothing is left of one that another stream has released too early, which was told then.
    if (allocation != nullptr && !allocation->exists) begin_to_exist(allocation);
    return cudaSuccess;
  };
  enqueue(stream.get(), std::move(operation));
  return cudaSuccess;
}

void delete_if_unused(Pool* pool) {
  if (!pool->destroyed || pool->used != 0) return;
  set_reserved(pool, 0);
  pools().erase(pool);
  delete pool;
}

void release_device(Allocation* allocation) {
  if (allocation->pool != nullptr) {
    auto* pool = static_cast<Pool*>(allocation->pool);
    pool->used -= allocation->bytes;
    delete_if_unused(pool);
  } else {
    machine().devices[device_of(allocation->window)].allocated -= allocation->bytes;
  }
  release(allocation);
}

// The allocation of this kind that begins here and has not been released.
Allocation* releasable(void* pointer, bool pinned) {
  Allocation* allocation = find_allocation_at(pointer);
  if (allocation == nullptr || allocation->released || (allocation->window == Window::pinned) != pinned) return nullptr;
  return allocation;
}

}  // namespace

namespace emulated {

void trim_pools(int device) {
  // A pool gives back what it holds beyond its threshold when the host waits.
  trim(default_pool(device), default_pool(device)->threshold);
  for (Pool* pool : pools()) {
    if (pool->device == device) trim(pool, pool->threshold);
  }
}

}  // namespace emulated

extern "C" {

cudaError_t cudaMalloc(void** pointer, size_t bytes) {
  return device_call("cudaMalloc", [&](Lock& lock) {
    const cudaError_t error = synchronize_device(lock, current_device());
    return error != cudaSuccess ? error : allocate_device(pointer, bytes);
  });
}

cudaError_t cudaFree(void* pointer) {
  return release_call("cudaFree", [&](Lock& lock) {
    if (pointer == nullptr) return cudaSuccess;
    Allocation* allocation = releasable(pointer, false);
    if (allocation == nullptr) return cudaErrorInvalidValue;
    const cudaError_t error = synchronize_device(lock, device_of(allocation->window));
    release_device(allocation);
    return error;
  });
}

cudaError_t cudaMallocAsync(void** pointer, size_t bytes, cudaStream_t handle) {
  return device_call("cudaMallocAsync", [&](Lock& lock) {
    const auto stream = find_stream(handle);
    const int device = stream == nullptr ? current_device() : stream->device;
    return allocate_from_pool(lock, pointer, bytes, default_pool(device), stream);
  });
}

cudaError_t cudaMallocFromPoolAsync(void** pointer, size_t bytes, cudaMemPool_t pool, cudaStream_t stream) {
  return device_call("cudaMallocFromPoolAsync", [&](Lock& lock) {
    return allocate_from_pool(lock, pointer, bytes, find_pool(pool), find_stream(stream));
  });
}

cudaError_t cudaFreeAsync(void* pointer, cudaStream_t handle) {
  return release_call("cudaFreeAsync", [&](Lock&) {
    const auto stream = find_stream(handle);
    if (stream == nullptr) return cudaErrorInvalidResourceHandle;
    if (pointer == nullptr) return cudaSuccess;
    Allocation* allocation = releasable(pointer, false);
    if (allocation == nullptr) return cudaErrorInvalidValue;
    allocation->released = true;
    Operation operation;
    operation.even_when_lost = true;
    operation.run = [pointer] {
      const Allocation* allocation = find_allocation_at(pointer);
      check_copy(allocation->begin, allocation->bytes, true);
      release_device(find_allocation_at(pointer));
      return cudaSuccess;
    };
    enqueue(stream.get(), std::move(operation));
    return cudaSuccess;
  });
}

cudaError_t cudaMemPoolCreate(cudaMemPool_t* pool, const cudaMemPoolProps* properties) {
  return device_call("cudaMemPoolCreate", [&](Lock&) {
    if (properties->allocType != cudaMemAllocationTypePinned ||
        properties->location.type != cudaMemLocationTypeDevice || properties->location.id < 0 ||
        properties->location.id >= machine().settings.devices) {
      return cudaErrorInvalidValue;
    }
    auto* created = new Pool;
    created->device = properties->location.id;
    pools().insert(created);
    *pool = reinterpret_cast<cudaMemPool_t>(created);
    return cudaSuccess;
  });
}

// Returns at once; allocations that are left keep the pool alive.
cudaError_t cudaMemPoolDestroy(cudaMemPool_t handle) {
  return release_call("cudaMemPoolDestroy", [&](Lock&) {
    Pool* pool = find_pool(handle);
    if (pool == nullptr || pools().count(pool) == 0) return cudaErrorInvalidValue;
    pool->destroyed = true;
    delete_if_unused(pool);
    return cudaSuccess;
  });
}

cudaError_t cudaMemPoolSetAttribute(cudaMemPool_t handle, cudaMemPoolAttr attribute, void* value) {
  return device_call("cudaMemPoolSetAttribute", [&](Lock&) {
    Pool* pool = find_pool(handle);
    if (pool == nullptr) return cudaErrorInvalidValue;
    switch (attribute) {
      case cudaMemPoolReuseFollowEventDependencies:
      case cudaMemPoolReuseAllowOpportunistic:
      case cudaMemPoolReuseAllowInternalDependencies:
        return cudaSuccess;
      case cudaMemPoolAttrReleaseThreshold:
        pool->threshold = *static_cast<uint64_t*>(value);
        return cudaSuccess;
      default:
        return cudaErrorInvalidValue;
    }
  });
}

cudaError_t cudaMemPoolGetAttribute(cudaMemPool_t handle, cudaMemPoolAttr attribute, void* value) {
  return device_call("cudaMemPoolGetAttribute", [&](Lock&) {
    const Pool* pool = find_pool(handle);
    if (pool == nullptr) return cudaErrorInvalidValue;
    auto* number = static_cast<uint64_t*>(value);
    switch (attribute) {
      case cudaMemPoolAttrReleaseThreshold:
        *number = pool->threshold;
        return cudaSuccess;
      case cudaMemPoolAttrReservedMemCurrent:
        *number = pool->reserved;
        return cudaSuccess;
      case cudaMemPoolAttrReservedMemHigh:
        *number = pool->most_reserved;
        return cudaSuccess;
      case cudaMemPoolAttrUsedMemCurrent:
        *number = pool->used;
        return cudaSuccess;
      case cudaMemPoolAttrUsedMemHigh:
        *number = pool->most_used;
        return cudaSuccess;
      default:
        return cudaErrorInvalidValue;
    }
  });
}

cudaError_t cudaMemPoolTrimTo(cudaMemPool_t handle, size_t bytes) {
  return device_call("cudaMemPoolTrimTo", [&](Lock&) {
    Pool* pool = find_pool(handle);
    if (pool == nullptr) return cudaErrorInvalidValue;
    trim(pool, bytes);
    return cudaSuccess;
  });
}

cudaError_t cudaDeviceGetDefaultMemPool(cudaMemPool_t* pool, int device) {
  return device_call("cudaDeviceGetDefaultMemPool", [&](Lock&) {
    if (device < 0 || device >= machine().settings.devices) return cudaErrorInvalidDevice;
    *pool = reinterpret_cast<cudaMemPool_t>(default_pool(device));
    return cudaSuccess;
  });
}

cudaError_t cudaHostAlloc(void** pointer, size_t bytes, unsigned) {
  return device_call("cudaHostAlloc", [&](Lock&) {
    *pointer = nullptr;
    if (bytes == 0) return cudaSuccess;
    const Allocation* allocation = allocate(Window::pinned, bytes, nullptr);
    if (allocation == nullptr) return cudaErrorMemoryAllocation;
    *pointer = reinterpret_cast<void*>(allocation->begin);
    return cudaSuccess;
  });
}

cudaError_t cudaMallocHost(void** pointer, size_t bytes) { return cudaHostAlloc(pointer, bytes, cudaHostAllocDefault); }

cudaError_t cudaFreeHost(void* pointer) {
  return release_call("cudaFreeHost", [&](Lock& lock) {
    if (pointer == nullptr) return cudaSuccess;
    if (releasable(pointer, true) == nullptr) return cudaErrorInvalidValue;
    cudaError_t error = cudaSuccess;
    for (int device = 0; device < machine().settings.devices; device++) {
      const cudaError_t lost = synchronize_device(lock, device);
      if (lost != cudaSuccess) error = lost;
    }
    release(releasable(pointer, true));
    return error;
  });
}

cudaError_t cudaPointerGetAttributes(cudaPointerAttributes* attributes, const void* pointer) {
  return device_call("cudaPointerGetAttributes", [&](Lock&) {
    const Allocation* allocation = find_allocation(pointer);
    auto* address = const_cast<void*>(pointer);
    if (allocation == nullptr || allocation->released) {
      *attributes = {cudaMemoryTypeUnregistered, -2, nullptr, address};
    } else if (allocation->window == Window::pinned) {
      *attributes = {cudaMemoryTypeHost, 0, address, address};
    } else {
      *attributes = {cudaMemoryTypeDevice, device_of(allocation->window), address, nullptr};
    }
    return cudaSuccess;
  });
}

cudaError_t cudaMemGetInfo(size_t* free, size_t* total) {
  return device_call("cudaMemGetInfo", [&](Lock&) {
    *free = free_bytes(current_device());
    *total = machine().memory();
    return cudaSuccess;
  });
}

}  // extern "C"
