#include "warps.h"

#include "async_copies.h"

namespace emulated {
namespace {

constexpr const char* kWaitNames[] = {"a shuffle", "a vote", "__syncwarp", "__syncthreads", "a barrier of the cluster"};

size_t shared_exists[kSharedSlots] = {};

}  // namespace

Immortal immortal;

std::string describe(const Meeting& meeting) {
  const char* file = meeting.site.file;
  for (const char* c = file; *c != '\0'; c++) {
    if (*c == '/') file = c + 1;
  }
  return text("%s (%s:%u)", kWaitNames[static_cast<int>(meeting.wait)], file, meeting.site.line);
}

uintptr_t shared_of(unsigned rank) {
  // No more aligned than a kernel may count on.
  return running.shared_begin + rank * kSharedSlot + 1024 + 16;
}

void set_shared(unsigned rank, size_t bytes) {
  if (shared_exists[rank] == bytes) return;
  set_exists(shared_of(rank), shared_exists[rank], false);
  set_exists(shared_of(rank), bytes, true);
  shared_exists[rank] = bytes;
}

namespace {

void begin_round(Warp* warp) {
  const uint64_t bits = state.random->next();
  warp->step = (bits & 31) | 1;
  warp->offset = bits >> 5 & 31;
  warp->position = 0;
  warp->waiting = 0;
  warp->exited = 0;
}

// The warps that may go on, in random order.
void run_another_warp(Context* from) {
  if (state.ready.empty()) {
    if (state.blocks_exited == state.blocks.size()) {
      switch_context(from, state.host);
      return;
    }
    for (Warp& warp : state.warps) {
      if (warp.waiting == 0) continue;
      running.place = warp.place + warp.lane;
      end_with_divergence([&] { return "waits at " + describe(warp.meeting) + ", which other threads never reach"; });
    }
  }
  const size_t chosen = state.ready.size() == 1 ? 0 : state.random->below(state.ready.size());
  Warp* warp = state.ready[chosen];
  state.ready[chosen] = state.ready.back();
  state.ready.pop_back();
  state.warp = warp;
  running.warp_barrier = warp->barrier;
  running.block_barrier = warp->block->barrier;
  begin_round(warp);
  run_next(warp, from);
}

void pass_barrier(Block* block, uint64_t time) {
  block->barrier = time;
  block->waiting = 0;
  for (unsigned w = 0; w < block->warps; w++) {
    Warp* warp = &state.warps[block->rank * block->warps + w];
    warp->barrier = time;
    state.ready.push_back(warp);
  }
}

void arrive_at_cluster(Block* block) {
  if (state.blocks_waiting == 0) state.cluster_meeting = block->meeting;
  if (state.cluster_meeting != block->meeting) {
    end_with_divergence([&] {
      return "is at " + describe(block->meeting) + " while another block of the cluster is at " +
             describe(state.cluster_meeting);
    });
  }
  if (++state.blocks_waiting < state.blocks.size()) return;
  state.blocks_waiting = 0;
  const uint64_t time = next_time();
  running.cluster_barrier = time;
  for (Block& each : state.blocks) pass_barrier(&each, time);
}

void arrive_at_block(Warp* warp) {
  Block* block = warp->block;
  if (block->waiting == 0) block->meeting = warp->meeting;
  if (block->meeting != warp->meeting) {
    end_with_divergence([&] {
      return "is at " + describe(warp->meeting) + " while other threads of the block are at " +
             describe(block->meeting);
    });
  }
  if (++block->waiting < block->warps) return;
  if (warp->meeting.wait == Wait::cluster) {
    arrive_at_cluster(block);
  } else {
    pass_barrier(block, next_time());
  }
}

void exit_warp(Warp* warp) {
  warp->waiting = 0;
  Block* block = warp->block;
  if (++block->exited < block->warps) return;
  state.blocks_exited++;
  // Its shared memory is no longer there for the other blocks of the cluster.
  if (state.blocks.size() > 1) set_shared(block->rank, 0);
}

}  // namespace

void end_round(Warp* warp, Context* from) {
  if (warp->exited == warp->lanes) {
    exit_warp(warp);
    return run_another_warp(from);
  }
  if (warp->exited != 0) {
    end_with_divergence([&] { return "has ended while other lanes of its warp wait at " + describe(warp->meeting); });
  }
  if (warp->meeting.wait == Wait::block || warp->meeting.wait == Wait::cluster) {
    arrive_at_block(warp);
    return run_another_warp(from);
  }
  if (warp->lanes != kLanes)
    end_with_divergence([&] { return "is in a warp of fewer than 32 lanes at " + describe(warp->meeting); });
  warp->parity ^= 1;
  warp->votes[warp->parity] = 0;
  if (warp->meeting.wait == Wait::warp) running.warp_barrier = warp->barrier = next_time();
  if (!state.ready.empty() && state.random->below(8) == 0) {
    state.ready.push_back(warp);
    return run_another_warp(from);
  }
  begin_round(warp);
  run_next(warp, from);
}

void thread_main() {
  state.grid->call->run();
  require_no_copies();
  Warp* warp = state.warp;
  if (warp->waiting != 0) {
    end_with_divergence([&] { return "ends while other lanes of its warp wait at " + describe(warp->meeting); });
  }
  warp->exited++;
  run_next(warp, &warp->contexts[warp->lane]);
  __builtin_unreachable();
}

void run_warps() { run_another_warp(&state.host); }

void end_grid(cudaError_t error) {
  state.result = error;
  forget_copies();
  Context abandoned;
  switch_context(&abandoned, state.host);
  __builtin_unreachable();
}

}  // namespace emulated
