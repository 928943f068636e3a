// What the running device thread calls: its indices, barriers, shuffles and votes.
#include "include/emulated/device_functions.h"

#include "warps.h"

namespace emulated {
namespace {

constexpr unsigned kAllLanes = 0xffffffff;

void require_full_mask(unsigned mask, Wait wait, Site site) {
  if (mask != kAllLanes) {
    end_with_divergence([&] {
      return text("names lanes %08x at %s, where this emulation knows only full warps", mask,
                  describe({site, wait}).c_str());
    });
  }
}

}  // namespace

uint3 thread_index() { return unflatten(running.place & 0x3ff, state.grid->threads); }
uint3 block_index() { return state.warp->block->index; }
dim3 block_dimensions() { return state.grid->threads; }
dim3 grid_dimensions() { return state.grid->blocks; }
unsigned lane() { return state.warp->lane; }
unsigned cluster_block_rank() { return state.warp->block->rank; }
unsigned cluster_num_blocks() { return state.grid->cluster; }
unsigned char* dynamic_shared() { return reinterpret_cast<unsigned char*>(shared_of(state.warp->block->rank)); }

void* map_shared_rank(void* address, unsigned rank) {
  const auto own = reinterpret_cast<uintptr_t>(address) - shared_of(state.warp->block->rank);
  if (own > state.grid->shared_bytes || rank >= state.grid->cluster) {
    const HostCode host_code;
    add_finding("map_shared_rank", text("out of bounds: %s: map_shared_rank of %p to block %u of a cluster of %u",
                                        running_thread().c_str(), address, rank, state.grid->cluster));
    end_grid(cudaErrorIllegalAddress);
  }
  return reinterpret_cast<void*>(shared_of(rank) + own);
}

void synchronize_block(Site site) { wait_for_others(Wait::block, site); }
void synchronize_cluster(Site site) { wait_for_others(Wait::cluster, site); }

void synchronize_warp(unsigned mask, Site site) {
  require_full_mask(mask, Wait::warp, site);
  wait_for_others(Wait::warp, site);
}

uint64_t shuffle(unsigned mask, uint64_t bits, unsigned source, Site site) {
  require_full_mask(mask, Wait::shuffle, site);
  Warp* warp = state.warp;
  const unsigned parity = warp->parity;
  warp->values[parity][warp->lane] = bits;
  wait_for_others(Wait::shuffle, site);
  return warp->values[parity][source % kLanes];
}

unsigned ballot(unsigned mask, bool predicate, Site site) {
  require_full_mask(mask, Wait::vote, site);
  Warp* warp = state.warp;
  const unsigned parity = warp->parity;
  if (predicate) warp->votes[parity] |= 1u << warp->lane;
  wait_for_others(Wait::vote, site);
  return warp->votes[parity];
}

}  // namespace emulated
