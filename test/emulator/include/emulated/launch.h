// Kernel launches: the kernel and a copy of its arguments become work in a stream.
#pragma once

#include <memory>
#include <tuple>
#include <utility>

#include "runtime.h"

namespace emulated {

// A kernel with its arguments. One such object serves all threads of the grid, as a kernel's parameters do in the
// constant memory of a GPU, so its bytes are memory that device code may read.
class KernelCall {
 public:
  KernelCall(const void* kernel, size_t bytes) : kernel(kernel), bytes(bytes) {}
  virtual ~KernelCall() = default;
  virtual void run() const = 0;

  const void* const kernel;
  const size_t bytes;
};

template <class... Parameters>
class KernelCallOf final : public KernelCall {
 public:
  template <class... Arguments>
  KernelCallOf(void (*kernel)(Parameters...), Arguments&&... arguments)
      : KernelCall(reinterpret_cast<const void*>(kernel), sizeof(KernelCallOf)),
        function(kernel),
        parameters(std::forward<Arguments>(arguments)...) {}

  void run() const override { std::apply(function, parameters); }

 private:
  void (*function)(Parameters...);
  std::tuple<Parameters...> parameters;
};

cudaError_t launch(const cudaLaunchConfig_t* config, std::unique_ptr<const KernelCall> call);

}  // namespace emulated

template <class... Parameters, class... Arguments>
inline cudaError_t cudaLaunchKernelEx(const cudaLaunchConfig_t* config, void (*kernel)(Parameters...),
                                      Arguments&&... arguments) {
  static_assert(sizeof...(Parameters) == sizeof...(Arguments), "as many arguments as the kernel has parameters");
  static_assert((std::is_trivially_copyable_v<Parameters> && ...), "kernel parameters are copied byte by byte");
  static_assert((sizeof(Parameters) + ... + 0) <= 4096, "kernel parameters are at most 4096 bytes");
  return emulated::launch(config, std::make_unique<const emulated::KernelCallOf<Parameters...>>(
                                      kernel, std::forward<Arguments>(arguments)...));
}
