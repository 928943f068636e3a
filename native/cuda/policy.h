// Which kernel computes a call, and with what launch: a pure function of the sizes and the device's properties, so that
// it can be tested for every GPU without one. No choice made here changes a bit of a result.
//
// The regimes are named by where a row lives while it is worked on:
//
//   tile           many short rows, or columns, in shared memory; 1 to 32 lanes for each row
//   warp           one row in the registers of a warp
//   block          one row in the registers of a block, a chunk of 1024 columns for each warp
//   cluster        the same over the blocks of a cluster, which exchange their chunks' sums through distributed shared
//                  memory
//   shared         one row in the shared memory of a block, or of the blocks of a cluster
//   stream         one row in global memory, read twice by one block
//   split          rows spread over the whole GPU, read twice, with the chunks' sums in global memory between launches
//   columns        as `shared`, for adjacent long rows along another axis than the last
//   split columns  as `split`, for such rows
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
  int compute_capability;  // 90 for 9.0, as planned_capability gives it
  int largest_cluster;     // blocks, 1 where there are no clusters
  int multiprocessors;
  int64_t shared_per_block;           // the most a block may have, in bytes
  int64_t shared_per_multiprocessor;  // in bytes
  int64_t l2_bytes;
  int memory_bus_bits;  // 0 where it is not known
};

enum class Regime { tile, warp, block, cluster, shared, stream, split, columns, split_columns };

inline const char* name_of(Regime regime) {
  constexpr const char* names[] = {"tile",   "warp",  "block",   "cluster",      "shared",
                                   "stream", "split", "columns", "split columns"};
  return names[static_cast<int>(regime)];
}

// One launch. What a regime does not use is 0 or 1.
struct Plan {
  Regime regime;
  int elements;              // columns that each lane holds
  int warps;                 // of a block
  int blocks_per_row;        // the size of the cluster
  int lanes_per_row;         // tile: 1, 2, 4 ... 32
  int64_t tile_outer;        // tile, columns: a block's rows are tile_outer x tile_inner
  int64_t tile_inner;        //
  int64_t stride;            // in shared memory: of a tile from element to element of a row, of columns from row to row
  int64_t tail_offset;       // tile: the place in shared memory for second halves of exponentials, in elements, or 0
  int64_t chunks_per_block;  // of a row
  int64_t chunks_per_slot;   // chunks that one warp sums one after the other: a power of two, 32 at most
  int64_t slices;            // split, split columns: the pieces of a row
  int64_t rows_per_block;    // more than 1 in tile, warp, columns and split columns
  int64_t blocks;            // of the grid
  int64_t sum_blocks;        // split: of the launches that sum, as many as run at the same time
  int64_t shared_bytes;      // of a block
  bool staged;               // block, cluster: rows come through shared memory, the next one while one is worked on
};

// Blocks of a cluster: 8 is what every device of 9.0 and later allows; 16 needs an opt-in, which 9.0 and 10.0 have.
// Code of earlier generations, and its PTX on a later device, has none.
constexpr int largest_cluster(int device_capability, int code_capability) {
  if (device_capability < 90 || code_capability < 90) return 1;
  return device_capability == 90 || device_capability == 100 ? 16 : 8;
}

// The generation that launches are planned for where a device runs code of an earlier one: the device's, whose limits and
// rates count, unless the plans would ask the code for copies that it does not have (has_async_copies).
constexpr int planned_capability(int device_capability, int code_capability) {
  return device_capability >= 80 && code_capability < 80 ? code_capability : device_capability;
}

