// The warps of a running cluster. The threads of a block are fibers, and a warp runs in rounds: each of its lanes, in
// random order, runs up to the next place where it must wait for others (a barrier, a shuffle, a vote) or to its end.
// When the last lane has, all must have come to the same place: that is what a warp of a GPU requires of __shfl_sync and
// __syncthreads, and what tells divergence from mere delay. The round then completes, or the warp waits for the other
// warps of the block or cluster.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "fiber.h"
#include "findings.h"
#include "grid.h"
#include "include/emulated/device_functions.h"
#include "kernel_name.h"
#include "random.h"
#include "shadow.h"

namespace emulated {

constexpr unsigned kLanes = 32;

enum class Wait : uint8_t { shuffle, vote, warp, block, cluster };

struct Meeting {
  Site site;
  Wait wait;
};

inline bool operator!=(const Meeting& a, const Meeting& b) {
  return a.wait != b.wait || a.site.line != b.site.line || a.site.file != b.site.file;
}

struct Block;

struct Warp {
  Block* block;
  unsigned lanes;
  Context* contexts;  // of its lanes
  uintptr_t stacks;
  uint64_t place;  // of its first lane

  // The round: the order of its lanes is (position * step + offset) mod 32, a permutation since step is odd.
  unsigned position;
  unsigned step, offset;
  unsigned lane;
  unsigned waiting;
  unsigned exited;
  Meeting meeting;  // of the first lane that waits

  // Shuffles and votes of even and odd rounds use different memory: a lane may begin the next before all have read
  // the results of the last, but not the one after.
  unsigned parity;
  uint64_t values[2][kLanes];
  unsigned votes[2];

  uint64_t barrier;
};

struct Block {
  unsigned rank;
  uint3 index;
  unsigned warps;
  unsigned waiting;
  unsigned exited;
  Meeting meeting;  // of the first warp that waits
  uint64_t barrier;
};

struct State {
  const Grid* grid = nullptr;
  Random* random = nullptr;
  unsigned threads = 0;
  std::vector<Block> blocks;
  std::vector<Warp> warps;
  std::vector<Context> contexts;  // by block rank and thread
  std::vector<Warp*> ready;
  unsigned blocks_waiting = 0;  // for the cluster's barrier
  unsigned blocks_exited = 0;
  Meeting cluster_meeting{};
  Warp* warp = nullptr;  // the running one
  Context host = nullptr;
  cudaError_t result = cudaSuccess;
};

// Never destroyed: a thread may still run kernels while the process ends.
union Immortal {
  Immortal() : state() {}
  ~Immortal() {}
  State state;
};
extern Immortal immortal;
inline constexpr State& state = immortal.state;

std::string describe(const Meeting& meeting);

// `what` makes the text, which is host code.
template <class What>
[[noreturn, gnu::cold, gnu::noinline]] void end_with_divergence(What what) {
  const HostCode host_code;
  add_finding("divergence in " + kernel_name(state.grid->call->kernel),
              text("divergence: %s: %s", running_thread().c_str(), what().c_str()));
  end_grid(cudaErrorLaunchFailure);
}

// Goes on with the lane at the warp's next position, which may be the lane that runs.
inline void run_lane(Warp* warp, unsigned lane, Context* from) {
  warp->lane = lane;
  running.place = warp->place + lane;
  running.stamp = running.time << kTimeShift | running.place << kPlaceShift;
  __atomic_store_n(&running.stack_low, warp->stacks + lane * kStackBytes, __ATOMIC_RELAXED);
  if (from != &warp->contexts[lane]) switch_context(from, warp->contexts[lane]);
}

void end_round(Warp* warp, Context* from);

// Goes on with the lane after the one that runs, or at the end of a round with whatever may run then.
inline void run_next(Warp* warp, Context* from) {
  while (warp->position < kLanes) {
    const unsigned lane = (warp->position++ * warp->step + warp->offset) % kLanes;
    if (lane < warp->lanes) return run_lane(warp, lane, from);
  }
  end_round(warp, from);
}

// The running lane waits; comes back when all lanes (of the warp, block or cluster) have come to the same place.
inline void wait_for_others(Wait wait, Site site) {
  Warp* warp = state.warp;
  const Meeting meeting{site, wait};
  if (warp->waiting++ == 0) warp->meeting = meeting;
  if (warp->exited != 0) {
    end_with_divergence([&] { return "waits at " + describe(meeting) + " after other lanes of its warp have ended"; });
  }
  if (warp->meeting != meeting) {
    end_with_divergence([&] {
      return "is at " + describe(meeting) + " while other lanes of its warp are at " + describe(warp->meeting);
    });
  }
  run_next(warp, &warp->contexts[warp->lane]);
}

inline uint3 unflatten(uint64_t i, dim3 size) {
  if (size.y == 1 && size.z == 1) return {static_cast<unsigned>(i), 0, 0};
  return {static_cast<unsigned>(i % size.x), static_cast<unsigned>(i / size.x % size.y),
          static_cast<unsigned>(i / size.x / size.y)};
}

// Lets the warps of the cluster run to their ends; they are in state.ready, and their lanes' contexts call this.
void run_warps();
void thread_main();

// The shared memory of a block, and how much of it exists.
uintptr_t shared_of(unsigned block_rank);
void set_shared(unsigned block_rank, size_t bytes);

}  // namespace emulated
