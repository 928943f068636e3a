#include "grid.h"

#include <algorithm>
#include <numeric>

#include "warps.h"

namespace emulated {
namespace {

void set_up_block(unsigned rank, uint64_t flat_index) {
  Block& block = state.blocks[rank];
  block = {};
  block.rank = rank;
  block.index = unflatten(flat_index, state.grid->blocks);
  block.warps = (state.threads + kLanes - 1) / kLanes;
  block.barrier = running.time;
  for (unsigned w = 0; w < block.warps; w++) {
    Warp& warp = state.warps[rank * block.warps + w];
    warp.block = &block;
    warp.lanes = std::min(kLanes, state.threads - w * kLanes);
    const size_t slot = size_t(rank) * state.threads + w * kLanes;
    warp.contexts = &state.contexts[slot];
    warp.stacks = stack_low(slot);
    warp.place = place(rank, w * kLanes);
    warp.parity = 0;
    warp.votes[0] = warp.votes[1] = 0;
    warp.waiting = 0;
    warp.barrier = running.time;
    state.ready.push_back(&warp);
  }
  for (unsigned thread = 0; thread < state.threads; thread++) {
    const size_t slot = size_t(rank) * state.threads + thread;
    state.contexts[slot] = start_context(slot, thread_main);
  }
}

void run_cluster(uint64_t first_block) {
  const unsigned size = state.grid->cluster;
  const uint64_t time = next_time();
  running.cluster_start = running.cluster_barrier = time;
  state.ready.clear();
  state.blocks_waiting = state.blocks_exited = 0;
  for (unsigned rank = 0; rank < size; rank++) {
    set_shared(rank, state.grid->shared_bytes);
    set_up_block(rank, first_block + rank);
  }
  run_warps();
}

}  // namespace

cudaError_t run_grid(const Grid& grid, Random* random) {
  state.grid = &grid;
  state.random = random;
  state.threads = grid.threads.x * grid.threads.y * grid.threads.z;
  state.result = cudaSuccess;
  const size_t fibers = size_t(state.threads) * grid.cluster;
  if (!reserve_stacks(fibers)) return cudaErrorMemoryAllocation;
  state.blocks.resize(grid.cluster);
  state.warps.resize(grid.cluster * ((state.threads + kLanes - 1) / kLanes));
  state.contexts.resize(fibers);
  running.grid_start = next_time();

  // Clusters in the order i * step + offset modulo their number, which is a permutation when the two have no common
  // factor.
  const uint64_t clusters = uint64_t(grid.blocks.x) * grid.blocks.y * grid.blocks.z / grid.cluster;
  uint64_t step = clusters > 2 ? random->below(clusters - 1) + 1 : 1;
  while (std::gcd(step, clusters) != 1) step++;
  uint64_t cluster = random->below(clusters);
  for (uint64_t i = 0; i < clusters && state.result == cudaSuccess; i++) {
    run_cluster(cluster * grid.cluster);
    cluster = (cluster + step) % clusters;
  }
  __atomic_store_n(&running.stack_low, kNoStack, __ATOMIC_RELAXED);
  running.time++;
  state.grid = nullptr;
  return state.result;
}

std::string thread_at(uint64_t place) {
  const uint3 index = state.blocks[place >> 10].index;
  const std::string others = index.y + index.z == 0 ? "" : text(",%u,%u", index.y, index.z);
  return text("block %u%s, thread %u", index.x, others.c_str(), static_cast<unsigned>(place & 0x3ff));
}

std::string running_thread() { return kernel_name(state.grid->call->kernel) + ", " + thread_at(running.place); }

const KernelCall& running_call() { return *state.grid->call; }
size_t running_shared_bytes() { return state.grid->shared_bytes; }
unsigned running_cluster() { return state.grid->cluster; }
bool has_exited(unsigned rank) { return state.blocks[rank].exited == state.blocks[rank].warps; }

}  // namespace emulated