namespace policy {

constexpr int64_t ceil_div(int64_t a, int64_t b) { return (a + b - 1) / b; }
constexpr int64_t least(int64_t a, int64_t b) { return a < b ? a : b; }
constexpr int64_t most(int64_t a, int64_t b) { return a > b ? a : b; }
constexpr double least_of(double a, double b) { return a < b ? a : b; }

// The smallest power of two that is not below n.
constexpr int64_t power_of_two_from(int64_t n) {
  int64_t power = 1;
  while (power < n) power *= 2;
  return power;
}

// Warps of a block that reads long rows chunk by chunk, each through a chunk of its own in shared memory: 32 KB
// together, which no GPU has to be asked for.
constexpr int stream_warps(int64_t element_size) { return element_size == 4 ? 8 : 4; }

// Elements that a thread loads before it waits for the first, where copies go through registers: of columns
// (column_tile.cuh); of a chunk (copy_chunk), half of it, as all of it would take the registers of half the warps.
constexpr int kTileLoads = 8;
constexpr int kChunkLoads = 16;

constexpr int64_t chunk_bytes(int64_t element_size, int64_t chunks) { return chunks * kChunkColumns * element_size; }

// Threads of a block in the regimes that do not choose it by the row: eight warps are enough for two or more blocks in
// a multiprocessor to overlap the loads of one with the arithmetic of the other.
constexpr int kWarps = 8;

// Column tiles may grow to this rather than be narrower than a memory transaction of 32 bytes: 8 columns of 1024
// float32.
constexpr int64_t kColumnTileBytes = 34 * 1024;

// Up to this length contiguous rows go through tiles, where a block's loads in flight do not depend on k. A warp of the
// next regime has k * 4 bytes in flight, which from 256 on are enough, given the warps that its registers allow.
constexpr int64_t kTileColumns = 256;

// The most chunks in one block's registers: 128 registers a thread (float32) are two blocks of 8 warps for each
// multiprocessor, of which one computes while the other waits for all its warps' sums. Longer rows take a cluster, then
// blocks of twice the warps where those get their next row on the way, or shared memory.
constexpr int64_t kBlockChunks = 8;

// Sums of a row that a block holds in shared memory at a time, of 16 or 32 bytes: 8 KB at most, a small part of what
// the chunks take, and a slot of one chunk for rows of up to 262,144 columns.
constexpr int64_t kSlots = 256;
constexpr int64_t kMostSlots = 1024;  // what the tree over them can take (tree_of_array)

// Slices of a split row, whose sums every block of the last launch reads: 4 or 8 KB, a small part of its 8 chunks, and
// enough for two blocks on each of 128 multiprocessors.
constexpr int64_t kSlices = 256;

constexpr int64_t kSlotScalars = 4;  // a sum and a maximum

constexpr int64_t kSystemShared = 1024;  // of every block's shared memory

// The most registers that a thread of a regime's kernels needs (bench/results/kernel-resources.json, with which a test
// compares these).
constexpr int64_t registers_per_thread(const Plan& plan, int64_t element_size, int compute_capability) {
  const bool wide = element_size == 8;
  switch (plan.regime) {
    case Regime::tile:
      if (wide) {
        return plan.elements == 2                                                       ? 60
               : plan.elements == 4                                                     ? 81
               : compute_capability < 90 && plan.elements == 8 && plan.tail_offset == 0 ? 100
                                                                                        : 128;
      }
      if (plan.elements == 32) return plan.stride == 1 ? 128 : 168;
      return plan.elements == 2 ? 40 : plan.elements == 4 ? 53 : plan.elements == 8 ? 64 : 80;
    case Regime::warp:
      return plan.elements == 16 ? 64 : 108;
    case Regime::block:
    case Regime::cluster:
      return 128;
    case Regime::shared:
    case Regime::stream:
      return wide ? 168 : 112;
    case Regime::columns:
      return wide ? 128 : 80;
    case Regime::split:
    case Regime::split_columns:
      return wide ? 168 : 120;
  }
  return 255;
}

constexpr int64_t kRegistersPerMultiprocessor = 65536;

// The most warps of a multiprocessor.
constexpr int64_t most_warps(int compute_capability) {
  return compute_capability == 75                               ? 32
         : compute_capability == 80                             ? 64
         : compute_capability < 90 || compute_capability >= 120 ? 48
                                                                : 64;
}

// The most blocks of a multiprocessor.
constexpr int64_t most_blocks(int compute_capability) {
  return compute_capability == 75 || compute_capability == 86    ? 16
         : compute_capability == 89 || compute_capability >= 120 ? 24
                                                                 : 32;
}

// Loads that a multiprocessor must have on their way for the memory's full rate (CUB's tuning of its transform). Of the
// GPUs of 9.0 those with a wider bus than the H100's, as the H200, move more in the same time.
constexpr double bytes_in_flight_wanted(const DeviceProperties& device) {
  const int generation = device.compute_capability / 10;
  if (generation == 9 && device.memory_bus_bits > 5120) return 1024.0 * 48;
  return 1024.0 * (generation == 10 ? 64 : generation == 9 ? 32 : generation >= 8 ? 16 : 8);
}

// The rate of the memory for each multiprocessor in bytes a second: 0.9 of what the B200 (8.0 TB/s), H200 (4.8), H100
// (3.35) and A100 (1.55) are sold with, as copies reach that; 8 GB/s lie between a T4's and an RTX 5090's.
constexpr double memory_rate(const DeviceProperties& device) {
  const int generation = device.compute_capability / 10;
  if (generation == 10) return 49e9;
  if (generation == 9) return device.memory_bus_bits > 5120 ? 33e9 : 23e9;
  return device.compute_capability == 80 ? 13e9 : 8e9;
}

// Instructions that a multiprocessor issues for its threads in a second: four warps' in a cycle.
constexpr double kInstructionRate = 128 * 1.7e9;

// A tile holds about this much, all of which is on its way at a time where copies need no registers: two tiles or more
// fit a multiprocessor at once, whatever their kernel's registers.
constexpr int64_t bytes_of_tile(const DeviceProperties& device) {
  const int64_t least_bytes = device.shared_per_multiprocessor < 96 * 1024 ? 16 * 1024 : 20 * 1024;
  return most(least_bytes, static_cast<int64_t>(bytes_in_flight_wanted(device)) / 2);
}

// Whether copies from global to shared memory can be on their way without a register (device.cuh).
constexpr bool has_async_copies(int compute_capability) { return compute_capability >= 80; }

// The second level of the tree needs one more slot for each 32.
constexpr int64_t slots_with_tree(int64_t slots) { return slots + ceil_div(slots, 32); }
constexpr int64_t slot_bytes(int64_t element_size, int64_t slots) {
  return slots_with_tree(slots) * kSlotScalars * element_size;
}

// The chunks that a warp sums one after the other, so that `chunks` of them need no more than kSlots slots.
constexpr int64_t chunks_per_slot(int64_t chunks) { return power_of_two_from(ceil_div(chunks, kSlots)); }

// Elements from row to row of columns in shared memory: the least from k on that is ceil(lanes / width) modulo `lanes`,
// of which the banks serve so many at a time. Lanes that each have the next of `width` adjacent rows, and then the next
// element, meet in no bank where `width` is a power of two, and at most two of them elsewhere.
constexpr int64_t column_stride(int64_t k, int64_t width, int64_t element_size) {
  const int64_t lanes = 128 / element_size;
  return k + (ceil_div(lanes, width) + lanes - k % lanes) % lanes;
}

// The width of tiles of the inner axis, of `most_columns` at most, as even as whole sectors allow where rows of the
// inner axis consist of such and one is not too wide.
constexpr int64_t even_width(int64_t inner, int64_t most_columns, int64_t element_size) {
  const int64_t sector = 32 / element_size;
  const int64_t even = ceil_div(inner, ceil_div(inner, most_columns));
  return inner % sector == 0 && most_columns >= sector ? ceil_div(even, sector) * sector : even;
}

// Elements from line to line of a tile of columns, of which each warp takes `columns` at a time: an odd multiple of
// those, so that the lanes of a column, which read further lines, meet other banks.
constexpr int64_t line_stride(int64_t width, int64_t columns) {
  return columns == 32 ? width : (ceil_div(width, columns) | 1) * columns;
}

// Rows of float64 of which a lane has more than 8 columns: their exponentials, of two numbers each, wait for the row's
// sum in shared memory, the first half in the logit's place.
constexpr bool terms_in_memory(int64_t k, int64_t element_size) { return element_size == 8 && k > 256; }

// Where the rows of a tile lie in shared memory: `wanted` of them in one span of the array, which may begin anywhere, if
// they are contiguous or `width` holds the whole inner axis; else, and where a span would meet in few banks, lines of
// `width` adjacent columns at most.
inline void place_tile(Plan& plan, Layout layout, int64_t wanted, int64_t width, int64_t element_size) {
  const int64_t k = layout.k, inner = layout.inner;
  const bool in_memory = terms_in_memory(k, element_size);
  int64_t bytes = 0;
  plan.tile_inner = even_width(inner, width, element_size);
  // A warp for a row would meet in a quarter of the banks or fewer where 4, 8 ... rows lie between its elements.
  if (plan.tile_inner == inner && !(in_memory && inner % 4 == 0)) {
    plan.stride = inner;
    plan.tile_outer = least(most(1, wanted / inner), layout.outer);
    bytes = ceil_div(plan.tile_outer * inner * k * element_size, 128) * 128 + 16;
  } else {
    plan.stride = line_stride(plan.tile_inner, 32 / plan.lanes_per_row);
    plan.tile_outer = 1;
    bytes = k * plan.stride * element_size;
  }
  plan.rows_per_block = plan.tile_outer * plan.tile_inner;
  plan.tail_offset = in_memory ? bytes / element_size : 0;
  plan.shared_bytes = bytes + (in_memory ? plan.rows_per_block * k * element_size : 0);
}

// Tiles: k up to 1024. A block's rows lie in shared memory in the array's own order, so that they are copied there and
// back in vectors, wherever they begin and end.
inline Plan tile(Layout layout, int64_t element_size, const DeviceProperties& device) {
  const int64_t k = layout.k, inner = layout.inner, rows = layout.outer * inner;
  Plan plan{};
  plan.regime = Regime::tile;
  plan.blocks_per_row = 1;
  const bool in_memory = terms_in_memory(k, element_size);
  const int64_t row_bytes = k * element_size * (in_memory ? 2 : 1);
  const auto four_fit = [&](int64_t rows_of_block) {
    return 4 * (rows_of_block * row_bytes + 16 + kSystemShared) <= device.shared_per_multiprocessor;
  };
  // Up to 32 columns of float32 in a lane: what a row takes beside its exponentials is then little for each of them. Of
  // float64, which needs twice the registers or more, 8 as far as 32 lanes go.
  const int64_t most_elements = element_size == 4 ? 32 : 8;
  plan.elements = static_cast<int>(least(power_of_two_from(most(k, 2)), most_elements));
  plan.lanes_per_row = static_cast<int>(least(32, power_of_two_from(ceil_div(k, plan.elements))));
  // Small blocks: while one copies, others compute. No fewer rows than there are lanes to work on them, so far as the
  // batch is large enough to keep every block busy.
  const bool two_rows = in_memory && !four_fit(4);
  const int64_t groups = two_rows ? 2 : 4 * 32 / plan.lanes_per_row;
  // Where lanes have few columns for what each does beside them, or float64, a block computes for longer: it is worth
  // more that others have much on its way meanwhile. (On an H100 65 columns reach 0.86 of a copy with 16 KB, 0.92 with 32
  // KB; 64 and 100 columns 0.97 and 0.98 with either.) Four blocks of it must fit.
  const bool computes_long =
      plan.lanes_per_row > 1 && (element_size == 8 || ceil_div(k, plan.lanes_per_row) < 3 * plan.elements / 4);
  const int64_t tile_bytes =
      computes_long && device.shared_per_multiprocessor >= 4 * 36 * 1024 ? 32 * 1024 : bytes_of_tile(device);
  const int64_t share = ceil_div(rows, 2 * device.multiprocessors);
  int64_t wanted = least(ceil_div(tile_bytes, row_bytes), most(groups, share));
  // Of whole rounds of all lanes: rather one more, if four blocks of it fit a multiprocessor.
  const int64_t rounded_up = ceil_div(wanted, groups) * groups;
  const int64_t rounded = (wanted + (in_memory ? 0 : groups / 2)) / groups * groups;
  wanted = four_fit(rounded_up) ? rounded_up : most(groups, rounded);
  // Whole lines of 128 bytes of the inner axis where they fit, and less than a sector only where that does not.
  const int64_t line = 128 / element_size, most_bytes = most(kColumnTileBytes, 2 * tile_bytes);
  int64_t width = 32 / element_size;
  while (width < wanted && 2 * width * row_bytes <= most_bytes) width = width < line ? 2 * width : width + line;
  place_tile(plan, layout, wanted, width, element_size);
  for (; plan.shared_bytes > device.shared_per_block; width /= 2)
    place_tile(plan, layout, wanted, width / 2, element_size);
  // Warps without a row help where copies go through registers.
  plan.warps = two_rows && plan.rows_per_block == 2 && has_async_copies(device.compute_capability) ? 2 : 4;
  plan.blocks = ceil_div(layout.outer, plan.tile_outer) * ceil_div(inner, plan.tile_inner);
  return plan;
}

// A warp for each row of at most 1024 columns.
inline Plan warp(int64_t rows, int64_t k) {
  Plan plan{};
  plan.regime = Regime::warp;
  plan.elements = k <= 512 ? 16 : 32;
  // Small blocks: their warps share nothing, and a block's place in the multiprocessor is free when the last has ended.
  plan.rows_per_block = plan.warps = 4;
  plan.blocks_per_row = 1;
  plan.chunks_per_block = 1;
  plan.blocks = ceil_div(rows, plan.rows_per_block);
  return plan;
}

// Blocks that fit a multiprocessor: by its threads, by registers, and by shared memory.
inline int64_t resident_blocks(const Plan& plan, int64_t element_size, const DeviceProperties& device) {
  const int64_t warps = most(1, plan.warps);
  const int64_t registers =
      ceil_div(registers_per_thread(plan, element_size, device.compute_capability), 8) * 8 * 32 * warps;
  const int64_t by_shared = device.shared_per_multiprocessor / (plan.shared_bytes + kSystemShared);
  const int64_t by_threads =
      least(most_warps(device.compute_capability) / warps, most_blocks(device.compute_capability));
  return most(1, least(by_threads, least(kRegistersPerMultiprocessor / registers, by_shared)));
}

// The chunks of a row dealt evenly to a block or to the blocks of a cluster.
inline Plan deal_chunks(int64_t rows, int64_t k, int64_t element_size, int blocks_per_row) {
  Plan plan{};
  const int64_t chunks = ceil_div(k, kChunkColumns);
  plan.elements = 32;
  plan.blocks_per_row = blocks_per_row;
  plan.chunks_per_block = ceil_div(chunks, blocks_per_row);
  plan.chunks_per_slot = 1;
  plan.warps = static_cast<int>(plan.chunks_per_block);
  plan.rows_per_block = 1;
  plan.blocks = rows * blocks_per_row;
  plan.shared_bytes = slot_bytes(element_size, chunks);
  return plan;
}

// Columns of float32 that a warp has room for in shared memory where it gets its chunk through that: a chunk, and what
// it may lie beside a multiple of 16 bytes.
constexpr int64_t kStagedColumns = kChunkColumns + 8;

constexpr int64_t kNearlyAllWarps = 14;  // of 16, with 128 registers a thread

// A block, or a cluster of blocks, whose warps hold one chunk of the row each. Where rows are staged, as many as run at
// the same time, each of which takes one row after the other; elsewhere one for each row.
inline Plan registers(int64_t rows, int64_t k, int64_t element_size, int blocks_per_row,
                      const DeviceProperties& device) {
  Plan plan = deal_chunks(rows, k, element_size, blocks_per_row);
  plan.regime = blocks_per_row > 1 ? Regime::cluster : Regime::block;
  plan.shared_bytes *= 2;  // one row's sums may still be read when the next one's are put
  // Blocks of one row each are quicker where their registers hold nearly as many warps as fit, and their loads are
  // vectors. (Of 6 warps two blocks fit, of 5 three.)
  const int64_t resident_warps = plan.warps * resident_blocks(plan, element_size, device);
  const bool has_vectors = k % (16 / element_size) == 0;
  plan.staged = has_async_copies(device.compute_capability) &&
                (blocks_per_row > 1 || !has_vectors || resident_warps < kNearlyAllWarps);
  if (plan.staged) plan.shared_bytes += plan.warps * kStagedColumns * element_size;
  const int64_t at_once =
      plan.staged ? resident_blocks(plan, element_size, device) * device.multiprocessors / blocks_per_row : rows;
  plan.blocks = least(rows, most(1, at_once)) * blocks_per_row;
  return plan;
}

// A block, or a cluster of blocks, that keeps the row's logits in shared memory. Not every number of chunks divides
// well: a block's are as many as the even share. A warp has several chunks, where those that come later hold no
// registers on their way.
inline Plan shared(int64_t rows, int64_t k, int64_t element_size, int blocks_per_row, const DeviceProperties& device) {
  Plan plan = deal_chunks(rows, k, element_size, blocks_per_row);
  plan.regime = Regime::shared;
  const int64_t chunks_per_warp = has_async_copies(device.compute_capability) ? 2 : 1;
  constexpr int64_t most_warps = 12;  // that the registers of float64 allow
  plan.warps = static_cast<int>(least(most_warps, ceil_div(plan.chunks_per_block, chunks_per_warp)));
  plan.shared_bytes += chunk_bytes(element_size, plan.chunks_per_block);
  return plan;
}

inline Plan stream(int64_t rows, int64_t k, int64_t element_size) {
  Plan plan{};
  const int64_t chunks = ceil_div(k, kChunkColumns);
  plan.regime = Regime::stream;
  plan.elements = 32;
  plan.warps = stream_warps(element_size);
  plan.blocks_per_row = 1;
  plan.chunks_per_block = chunks;
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
  plan.chunks_per_block = slice;
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
  plan.warps = static_cast<int>(least(stream_warps(element_size), plan.chunks_per_block));
  plan.rows_per_block = 1;
  // One slice's slots may still be read when the next one's are put.
  const int64_t slots = 2 * ceil_div(plan.chunks_per_block, plan.chunks_per_slot);
  plan.shared_bytes = plan.warps * kStagedColumns * element_size + slot_bytes(element_size, slots);
  plan.sum_blocks = least(plan.blocks, resident_blocks(plan, element_size, device) * device.multiprocessors);
  return plan;
}

// Rows of more than 1024 elements along another axis: as many adjacent ones as one transaction or more reads together.
inline void take_columns(Plan& plan, Layout layout, int64_t element_size) {
  const int64_t width = 32 / element_size;
  plan.tile_inner = even_width(layout.inner, width, element_size);
  plan.tile_outer = plan.tile_inner == layout.inner ? least(most(1, width / layout.inner), layout.outer) : 1;
  plan.rows_per_block = plan.tile_outer * plan.tile_inner;
}

// Blocks of the rows that take_columns puts together.
inline int64_t column_tiles(const Plan& plan, Layout layout) {
  return ceil_div(layout.outer, plan.tile_outer) * ceil_div(layout.inner, plan.tile_inner);
}

// Read twice, a warp for each row.
inline Plan split_columns(Layout layout, int64_t element_size, const DeviceProperties& device) {
  Plan plan{};
  plan.regime = Regime::split_columns;
  take_columns(plan, layout, element_size);
  plan.warps = static_cast<int>(plan.rows_per_block);
  plan.stride = column_stride(kChunkColumns, plan.tile_inner, element_size);
  cut_into_slices(plan, layout.k, column_tiles(plan, layout), device);
  plan.shared_bytes = plan.rows_per_block * plan.stride * element_size;
  return plan;
}

// Held in the shared memory of a block or of a cluster: of the smallest one that leaves room for a second block in the
// multiprocessor, or else of the largest. Where not even that has room, of fewer rows, if they are adjacent without the
// others; shared_bytes is then still what the smallest needs.
inline Plan columns(Layout layout, int64_t element_size, const DeviceProperties& device) {
  Plan plan{};
  plan.regime = Regime::columns;
  plan.elements = kChunkColumns / 32;
  take_columns(plan, layout, element_size);
  const int64_t chunks = ceil_div(layout.k, kChunkColumns);
  const int64_t half = device.shared_per_multiprocessor / 2 - kSystemShared;
  const auto spread_over = [&](int blocks) {
    plan.blocks_per_row = blocks;
    plan.chunks_per_block = ceil_div(chunks, blocks);
    plan.stride = column_stride(least(layout.k, plan.chunks_per_block * kChunkColumns), plan.tile_inner, element_size);
    plan.rows_per_block = plan.tile_outer * plan.tile_inner;
    // The logits, the sums of all chunks, and the rows' totals.
    const int64_t logits_bytes = ceil_div(plan.rows_per_block * plan.stride * element_size, 16) * 16;
    plan.shared_bytes = logits_bytes + plan.rows_per_block * (chunks + 1) * kSlotScalars * element_size;
  };
  for (spread_over(1); plan.shared_bytes > half && plan.blocks_per_row < device.largest_cluster;) {
    spread_over(2 * plan.blocks_per_row);
  }
  while (plan.shared_bytes > device.shared_per_block && plan.tile_outer > 1) {
    plan.tile_outer /= 2;
    spread_over(plan.blocks_per_row);
  }
  plan.warps = plan.shared_bytes > half ? 2 * kWarps : element_size == 4 ? kWarps : kWarps / 2;
  plan.blocks = column_tiles(plan, layout) * plan.blocks_per_row;
  return plan;
}

// Instructions of a thread for each element of float32, as counted on an H100: 46 for exponential, sum, product and
// copies where the exponential is kept, and 200 for a row's reference, the exchanges of its sum and its division, in
// every lane that works on it.
inline double instructions_per_element(const Plan& plan, Layout layout) {
  const auto k = static_cast<double>(layout.k);
  switch (plan.regime) {
    case Regime::tile: {
      // Lanes beyond the row's columns compute along.
      const auto lanes = static_cast<double>(plan.lanes_per_row);
      const auto columns = static_cast<double>(ceil_div(layout.k, plan.lanes_per_row));
      return (46 * columns + 200) * lanes / k + (layout.inner > 1 ? 8 : 5);
    }
    case Regime::warp:
    case Regime::block:
    case Regime::cluster: {
      const auto columns = static_cast<double>(ceil_div(layout.k, 128) * 128);  // a vector of each of 32 lanes
      return 49 * columns / k;
    }
    case Regime::shared:
    case Regime::stream:
      return 150;  // 91, and as much time again at barriers and for one block or two alone in a multiprocessor
    case Regime::split:
      return 91;
    case Regime::columns:
      return 91 + 13;  // to shared memory and back, counted in the code for 9.0
    case Regime::split_columns:
      return 91 + 6 + 13;  // to shared memory twice
  }
  return 0;
}

}  // namespace policy

