// Runs a grid: its clusters one after another in random order, the blocks of a cluster and their threads interleaved.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>

#include "include/emulated/errors.h"
#include "include/emulated/launch.h"
#include "random.h"

namespace emulated {

struct Grid {
  const KernelCall* call;
  dim3 blocks;
  dim3 threads;
  unsigned cluster;  // blocks of a cluster, along x
  size_t shared_bytes;
};

// Runs to the end, or to the first error that ends a kernel: cudaErrorIllegalAddress, cudaErrorMisalignedAddress or
// cudaErrorLaunchFailure. The caller has set running.settled and the windows the device may touch.
cudaError_t run_grid(const Grid& grid, Random* random);

// For the checks, on a fiber: "kernel<float>, block 3, thread 17".
std::string running_thread();
// "block 3, thread 17" for a place in the running cluster.
std::string thread_at(uint64_t place);
const KernelCall& running_call();
size_t running_shared_bytes();
unsigned running_cluster();
bool has_exited(unsigned block_rank);

// Ends the running grid with this error; on a fiber only.
[[noreturn]] void end_grid(cudaError_t error);

}  // namespace emulated
