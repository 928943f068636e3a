// Stands in for CUDA's cooperative groups: thread block clusters, which are all of it that this library's kernels use.
#pragma once

#include "emulated/device_functions.h"

namespace cooperative_groups {

class cluster_group {
 public:
  static unsigned block_rank() { return emulated::cluster_block_rank(); }
  static unsigned num_blocks() { return emulated::cluster_num_blocks(); }
  static void sync(emulated::Site site = emulated::here()) { emulated::synchronize_cluster(site); }

  // The place in the shared memory of block `rank` that corresponds to `address` in the calling block's.
  template <class T>
  static T* map_shared_rank(T* address, unsigned rank) {
    return static_cast<T*>(emulated::map_shared_rank(const_cast<std::remove_const_t<T>*>(address), rank));
  }
};

inline cluster_group this_cluster() { return {}; }

}  // namespace cooperative_groups