// What a plan is expected to do, from the plan alone.
struct Prediction {
  double passes;           // times the array's bytes are moved from or to the GPU's memory: 2 is a copy
  double bytes_in_flight;  // loads that a multiprocessor can have on their way at a time
  double seconds;          // for choosing between plans
};

inline Prediction predict(const Plan& plan, Layout layout, int64_t element_size, const DeviceProperties& device) {
  using namespace policy;
  const int64_t rows = layout.outer * layout.inner;
  const double row_bytes = static_cast<double>(layout.k) * static_cast<double>(element_size);
  const double bytes = row_bytes * static_cast<double>(rows);

  const int64_t resident = resident_blocks(plan, element_size, device);
  const int64_t active = least(resident, most(1, ceil_div(plan.blocks, device.multiprocessors)));
  const double busy = static_cast<double>(least(plan.blocks, device.multiprocessors));

  Prediction result;
  // Second reads come from the level-2 cache as far as what all blocks have in hand fits it.
  const bool split = plan.regime == Regime::split || plan.regime == Regime::split_columns;
  const bool reads_twice = plan.regime == Regime::stream || split;
  const double in_hand = plan.regime == Regime::stream ? row_bytes * busy * static_cast<double>(active) : bytes;
  const double held = in_hand > 0 ? static_cast<double>(device.l2_bytes) / in_hand : 1;
  result.passes = !reads_twice || held >= 1 ? 2 : plan.regime == Regime::stream ? 3 - held : 3;

  // Loads on their way in a block: all that it holds, or what its threads have registers for.
  const double size = static_cast<double>(element_size);
  const double threads = 32.0 * static_cast<double>(most(1, plan.warps));
  const bool whole = has_async_copies(device.compute_capability);
  const double held_bytes = bytes / static_cast<double>(plan.blocks);
  double block_bytes = 0;
  switch (plan.regime) {
    case Regime::warp:
      block_bytes = held_bytes;
      break;
    case Regime::block:
    case Regime::cluster:
      block_bytes = row_bytes / plan.blocks_per_row;
      break;
    case Regime::tile:
    case Regime::columns:
      block_bytes = whole ? held_bytes : least_of(held_bytes, kTileLoads * threads * size);
      break;
    case Regime::shared:
      block_bytes = whole ? held_bytes : least_of(held_bytes, kChunkLoads * threads * size);
      break;
    case Regime::split:
      // Each warp's next chunk, of float32 on its way to shared memory.
      block_bytes =
          least_of(held_bytes, (whole && element_size == 4 ? kChunkColumns / 32 : kChunkLoads) * threads * size);
      break;
    case Regime::stream:
      block_bytes = least_of(held_bytes, kChunkLoads * threads * size);
      break;
    case Regime::split_columns: {
      const double of_chunks = static_cast<double>(plan.rows_per_block * kChunkColumns) * size;
      block_bytes = whole ? of_chunks : least_of(of_chunks, kTileLoads * threads * size);
      break;
    }
  }
  result.bytes_in_flight = block_bytes * static_cast<double>(resident);

  // One multiprocessor alone moves about 60 GB/s, or its share of the memory's rate, given enough loads on their way; a
  // launch takes about 2 microseconds more when it waits for the one before.
  const double launches = split ? 3 : 1;
  const double wanted = bytes_in_flight_wanted(device);
  const double under_way = block_bytes * static_cast<double>(active);
  const double full = least_of(60e9 * busy, memory_rate(device) * device.multiprocessors);
  const double rate = full * least_of(1, under_way / wanted);
  // What the level-2 cache serves costs about half of what the memory does.
  const double cached = reads_twice ? (3 - result.passes) / 2 : 0;
  const double moving = bytes * (result.passes + cached) / rate;
  // Of float64 all plans that there are for a length compute its exponentials as often: there is nothing to choose.
  const double elements = element_size == 4 ? bytes / size : 0;
  const double computing = elements * instructions_per_element(plan, layout) / (kInstructionRate * busy);
  result.seconds = 2e-6 * launches + (moving > computing ? moving : computing);
  return result;
}

