// Which kernel computes a call, and with what launch: a pure function of the sizes and the device's properties, so that
// it can be tested for every GPU without one. No choice made here changes a bit of a result.
//
// The regimes are named by where a row lives while it is worked on:
//
//   tile       many short rows, or columns, in shared memory; a few lanes for each row
//   warp       one row in the registers of a warp
//   block      one row in the registers of a block, a chunk of 1024 columns for each warp
//   cluster    the same over the blocks of a cluster, which exchange their chunks' sums through distributed shared memory
//   shared     one row in the shared memory of a block, or of the blocks of a cluster
//   stream     one row in global memory, read twice by one block
//   split      rows spread over the whole GPU, read twice, with the chunks' sums in global memory between two launches
//   columns    the same for long rows along another axis than the last
#pragma once

#include <cstdint>

namespace softmax_native::cuda {

// The columns that are summed under one reference (numerics/format.h; device.cuh checks that it is the same number).
constexpr int kChunkColumns = 1024;

// An (outer, k, inner) array: element j of row (o, i) lies at (o * k + j) * inner + i.
struct Layout {
  int64_t outer;
  int64_t k;
  int64_t inner;
};

struct DeviceProperties {
  int compute_capability;  // 90 for 9.0: of the code that runs, which may be older than the device
  int largest_cluster;     // blocks, 1 where there are no clusters
  int multiprocessors;
  int64_t shared_per_block;           // the most a block may have, in bytes
  int64_t shared_per_multiprocessor;  // in bytes
  int64_t l2_bytes;
};

enum class Regime { tile, warp, block, cluster, shared, stream, split, columns };

inline const char* name_of(Regime regime) {
  constexpr const char* names[] = {"tile", "warp", "block", "cluster", "shared", "stream", "split", "columns"};
  return names[static_cast<int>(regime)];
}

// One launch. What a regime does not use is 0 or 1.
struct Plan {
  Regime regime;
  int elements;             // columns that each lane holds
  int warps;                // of a block
  int blocks_per_row;       // the size of the cluster
  int lanes_per_row;        // tile: 1, 2, 4 ... 32
  int64_t tile_outer;       // tile, columns: a block's rows are tile_outer x tile_inner
  int64_t tile_inner;       //
  int64_t stride;           // tile, columns: elements from row to row in shared memory
  int64_t chunks;           // of a row: of the blocks of a cluster, or of one slice of a split row, each
  int64_t chunks_per_slot;  // chunks that one warp sums one after the other: a power of two, 32 at most
  int64_t slices;           // split, columns: the pieces of a row
  int64_t rows_per_block;   // tile, warp, columns
  int64_t blocks;           // of the grid
  int64_t shared_bytes;     // of a block
};

// Blocks of a cluster: 8 is what every device of 9.0 and later allows; 16 needs an opt-in, which 9.0 and 10.0 have. Code
// of earlier generations, and its PTX on a later device, has none.
constexpr int largest_cluster(int device_capability, int code_capability) {
  if (device_capability < 90 || code_capability < 90) return 1;
  return device_capability == 90 || device_capability == 100 ? 16 : 8;
}

namespace policy {

constexpr int64_t ceil_div(int64_t a, int64_t b) { return (a + b - 1) / b; }
constexpr int64_t least(int64_t a, int64_t b) { return a < b ? a : b; }
constexpr int64_t most(int64_t a, int64_t b) { return a > b ? a : b; }

// The smallest power of two that is not below n.
constexpr int64_t power_of_two_from(int64_t n) {
  int64_t power = 1;
  while (power < n) power *= 2;
  return power;
}

// Warps of a block that reads long rows chunk by chunk, each through a chunk of its own in shared memory: 32 KB together,
// which no GPU has to be asked for.
constexpr int stream_warps(int64_t element_size) { return element_size == 4 ? 8 : 4; }

constexpr int64_t chunk_bytes(int64_t element_size, int64_t chunks) { return chunks * kChunkColumns * element_size; }

// Threads of a block in the regimes that do not choose it by the row: eight warps are enough for two or more blocks in
// a multiprocessor to overlap the loads of one with the arithmetic of the other.
constexpr int kWarps = 8;

// A tile holds about this much: a block's 256 threads then have up to 8 KB of loads in flight at a time, and four to
// eight blocks fit a multiprocessor. H100 needs 32 KB in flight, H200 48, B200 64 (CUB's tuning of its transform).
constexpr int64_t kTileBytes = 16 * 1024;

// Column tiles grow to this instead of being narrower than a memory transaction of 32 bytes: 8 columns of 1024 float32.
// Two fit the shared memory of every GPU, without the opt-in that more than 48 KB needs.
constexpr int64_t kColumnTileBytes = 34 * 1024;

// Up to this length contiguous rows go through tiles, where a block's loads in flight do not depend on k. A warp of the
// next regime has k * 4 bytes in flight, which from 256 on are enough with the 20 to 24 warps that its registers allow.
constexpr int64_t kTileColumns = 256;

// The most chunks in one block's registers: 128 registers a thread (float32) are two blocks of 8 warps for each
// multiprocessor, of which one loads while the other computes. Longer rows take a cluster, or shared memory.
constexpr int64_t kBlockChunks = 8;

// Sums of a row that a block holds in shared memory at a time, and 16 or 32 bytes for each.
constexpr int64_t kSlots = 256;
constexpr int64_t kMostSlots = 1024;  // what the tree over them can take (tree_of_array)

// Slices of a split row, whose sums every block of the second launch reads: 8 warps read 32 each.
constexpr int64_t kSlices = 256;

constexpr int64_t kSlotScalars = 4;  // a sum and a maximum

// Registers limit a multiprocessor to about this many warps (bench/results/kernel-resources.json).
constexpr int warps_per_multiprocessor(const Plan& plan) {
  if (plan.regime == Regime::warp || plan.regime == Regime::block || plan.regime == Regime::cluster) {
    return plan.elements == 16 ? 32 : 16;
  }
  return plan.elements == 8 ? 32 : 24;
}

constexpr int64_t slot_bytes(int64_t element_size, int64_t slots) {
  // The second level of the tree needs one more slot for each 32.
  return (slots + ceil_div(slots, 32)) * kSlotScalars * element_size;
}

// The chunks that a warp sums one after the other, so that `chunks` of them need no more than kSlots slots.
constexpr int64_t chunks_per_slot(int64_t chunks) { return power_of_two_from(ceil_div(chunks, kSlots)); }

// Rows in shared memory so far apart that neither the lanes of a warp that read adjacent columns of adjacent rows, nor
// (for columns) those that write adjacent rows, meet in the 32 banks: an odd multiple of the lanes of a row.
constexpr int64_t tile_stride(int64_t k, int lanes_per_row, bool columns) {
  const int64_t step = columns ? 1 : lanes_per_row;
  const int64_t multiple = ceil_div(k, step);
  return (multiple % 2 == 0 ? multiple + 1 : multiple) * step;
}

// Tiles: k up to 1024.
inline Plan tile(Layout layout, int64_t element_size, const DeviceProperties& device) {
  const int64_t k = layout.k, rows = layout.outer * layout.inner;
  Plan plan{};
  plan.regime = Regime::tile;
  plan.warps = kWarps;
  plan.blocks_per_row = 1;
  plan.elements = k <= 256 ? 8 : k <= 512 ? 16 : 32;
  plan.lanes_per_row = static_cast<int>(least(32, power_of_two_from(ceil_div(k, plan.elements))));
  const bool columns = layout.inner > 1;
  plan.stride = tile_stride(k, plan.lanes_per_row, columns);
  const int64_t row_bytes = plan.stride * element_size;
  const int64_t line = 128 / element_size, sector = 32 / element_size;
  // No fewer rows than there are lanes to work on them, so far as the batch is large enough to keep every block busy.
  const int64_t groups = kWarps * 32 / plan.lanes_per_row;
  const int64_t share = ceil_div(rows, 2 * device.multiprocessors);
  int64_t wanted = kTileBytes / row_bytes;
  // Where a warp works on a row, four rows at least.
  if (plan.lanes_per_row == 32) wanted = most(wanted, least(4, kColumnTileBytes / row_bytes));
  wanted = least(most(1, wanted), most(groups, share));
  if (columns) {
    // Whole lines of 128 bytes where they fit, never less than a sector.
    int64_t width = line;
    while (width > sector && width * row_bytes > kColumnTileBytes) width /= 2;
    plan.tile_inner = least(layout.inner, width);
    plan.tile_outer = plan.tile_inner == layout.inner ? most(1, wanted / layout.inner) : 1;
  } else {
    plan.tile_inner = 1;
    plan.tile_outer = wanted;
  }
  plan.tile_outer = least(plan.tile_outer, layout.outer);
  plan.rows_per_block = plan.tile_outer * plan.tile_inner;
  if (plan.lanes_per_row == 32) plan.warps = static_cast<int>(least(kWarps, plan.rows_per_block));
  plan.shared_bytes = plan.rows_per_block * row_bytes;
  plan.blocks = ceil_div(layout.outer, plan.tile_outer) * ceil_div(layout.inner, plan.tile_inner);
  return plan;
}

// A warp for each row of at most 1024 columns.
inline Plan warp(int64_t rows, int64_t k) {
  Plan plan{};
  plan.regime = Regime::warp;
  plan.elements = k <= 512 ? 16 : 32;
  plan.rows_per_block = plan.warps = 4;
  plan.blocks_per_row = 1;
  plan.chunks = 1;
  plan.blocks = ceil_div(rows, plan.rows_per_block);
  return plan;
}

// A block, or a cluster of blocks, whose warps hold one chunk of the row each. The chunks are dealt evenly.
inline Plan registers(int64_t rows, int64_t k, int64_t element_size, int blocks_per_row) {
  Plan plan{};
  const int64_t chunks = ceil_div(k, kChunkColumns);
  plan.regime = blocks_per_row > 1 ? Regime::cluster : Regime::block;
  plan.elements = 32;
  plan.blocks_per_row = blocks_per_row;
  plan.chunks = ceil_div(chunks, blocks_per_row);
  plan.chunks_per_slot = 1;
  plan.warps = static_cast<int>(plan.chunks);
  plan.rows_per_block = 1;
  plan.blocks = rows * blocks_per_row;
  plan.shared_bytes = slot_bytes(element_size, chunks);
  return plan;
}

// A block, or a cluster of blocks, that keeps the row's logits in shared memory. Not every number of chunks divides
// well: a block's are as many as the even share.
inline Plan shared(int64_t rows, int64_t k, int64_t element_size, int blocks_per_row) {
  Plan plan = registers(rows, k, element_size, blocks_per_row);
  plan.regime = Regime::shared;
  plan.warps = static_cast<int>(least(2 * kWarps, plan.chunks));
  plan.shared_bytes += chunk_bytes(element_size, plan.chunks);
  return plan;
}

inline Plan stream(int64_t rows, int64_t k, int64_t element_size) {
  Plan plan{};
  const int64_t chunks = ceil_div(k, kChunkColumns);
  plan.regime = Regime::stream;
  plan.elements = 32;
  plan.warps = stream_warps(element_size);
  plan.blocks_per_row = 1;
  plan.chunks = chunks;
  plan.chunks_per_slot = chunks_per_slot(chunks);
  plan.rows_per_block = 1;
  plan.blocks = rows;
  plan.shared_bytes =
      chunk_bytes(element_size, plan.warps) + slot_bytes(element_size, ceil_div(chunks, plan.chunks_per_slot));
  return plan;
}

// Slices of a power of two of chunks: as small as keeps every multiprocessor busy twice, as large as kSlices demands.
inline void cut_into_slices(Plan& plan, int64_t k, int64_t rows_of_blocks, const DeviceProperties& device) {
  const int64_t chunks = ceil_div(k, kChunkColumns);
  const int64_t for_every_multiprocessor = rows_of_blocks * chunks / (2 * device.multiprocessors);
  int64_t slice = power_of_two_from(ceil_div(chunks, kSlices));
  while (slice < kWarps && 2 * slice <= for_every_multiprocessor) slice *= 2;
  plan.chunks = slice;
  plan.slices = ceil_div(chunks, slice);
  plan.chunks_per_slot = chunks_per_slot(slice);
  plan.blocks = rows_of_blocks * plan.slices;
  plan.elements = 32;
  plan.blocks_per_row = 1;
}

inline Plan split(int64_t rows, int64_t k, int64_t element_size, const DeviceProperties& device) {
  Plan plan{};
  plan.regime = Regime::split;
  cut_into_slices(plan, k, rows, device);
  plan.warps = static_cast<int>(least(stream_warps(element_size), plan.chunks));
  plan.rows_per_block = 1;
  plan.shared_bytes = chunk_bytes(element_size, plan.warps) +
                      slot_bytes(element_size, most(ceil_div(plan.chunks, plan.chunks_per_slot), plan.slices));
  return plan;
}

// Rows of more than 1024 elements along another axis: a block takes the columns that one transaction or more reads
// together, a warp for each.
inline Plan columns(Layout layout, int64_t element_size, const DeviceProperties& device) {
  Plan plan{};
  plan.regime = Regime::columns;
  const int64_t width = 32 / element_size;
  plan.tile_inner = least(layout.inner, width);
  plan.tile_outer = plan.tile_inner == layout.inner ? most(1, width / layout.inner) : 1;
  plan.tile_outer = least(plan.tile_outer, layout.outer);
  plan.rows_per_block = plan.tile_outer * plan.tile_inner;
  plan.warps = static_cast<int>(plan.rows_per_block);
  plan.stride = tile_stride(kChunkColumns, 1, true);
  cut_into_slices(plan, layout.k, ceil_div(layout.outer, plan.tile_outer) * ceil_div(layout.inner, plan.tile_inner),
                  device);
  plan.shared_bytes = plan.rows_per_block * plan.stride * element_size;
  return plan;
}

}  // namespace policy

// What a plan is expected to do, from the plan alone.
struct Prediction {
  double passes;           // times the array's bytes are moved from or to the GPU's memory: 2 is a copy
  double bytes_in_flight;  // loads that a multiprocessor can have on their way at a time
  double seconds;          // for choosing between plans: the scale is that of an H100
};

inline Prediction predict(const Plan& plan, Layout layout, int64_t element_size, const DeviceProperties& device) {
  using namespace policy;
  const int64_t rows = layout.outer * layout.inner;
  const double row_bytes = static_cast<double>(layout.k) * static_cast<double>(element_size);
  const double bytes = row_bytes * static_cast<double>(rows);

  // Blocks that fit a multiprocessor: by threads and registers, and by shared memory (1 KB of it is the system's).
  const int64_t by_warps = warps_per_multiprocessor(plan) / most(1, plan.warps);
  const int64_t by_shared = device.shared_per_multiprocessor / (plan.shared_bytes + 1024);
  const int64_t resident = most(1, least(least(by_warps, by_shared), 32));
  const int64_t active = least(resident, most(1, ceil_div(plan.blocks, device.multiprocessors)));
  const double busy = static_cast<double>(least(plan.blocks, device.multiprocessors));

  Prediction result;
  // Second reads come from the level-2 cache as far as what all blocks have in hand fits it.
  const bool reads_twice =
      plan.regime == Regime::stream || plan.regime == Regime::split || plan.regime == Regime::columns;
  const double in_hand = plan.regime == Regime::stream ? row_bytes * busy * static_cast<double>(active) : bytes;
  const double held = in_hand > 0 ? static_cast<double>(device.l2_bytes) / in_hand : 1;
  result.passes = !reads_twice || held >= 1 ? 2 : plan.regime == Regime::stream ? 3 - held : 3;

  // Loads on their way in a block: a tile's 8 a thread, all of a row in registers, or half a chunk for each warp.
  const double size = static_cast<double>(element_size);
  const double threads = 32.0 * plan.warps;
  const double part_bytes = row_bytes / plan.blocks_per_row;
  double block_bytes = least(static_cast<int64_t>(part_bytes), static_cast<int64_t>(16 * threads * size));
  if (plan.regime == Regime::tile) {
    block_bytes = least(plan.rows_per_block * layout.k, static_cast<int64_t>(8 * threads)) * size;
  } else if (plan.regime == Regime::warp) {
    block_bytes = row_bytes * plan.warps;
  } else if (plan.regime == Regime::block || plan.regime == Regime::cluster) {
    block_bytes = part_bytes;
  }
  result.bytes_in_flight = block_bytes * static_cast<double>(resident);

  // One multiprocessor alone moves about 60 GB/s, and its share of the memory's rate is 23 GB/s (H100); a launch takes
  // about 2 microseconds more when it waits for the one before.
  const double launches = plan.regime == Regime::split || plan.regime == Regime::columns ? 3 : 1;
  const double rate = 60e9 * busy < 23e9 * device.multiprocessors ? 60e9 * busy : 23e9 * device.multiprocessors;
  // What the level-2 cache serves costs about half of what the memory does.
  const double cached = reads_twice ? (3 - result.passes) / 2 : 0;
  result.seconds = 2e-6 * launches + bytes * (result.passes + cached) / rate;
  return result;
}

// The plan for softmax. rows and k are at least 1.
inline Plan softmax_plan(Layout layout, int64_t element_size, const DeviceProperties& device) {
  using namespace policy;
  const int64_t k = layout.k, rows = layout.outer * layout.inner;
  if (layout.inner > 1) {
    return k <= kChunkColumns ? tile(layout, element_size, device) : columns(layout, element_size, device);
  }
  // Float64 would not fit a warp's registers with its exponentials.
  if (k <= (element_size == 4 ? kTileColumns : kChunkColumns)) return tile(layout, element_size, device);
  if (k <= kChunkColumns) return warp(rows, k);

  const int64_t chunks = ceil_div(k, kChunkColumns);
  const int most_blocks = device.largest_cluster;
  const int blocks = static_cast<int>(least(most_blocks, power_of_two_from(ceil_div(chunks, kBlockChunks))));
  Plan whole{};
  if (element_size == 4 && chunks <= kBlockChunks * blocks) {
    whole = registers(rows, k, element_size, blocks);
  } else {
    whole = shared(rows, k, element_size, blocks);
    if (whole.shared_bytes > device.shared_per_block || chunks > kMostSlots) whole = stream(rows, k, element_size);
  }
  // Few rows leave most of the GPU idle; and a row too long for one block's slots is always split.
  const Plan spread = split(rows, k, element_size, device);
  if (whole.chunks_per_slot > 32) return spread;
  const double whole_seconds = predict(whole, layout, element_size, device).seconds;
  return predict(spread, layout, element_size, device).seconds < whole_seconds ? spread : whole;
}

// Row max: read only, so that a row is simply shared out over lanes, blocks and, for few long rows, slices.
struct RowMaxPlan {
  bool columns;       // along another axis than the last: one thread a column
  int lanes_per_row;  // up to 32; 0: a block for each slice of a row
  int64_t slices;     // of a row; more than 1 needs a second launch
  int64_t slice_columns;
  int64_t blocks;
};

constexpr int kRowMaxThreads = 256;

inline RowMaxPlan row_max_plan(Layout layout, const DeviceProperties& device) {
  using namespace policy;
  const int64_t k = layout.k, rows = layout.outer * layout.inner;
  // Enough threads to fill every multiprocessor twice with blocks; no slice shorter than what is worth a block.
  const int64_t wanted_blocks = 4 * static_cast<int64_t>(device.multiprocessors);
  RowMaxPlan plan{layout.inner > 1, 0, 1, k, 0};
  if (plan.columns) {
    const int64_t blocks = ceil_div(rows, kRowMaxThreads);
    plan.lanes_per_row = 1;
    plan.slices = most(1, least(ceil_div(wanted_blocks, blocks), least(k / 64, 1024)));
    plan.slice_columns = ceil_div(k, plan.slices);
    plan.slices = most(1, ceil_div(k, most(1, plan.slice_columns)));
    plan.blocks = blocks * plan.slices;
    return plan;
  }
  if (k <= 4096) {
    plan.lanes_per_row = static_cast<int>(least(32, power_of_two_from(ceil_div(most(k, 1), 4))));
    plan.blocks = ceil_div(rows, kRowMaxThreads / plan.lanes_per_row);
    return plan;
  }
  plan.slices = most(1, least(ceil_div(wanted_blocks, rows), least(k / 4096, 1024)));
  // Whole vectors in every slice but the last.
  plan.slice_columns = ceil_div(ceil_div(k, plan.slices), 4) * 4;
  plan.slices = ceil_div(k, plan.slice_columns);
  plan.blocks = rows * plan.slices;
  return plan;
}

}  // namespace softmax_native::cuda
