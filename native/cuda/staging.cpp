#include "staging.h"

#include <cstring>
#include <limits>

namespace softmax_native::cuda {
namespace {

constexpr auto kUploading = "copying to the device";
constexpr auto kDownloading = "copying from the device";

// Calls copy(run, bytes) for the runs of memory that hold the region's bytes [first, first + bytes).
template <class Copy>
void for_runs(const Region& region, int64_t first, int64_t bytes, Copy copy) {
  while (bytes > 0) {
    const int64_t line = first / region.width, column = first % region.width;
    const int64_t run = region.width - column < bytes ? region.width - column : bytes;
    copy(region.data + line * region.pitch + column, static_cast<size_t>(run));
    first += run;
    bytes -= run;
  }
}

int64_t smaller(int64_t a, int64_t b) { return a < b ? a : b; }

// What a copy of lines may be told as the distance between them.
bool is_possible_pitch(const Region& region) { return region.pitch <= std::numeric_limits<int32_t>::max(); }

bool is_flat(const Region& region) { return region.height == 1 || region.pitch == region.width; }

}  // namespace

Error Staging::open() {
  if (memory_ == nullptr) {
    void* memory = nullptr;
    RETURN_ERROR(device_.check(cudaHostAlloc(&memory, kBytes, cudaHostAllocDefault),
                               "allocating page-locked memory for copies"));
    memory_ = static_cast<unsigned char*>(memory);
  }
  for (int i = 0; i < kPieces; i++) {
    pieces_[i].memory = memory_ + i * kPieceBytes;
    if (pieces_[i].done != nullptr) continue;
    RETURN_ERROR(device_.check(cudaEventCreateWithFlags(&pieces_[i].done, cudaEventDisableTiming | event_flags_),
                               "making a CUDA event"));
  }
  return {};
}

void Staging::close() {
  discard();
  for (Piece& piece : pieces_) {
    if (piece.done != nullptr && cudaEventDestroy(piece.done) != cudaSuccess) cudaGetLastError();
    piece.done = nullptr;
  }
  if (memory_ != nullptr && cudaFreeHost(memory_) != cudaSuccess) cudaGetLastError();
  memory_ = nullptr;
}

Error Staging::upload(const Region& from, void* to, cudaStream_t stream) {
  RETURN_ERROR(open());
  auto* target = static_cast<unsigned char*>(to);
  for (int64_t first = 0; first < from.bytes(); first += kPieceBytes) {
    Piece* piece;
    RETURN_ERROR(claim(&piece));
    piece->bytes = smaller(kPieceBytes, from.bytes() - first);
    piece->target.data = nullptr;
    unsigned char* filled = piece->memory;
    for_runs(from, first, piece->bytes, [&](const unsigned char* run, size_t bytes) {
      std::memcpy(filled, run, bytes);
      filled += bytes;
    });
    RETURN_ERROR(device_.check(cudaMemcpyAsync(target + first, piece->memory, static_cast<size_t>(piece->bytes),
                                               cudaMemcpyHostToDevice, stream),
                               kUploading));
    RETURN_ERROR(mark(piece, stream, kUploading));
  }
  return {};
}

Error Staging::download(const Region& to, const void* from, cudaStream_t stream) {
  RETURN_ERROR(open());
  const auto* source = static_cast<const unsigned char*>(from);
  for (int64_t first = 0; first < to.bytes(); first += kPieceBytes) {
    Piece* piece;
    RETURN_ERROR(claim(&piece));
    piece->bytes = smaller(kPieceBytes, to.bytes() - first);
    piece->target = to;
    piece->first = first;
    RETURN_ERROR(device_.check(cudaMemcpyAsync(piece->memory, source + first, static_cast<size_t>(piece->bytes),
                                               cudaMemcpyDeviceToHost, stream),
                               kDownloading));
    RETURN_ERROR(mark(piece, stream, kDownloading));
  }
  return {};
}

// The piece after the newest, which is the oldest when all are in use.
Error Staging::claim(Piece** piece) {
  if (used_ == kPieces) RETURN_ERROR(finish_oldest());
  *piece = &pieces_[(oldest_ + used_) % kPieces];
  return {};
}

Error Staging::mark(Piece* piece, cudaStream_t stream, const char* action) {
  used_++;
  return device_.check(cudaEventRecord(piece->done, stream), action);
}

Error Staging::finish_oldest() {
  RETURN_ERROR(device_.check(cudaEventSynchronize(pieces_[oldest_].done), "waiting for a copy"));
  empty_oldest();
  return {};
}

Error Staging::finish_ready() {
  while (used_ > 0) {
    const cudaError_t status = cudaEventQuery(pieces_[oldest_].done);
    if (status == cudaErrorNotReady) {
      cudaGetLastError();  // which would be this answer otherwise
      return {};
    }
    RETURN_ERROR(device_.check(status, "waiting for a copy"));
    empty_oldest();
  }
  return {};
}

Error Staging::finish() {
  while (used_ > 0) RETURN_ERROR(finish_oldest());
  return {};
}

void Staging::discard() { used_ = 0; }

void Staging::empty_oldest() {
  const Piece& piece = pieces_[oldest_];
  if (piece.target.data != nullptr) {
    written_ = true;
    const unsigned char* rest = piece.memory;
    for_runs(piece.target, piece.first, piece.bytes, [&](unsigned char* run, size_t bytes) {
      std::memcpy(run, rest, bytes);
      rest += bytes;
    });
  }
  oldest_ = (oldest_ + 1) % kPieces;
  used_--;
}

Error copy_to_device(Device& device, Staging& staging, const Region& from, void* to, cudaStream_t stream) {
  if (from.bytes() == 0) return {};
  const auto width = static_cast<size_t>(from.width), height = static_cast<size_t>(from.height);
  if (from.page_locked && is_flat(from)) {
    return device.check(cudaMemcpyAsync(to, from.data, width * height, cudaMemcpyHostToDevice, stream), kUploading);
  }
  if (from.page_locked && is_possible_pitch(from)) {
    return device.check(cudaMemcpy2DAsync(to, width, from.data, static_cast<size_t>(from.pitch), width, height,
                                          cudaMemcpyHostToDevice, stream),
                        kUploading);
  }
  return staging.upload(from, to, stream);
}

Error copy_from_device(Device& device, Staging& staging, const Region& to, const void* from, cudaStream_t stream) {
  if (to.bytes() == 0) return {};
  const auto width = static_cast<size_t>(to.width), height = static_cast<size_t>(to.height);
  if (to.page_locked && is_flat(to)) {
    return device.check(cudaMemcpyAsync(to.data, from, width * height, cudaMemcpyDeviceToHost, stream), kDownloading);
  }
  if (to.page_locked && is_possible_pitch(to)) {
    return device.check(cudaMemcpy2DAsync(to.data, static_cast<size_t>(to.pitch), from, width, width, height,
                                          cudaMemcpyDeviceToHost, stream),
                        kDownloading);
  }
  return staging.download(to, from, stream);
}

}  // namespace softmax_native::cuda