// The first plan, unless the second is expected to take less time.
inline Plan quicker(const Plan& first, const Plan& second, Layout layout, int64_t element_size,
                    const DeviceProperties& device) {
  const double seconds = predict(first, layout, element_size, device).seconds;
  return predict(second, layout, element_size, device).seconds < seconds ? second : first;
}

// The plan for softmax. rows and k are at least 1.
inline Plan softmax_plan(Layout layout, int64_t element_size, const DeviceProperties& device) {
  using namespace policy;
  const int64_t k = layout.k, rows = layout.outer * layout.inner;
  if (layout.inner > 1) {
    if (k <= kChunkColumns) return tile(layout, element_size, device);
    const Plan held = columns(layout, element_size, device);
    const Plan spread = split_columns(layout, element_size, device);
    if (held.shared_bytes > device.shared_per_block || ceil_div(k, kChunkColumns) > kMostSlots) return spread;
    return quicker(held, spread, layout, element_size, device);
  }
  // Float64 would not fit a warp's registers with its exponentials.
  if (k <= (element_size == 4 ? kTileColumns : kChunkColumns)) return tile(layout, element_size, device);
  // A warp's vectors of whole rows, where few of its lanes and registers go without: on an H100 they reach 0.99 of a copy
  // for 384, 512, 1000 and 1024 columns, 0.90 for 300 and 600; tiles 0.95 to 0.98 for all of these.
  if (k <= kChunkColumns) {
    const int64_t computed = ceil_div(k, 128) * 128;
    const bool fills_warp = k % 4 == 0 && computed * 15 <= k * 16 && (computed <= 512 || computed >= 768);
    return element_size == 4 && fills_warp ? warp(rows, k) : tile(layout, element_size, device);
  }

  const int64_t chunks = ceil_div(k, kChunkColumns);
  const int most_blocks = device.largest_cluster;
  const int blocks = static_cast<int>(least(most_blocks, power_of_two_from(ceil_div(chunks, kBlockChunks))));
  Plan whole = shared(rows, k, element_size, blocks, device);
  if (whole.shared_bytes > device.shared_per_block || chunks > kMostSlots) whole = stream(rows, k, element_size);
  const int64_t block_chunks = has_async_copies(device.compute_capability) ? 2 * kBlockChunks : kBlockChunks;
  if (element_size == 4 && chunks <= block_chunks * blocks) {
    whole = quicker(registers(rows, k, element_size, blocks, device), whole, layout, element_size, device);
  }
  // Few rows leave most of the GPU idle; and a row too long for one block's slots is always split.
  const Plan spread = split(rows, k, element_size, device);
  if (whole.chunks_per_slot > 32) return spread;
  return quicker(whole, spread, layout, element_size, device);
}

