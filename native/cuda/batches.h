// How the rows of arrays in host memory are cut into batches, which are uploaded, computed and downloaded one after the
// other: a pure function of the sizes.
#pragma once

#include <cstdint>

#include "policy.h"

namespace softmax_native::cuda {

// A batch of 8 MB takes 150 (PCIe 5) to 330 microseconds (PCIe 4) on the bus, beside which the 20 or so for starting its
// copies and launches are little; and three of them are all the device memory that a call needs.
constexpr int64_t kLargestBatch = int64_t{8} << 20;
// The first upload and the last download overlap with nothing. So smaller arrays are cut into eight, but not into
// batches that take less time on the bus than to start.
constexpr int64_t kSmallestBatch = int64_t{1} << 20;
constexpr int64_t kBatches = 8;

// Columns of an inner axis are cut into slabs that are no narrower than this, in bytes: neither the bus nor the host's
// memory is good at shorter runs.
constexpr int64_t kNarrowestSlab = 512;
// Slabs begin at whole lines of 128 bytes, if the array does.
constexpr int64_t kSlabAlignment = 32;

constexpr int64_t batch_bytes(int64_t total) {
  const int64_t share = total / kBatches;
  return share < kSmallestBatch ? kSmallestBatch : share > kLargestBatch ? kLargestBatch : share;
}

constexpr int64_t cut_evenly(int64_t count, int64_t most) {
  const int64_t pieces = policy::ceil_div(count, most);
  return policy::ceil_div(count, pieces);
}

// The rows (o, i) with o in [outer, outer + outers) and i in [column, column + columns).
struct Batch {
  int64_t outer;
  int64_t outers;
  int64_t column;
  int64_t columns;
};

// Either batches of whole (k, inner) blocks, which are contiguous, or, where a block is larger than a batch, slabs of
// the columns of one block. A single row is never cut, however long.
class Cut {
 public:
  // row_bytes: what a row takes in host memory, of what is read or of what is written, whichever is more.
  Cut(Layout layout, int64_t element_size, int64_t row_bytes) : layout_(layout), outers_(1), columns_(layout.inner) {
    const int64_t most = batch_bytes(layout.outer * layout.inner * row_bytes);
    const int64_t block = layout.inner * row_bytes;
    if (block <= most) {
      outers_ = cut_evenly(layout.outer, most / block);
    } else if (layout.inner > 1) {
      const int64_t columns = policy::most(most / row_bytes, kNarrowestSlab / element_size);
      const int64_t even = cut_evenly(layout.inner, columns);
      columns_ = policy::least(layout.inner, policy::ceil_div(even, kSlabAlignment) * kSlabAlignment);
    }
    slabs_ = policy::ceil_div(layout.inner, columns_);
    count_ = policy::ceil_div(layout.outer, outers_) * slabs_;
  }

  int64_t count() const { return count_; }
  // Rows of the largest batch.
  int64_t rows() const { return outers_ * columns_; }

  Batch operator[](int64_t i) const {
    const int64_t outer = i / slabs_ * outers_, column = i % slabs_ * columns_;
    return {outer, policy::least(outers_, layout_.outer - outer), column,
            policy::least(columns_, layout_.inner - column)};
  }

 private:
  Layout layout_;
  int64_t outers_;
  int64_t columns_;
  int64_t slabs_;
  int64_t count_;
};

}  // namespace softmax_native::cuda
