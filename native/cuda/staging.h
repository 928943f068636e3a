// Copies between arrays of the host and the device. The GPU copies by itself only from and to page-locked memory; other
// arrays go through page-locked pieces: while one piece is on the bus, the processor copies the next.
#pragma once

#include "devices.h"

namespace softmax_native::cuda {

// Memory of the host: `height` runs of `width` bytes, each `pitch` bytes after the one before. On the device they lie
// one after the other.
struct Region {
  unsigned char* data;
  int64_t width;
  int64_t height;
  int64_t pitch;
  bool page_locked;

  int64_t bytes() const { return width * height; }
};

inline Region flat_region(const void* data, int64_t bytes, bool page_locked) {
  return {static_cast<unsigned char*>(const_cast<void*>(data)), bytes, 1, bytes, page_locked};
}

// A ring of page-locked pieces, used in turn. Used by one thread.
class Staging {
 public:
  // A copy of a piece takes 40 to 80 microseconds on the bus, beside which the few of the call that starts it are little.
  static constexpr int64_t kPieceBytes = int64_t{2} << 20;
  // One is filled or emptied while others are on their way; together they hold a batch, so that the results of one can
  // be under way while the processor fills the pieces of the next.
  static constexpr int kPieces = 4;
  static constexpr int64_t kBytes = kPieces * kPieceBytes;

  // `event_flags`: cudaEventBlockingSync for a thread that should sleep while it waits.
  Staging(Device& device, unsigned event_flags) : device_(device), event_flags_(event_flags) {}

  Error open();
  // No copy may be under way.
  void close();
  // All pieces as one, kBytes long.
  unsigned char* memory() const { return memory_; }

  // Enqueues the copy of a region to the device. The region may be reused on return.
  Error upload(const Region& from, void* to, cudaStream_t stream);

  // Enqueues the copy of a region from the device. It is there after finish().
  Error download(const Region& to, const void* from, cudaStream_t stream);

  // Ends the copies that the device has made so far, without waiting, or all of them.
  Error finish_ready();
  Error finish();
  // Gives up the copies that are not finished. None may be under way any more.
  void discard();
  // Whether downloads have been finished since reset_written().
  bool written() const { return written_; }
  void reset_written() { written_ = false; }

 private:
  struct Piece {
    unsigned char* memory;
    cudaEvent_t done;
    Region target;  // of a download: the piece holds `bytes` of it from `first` on
    int64_t first;
    int64_t bytes;
  };

  Error claim(Piece** piece);
  Error mark(Piece* piece, cudaStream_t stream, const char* action);
  Error finish_oldest();
  void empty_oldest();

  Device& device_;
  unsigned event_flags_;
  unsigned char* memory_ = nullptr;
  Piece pieces_[kPieces] = {};
  int oldest_ = 0;  // of those in use
  int used_ = 0;
  bool written_ = false;
};

// Both take a way around staging where the region is page-locked: its memory is then used until the stream has come as
// far as the copy.
Error copy_to_device(Device& device, Staging& staging, const Region& from, void* to, cudaStream_t stream);
Error copy_from_device(Device& device, Staging& staging, const Region& to, const void* from, cudaStream_t stream);

}  // namespace softmax_native::cuda