// The Jacobian of rows up to this length is made in one launch, by tiles whose rows' entries are many times the rows; of
// somewhat longer rows if there are some for every multiprocessor. A longer row has more entries than a block should
// write, and the launches that it takes are little beside them.
constexpr int64_t tile_jacobian_columns(int64_t element_size) { return element_size == 4 ? 128 : 64; }
constexpr int64_t kManyTileJacobianColumns = 200;

constexpr bool jacobian_in_tiles(int64_t rows, int64_t k, int64_t element_size, const DeviceProperties& device) {
  return k <= tile_jacobian_columns(element_size) ||
         (element_size == 4 && k <= kManyTileJacobianColumns && rows >= 4 * device.multiprocessors);
}

// The most threads of a block that writes entries.
constexpr int kMostJacobianThreads = 256;

// How the threads of a block share the lines (n, i, :) of Jacobians, each in vectors of 16 bytes; or, of short rows in a
// tile, the rows, where a "line" is the least number of rows (period_rows) that whole vectors make up.
struct JacobianLines {
  int threads_per_line;
  int at_once;  // lines that a block writes at a time
  int step;     // lines from one that a thread writes to the next: vectors start in both in the same places
  int64_t step_entries;
  int parts_of_line;  // of which a block writes one
  int64_t per_block;  // lines
  int threads;
  int period_rows;  // 0 where lines are lines
};

// Up to this length the vectors of a period of rows are few enough for a thread to meet its own again and again.
constexpr int64_t kRowJacobianColumns = 64;

// The least power of two by which n is a multiple of `vector`, itself a power of two.
constexpr int64_t times_to_vectors(int64_t n, int64_t vector) {
  int64_t times = 1;
  while (n * times % vector != 0) times *= 2;
  return times;
}

// A block has 128 threads or more with as many lines as that takes, and a thread 8 vectors, or 4 of each place that they
// start in, 16 to 64 KB together; fewer where there would not be 1024 blocks.
inline JacobianLines jacobian_lines(int64_t count, int64_t k, int64_t element_size) {
  using namespace policy;
  constexpr int64_t least_threads = 128, wanted_blocks = 1024;
  const int64_t vector = 16 / element_size, vectors = ceil_div(k, vector);
  // Where lines start in several places, a thread has several times as many of them in a block.
  const int64_t most_vectors = times_to_vectors(k, vector) == 1 ? kMostJacobianThreads : kMostJacobianThreads / 2;
  JacobianLines lines{};
  lines.parts_of_line = static_cast<int>(ceil_div(vectors, most_vectors));
  lines.threads_per_line = static_cast<int>(ceil_div(vectors, lines.parts_of_line));
  lines.at_once = 1;
  while (lines.at_once * lines.threads_per_line < least_threads) lines.at_once *= 2;
  lines.threads = static_cast<int>(ceil_div(lines.at_once * lines.threads_per_line, 32) * 32);
  lines.step = static_cast<int>(most(lines.at_once, times_to_vectors(k, vector)));
  lines.step_entries = lines.step * k;
  const int64_t most_lines = most(8 * lines.at_once, 4 * lines.step);
  const int64_t share = count * lines.parts_of_line / wanted_blocks;
  lines.per_block = most(1, least(most_lines, share) / lines.step) * lines.step;
  return lines;
}

inline JacobianLines jacobian_rows_of_tile(int64_t k, int64_t element_size) {
  using namespace policy;
  const int64_t vector = 16 / element_size;
  JacobianLines lines{};
  lines.period_rows = static_cast<int>(times_to_vectors(k * k, vector));
  const int64_t vectors = lines.period_rows * k * k / vector;
  lines.threads_per_line = static_cast<int>(ceil_div(vectors, ceil_div(vectors, kMostJacobianThreads)));
  lines.at_once = static_cast<int>(kMostJacobianThreads / lines.threads_per_line);
  lines.threads = static_cast<int>(ceil_div(lines.at_once * lines.threads_per_line, 32) * 32);
  lines.step_entries = lines.at_once * lines.period_rows * k * k;
  return lines;
}

// The plan of the Jacobian in one launch: tiles whose entries are about this many bytes, a few stores of 16 bytes for
// each thread, and whose rows and diagonals leave room for other blocks; of fewer rows where there would not be two
// tiles for every multiprocessor. Where they can be of as many rows, their entries end with a line of 128 bytes.
// Rows of 65 to 112 columns would be one or two in a tile of the usual size.
constexpr int64_t jacobian_tile_bytes(int64_t k) { return k > 64 && k <= 112 ? 128 * 1024 : 64 * 1024; }
constexpr int64_t kJacobianSharedBytes = 40 * 1024;

inline Plan jacobian_plan(int64_t rows, int64_t k, int64_t element_size, const DeviceProperties& device) {
  using namespace policy;
  Plan plan{};
  plan.regime = Regime::tile;
  plan.lanes_per_row = static_cast<int>(power_of_two_from(ceil_div(k, 8)));
  const int64_t entry_bytes = k * k * element_size;
  const int64_t room = kJacobianSharedBytes / (2 * k * element_size);
  const int64_t share = ceil_div(rows, 2 * device.multiprocessors);
  int64_t wanted = most(1, least(least(room, jacobian_tile_bytes(k) / entry_bytes), share));
  int64_t of_whole_lines = 1;
  while (of_whole_lines * entry_bytes % 128 != 0) of_whole_lines *= 2;
  // A tile of more than 256 lines may end within one; so may the smaller ones of small results.
  if (wanted >= of_whole_lines) wanted = wanted / of_whole_lines * of_whole_lines;
  plan.tile_outer = wanted;
  plan.shared_bytes = 2 * plan.tile_outer * k * element_size;
  plan.blocks = ceil_div(rows, plan.tile_outer);
  plan.warps = (k <= kRowJacobianColumns ? jacobian_rows_of_tile(k, element_size)
                                         : jacobian_lines(plan.tile_outer * k, k, element_size))
                   .threads /
               32;
  return plan;
}

// Row max: read only, so that a row is simply shared out over lanes, blocks and, for few long rows, slices.
struct RowMaxPlan {
  int lanes_per_row;       // of tiles: up to 32; 0 where a block works on each slice of a row, or on columns
  int64_t rows_per_block;  // of tiles
  int threads;             // of a block
  int64_t columns;         // along another axis than the last: adjacent ones that a group of threads takes, or 0
  int threads_per_column;
  int64_t slices;  // of a row: the blocks of a cluster, or merged by a second launch
  bool is_cluster;
  int64_t slice_columns;
  int64_t blocks;
};

constexpr int kRowMaxThreads = 256;
// What a thread has on its way where it loads into registers: 8 elements or vectors of 16 bytes; of columns 4 vectors, as
// it keeps a candidate for each of their elements.
constexpr int kRowMaxLoads = 8;
constexpr int kRowMaxVectors = 8;
constexpr int kRowMaxColumnVectors = 4;
// Rows up to this length go through tiles in shared memory, of about this many elements: 16 for each thread of a block,
// and as many blocks in a multiprocessor as threads allow; half of it where there is less than 96 KB.
constexpr int64_t kRowMaxTileColumns = 2048;
constexpr int64_t kRowMaxTile = 4096;
// A slice that is worth a block: one round of its threads' loads in vectors of float32.
constexpr int64_t kRowMaxSlice = kRowMaxThreads * kRowMaxVectors * 4;
constexpr int64_t kMostRowMaxSlices = 1024;  // which a warp merges in 32 rounds
// A second launch takes as long as a block needs for this many elements: rather a cluster with such slices.
constexpr int64_t kRowMaxClusterSlice = 32 * 1024;

// The lanes that share a row of a tile, whose segments they read in units of `unit` elements, 32 / `banks` banks wide. A
// lane takes up to 36 elements, 9 vectors of float32: exchanges then cost little. Rows that begin in the same banks
// need more lanes, so that no more than two (single elements: four) of those that read at a time meet in a bank.
constexpr int row_max_lanes(int64_t k, int64_t unit, int64_t banks) {
  int64_t meeting = 1;  // how many rows' distance is a multiple of all banks
  while (meeting < banks && k / unit % (2 * meeting) == 0) meeting *= 2;
  const int64_t lanes = policy::most(policy::ceil_div(k, 36), meeting / (banks == 8 ? 2 : 4));
  return static_cast<int>(policy::least(32, policy::power_of_two_from(lanes)));
}

inline RowMaxPlan row_max_plan(Layout layout, const DeviceProperties& device) {
  using namespace policy;
  const int64_t k = layout.k, rows = layout.outer * layout.inner;
  RowMaxPlan plan{};
  plan.slices = 1;
  plan.slice_columns = k;
  plan.threads = kRowMaxThreads;
  if (layout.inner > 1) {
    // Even tiles of the inner axis, as wide as a block, or narrower down to 32 columns where that fills every
    // multiprocessor; what is left of a block's threads shares out the columns' elements, so that narrow tiles are read
    // in whole lines too.
    const int64_t wanted_blocks = 4 * static_cast<int64_t>(device.multiprocessors);
    int64_t most_columns = kRowMaxThreads;
    while (most_columns > 32 && layout.outer * ceil_div(layout.inner, most_columns) < wanted_blocks) most_columns /= 2;
    plan.columns = even_width(layout.inner, most_columns, sizeof(float));
    // Up to 32 elements for each of many threads, 8 where there are few.
    const int64_t threads = 2048 * static_cast<int64_t>(device.multiprocessors);
    const int64_t share = most(kRowMaxLoads, least(32, rows * k / threads));
    plan.threads_per_column = static_cast<int>(most(1, least(kRowMaxThreads / plan.columns, ceil_div(k, share))));
    const int64_t groups = kRowMaxThreads / (plan.columns * plan.threads_per_column);
    const int64_t blocks = ceil_div(layout.outer, groups) * ceil_div(layout.inner, plan.columns);
    const int64_t worthwhile = k / (plan.threads_per_column * 8 * kRowMaxLoads);
    // If slices need a second launch, then so many that all multiprocessors end at about the same time.
    if (2 * blocks < wanted_blocks) {
      plan.slices = most(1, least(ceil_div(4 * wanted_blocks, blocks), least(worthwhile, kMostRowMaxSlices)));
    }
    plan.slice_columns = ceil_div(k, plan.slices);
    plan.slices = most(1, ceil_div(k, most(1, plan.slice_columns)));
    plan.blocks = blocks * plan.slices;
    return plan;
  }
  if (k <= kRowMaxTileColumns) {
    plan.lanes_per_row = k % 4 == 0 ? row_max_lanes(k, 4, 8) : row_max_lanes(k, 1, 32);
    const int64_t tile = device.shared_per_multiprocessor >= 96 * 1024 ? kRowMaxTile : kRowMaxTile / 2;
    const int64_t share = ceil_div(rows, 2 * static_cast<int64_t>(device.multiprocessors));
    const int64_t at_once = kRowMaxThreads / plan.lanes_per_row;
    plan.rows_per_block = most(1, least(tile / most(k, 1), share));
    // All lanes have rows in every round.
    if (plan.rows_per_block > at_once) plan.rows_per_block = plan.rows_per_block / at_once * at_once;
    plan.blocks = ceil_div(rows, plan.rows_per_block);
    return plan;
  }
  // Many blocks for each multiprocessor, so that they end at about the same time.
  const int64_t wanted_blocks = 16 * static_cast<int64_t>(device.multiprocessors);
  plan.slices = most(1, least(ceil_div(wanted_blocks, rows), least(k / kRowMaxSlice, kMostRowMaxSlices)));
  // Whole vectors in every slice but the last.
  const int64_t most_of_cluster = least(8, device.largest_cluster);
  if (plan.slices > most_of_cluster && k <= most_of_cluster * kRowMaxClusterSlice) plan.slices = most_of_cluster;
  plan.slice_columns = ceil_div(ceil_div(k, plan.slices), 4) * 4;
  plan.slices = ceil_div(k, plan.slice_columns);
  plan.is_cluster = plan.slices > 1 && plan.slices <= most_of_cluster;
  // Two rounds of loads at most for each thread of a short row, of which the second is not nearly empty.
  plan.threads = static_cast<int>(
      most(64, least(kRowMaxThreads, power_of_two_from(ceil_div(plan.slice_columns, 2 * kRowMaxVectors * 4)))));
  plan.blocks = rows * plan.slices;
  return plan;
}

// How a block's threads are dealt to columns: groups of `width` threads with V adjacent columns each, times `parts`,
// which take the columns' elements in turn.
struct RowMaxColumns {
  int64_t width;
  int64_t parts;
  int64_t groups;
};

constexpr RowMaxColumns row_max_columns(const RowMaxPlan& plan, int64_t V) {
  const int64_t width = plan.columns / V;
  // The threads that vectors save share out the elements, down to 16 vectors for each.
  const int64_t worthwhile = V > 1 ? policy::ceil_div(plan.slice_columns, 16) : plan.threads_per_column;
  const int64_t parts = policy::most(1, policy::least(plan.threads_per_column * V, worthwhile));
  return {width, parts, kRowMaxThreads / (width * parts)};
}

// The most registers that a thread needs, as registers_per_thread.
constexpr int64_t row_max_registers(const RowMaxPlan& plan, int64_t element_size, int compute_capability) {
  const bool newest = compute_capability >= 100;
  if (plan.columns > 0) {
    const bool vectors = plan.columns % (16 / element_size) == 0;
    return newest || (!vectors && compute_capability > 75) ? 48 : 58;
  }
  if (plan.lanes_per_row > 0) {
    return compute_capability == 75 ? 64 : compute_capability == 80 || compute_capability == 90 ? 32 : 40;
  }
  return newest ? 80 : 64;
}

// Bytes that a multiprocessor can have on their way, as in Prediction, where the launch is large enough.
inline double row_max_bytes_in_flight(const RowMaxPlan& plan, Layout layout, int64_t element_size,
                                      const DeviceProperties& device) {
  using namespace policy;
  const int64_t registers =
      ceil_div(row_max_registers(plan, element_size, device.compute_capability), 8) * 8 * plan.threads;
  int64_t resident =
      least(least(most_warps(device.compute_capability) * 32 / plan.threads, most_blocks(device.compute_capability)),
            kRegistersPerMultiprocessor / registers);
  if (plan.columns == 0 && plan.lanes_per_row > 0) {
    const int64_t bytes = plan.rows_per_block * layout.k * element_size;
    resident = least(resident, device.shared_per_multiprocessor / (bytes + 16 + kSystemShared));
    // Where copies go through registers, a round of them.
    const int64_t loads = has_async_copies(device.compute_capability) ? bytes : plan.threads * kRowMaxVectors * 16;
    return static_cast<double>(resident * least(bytes, loads));
  }
  // Threads that have an element to begin with, and what each of them loads at once.
  int64_t threads = plan.threads, bytes = 0;
  if (plan.columns > 0) {
    const int64_t V = plan.columns % (16 / element_size) == 0 ? 16 / element_size : 1;
    const RowMaxColumns deal = row_max_columns(plan, V);
    threads = deal.groups * deal.width * deal.parts;
    const int64_t loads = V > 1 ? kRowMaxColumnVectors : kRowMaxLoads;
    bytes = least(loads, ceil_div(plan.slice_columns, deal.parts)) * V * element_size;
  } else {
    bytes = least(kRowMaxVectors * 16, ceil_div(plan.slice_columns, plan.threads) * element_size);
  }
  return static_cast<double>(resident * threads * bytes);
}

}  // namespace softmax_native::cuda
