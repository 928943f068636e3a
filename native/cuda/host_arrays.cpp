// The operations on arrays in host memory: batches of rows go to the device, are computed there and come back, each on
// a stream of its own, so that one batch is uploaded while another is computed and a third downloaded.
#include <cstddef>

#include "batches.h"
#include "launch.h"
#include "session.h"

namespace softmax_native::cuda {
namespace {

int64_t smaller(int64_t a, int64_t b) { return a < b ? a : b; }

// The next multiple of what every kernel's vectors and the bus like.
int64_t aligned(int64_t bytes) { return policy::ceil_div(bytes, 256) * 256; }

// One call: its streams, and device memory for a few batches. A batch takes a slot, step by step; the next that takes
// the same slot waits, on the device, until it is empty.
class Pipeline {
 public:
  Pipeline(Session& session, int64_t batches)
      : session_(session), device_(session.device), slots_(static_cast<int>(smaller(batches, kSlots))) {
    session.downloads.reset_written();
  }

  // `shared_bytes` for the whole call beside `slot_bytes` for every slot.
  Error open(int64_t slot_bytes, int64_t shared_bytes) {
    RETURN_ERROR(session_.open_lanes());
    compute_ = session_.lanes.compute;
    // A single batch has nothing to overlap with, and needs no events on one stream.
    upload_ = slots_ == 1 ? compute_ : session_.lanes.upload;
    download_ = slots_ == 1 ? compute_ : session_.lanes.download;
    slot_bytes_ = aligned(slot_bytes);
    shared_bytes_ = aligned(shared_bytes);
    bytes_ = shared_bytes_ + slots_ * slot_bytes_;
    Error error = allocate(device_, bytes_, compute_, &memory_);
    if (error.code == cudaErrorMemoryAllocation && slots_ > 1) {
      // Long rows may not fit three at a time.
      slots_ = 1;
      bytes_ = shared_bytes_ + slot_bytes_;
      error = allocate(device_, bytes_, compute_, &memory_);
    }
    if (error) return error;
    return order(session_.lanes.allocated, compute_, upload_);
  }

  unsigned char* shared() const { return static_cast<unsigned char*>(memory_); }
  unsigned char* slot(int64_t batch) const {
    return static_cast<unsigned char*>(memory_) + shared_bytes_ + index(batch) * slot_bytes_;
  }
  cudaStream_t compute_stream() const { return compute_; }

  // The steps of a batch, in this order. A batch that needs no data of its own begins with compute().
  Error upload(int64_t batch, const Region& from, void* to) {
    if (batch >= slots_) RETURN_ERROR(wait(upload_, session_.lanes.downloaded[index(batch)]));
    RETURN_ERROR(copy_to_device(device_, session_.uploads, from, to, upload_));
    RETURN_ERROR(order(session_.lanes.uploaded[index(batch)], upload_, compute_));
    return session_.downloads.finish_ready();
  }

  template <class Launch>
  Error compute(int64_t batch, int64_t workspace_bytes, const char* action, Launch launch) {
    if (batch >= slots_) RETURN_ERROR(wait(compute_, session_.lanes.downloaded[index(batch)]));
    return with_workspace(device_, workspace_bytes, compute_,
                          [&](void* workspace) { return device_.check(launch(workspace, compute_), action); });
  }

  Error begin_download(int64_t batch) { return order(session_.lanes.computed[index(batch)], compute_, download_); }

  Error download(const Region& to, const void* from) {
    // The device may write there from now on; to other arrays Staging does.
    sends_ = sends_ || to.page_locked;
    return copy_from_device(device_, session_.downloads, to, from, download_);
  }

  Error end_download(int64_t batch) {
    if (download_ == compute_) return {};
    return device_.check(cudaEventRecord(session_.lanes.downloaded[index(batch)], download_), "recording a CUDA event");
  }

  // Waits for the results, or after an error for whatever is under way: the arrays are then no longer used.
  Error close(Error error) {
    if (!error) error = session_.downloads.finish();
    if (!error) error = device_.check(cudaStreamSynchronize(download_), "waiting for the device");
    if (error) {
      for (cudaStream_t stream : {upload_, compute_, download_}) {
        if (stream != nullptr && cudaStreamSynchronize(stream) != cudaSuccess) cudaGetLastError();
      }
      // The pieces of the uploads are left as they are: those of this call are done, and those of tensors, which a call
      // before may have left in the stream of the session, are not.
      session_.downloads.discard();
      error.wrote_nothing = !sends_ && !session_.downloads.written();
    }
    if (release(device_, memory_, bytes_, compute_)) session_.give_back_after(compute_);
    return error;
  }

 private:
  int index(int64_t batch) const { return static_cast<int>(batch % slots_); }

  Error wait(cudaStream_t stream, cudaEvent_t event) {
    if (download_ == compute_) return {};
    return device_.check(cudaStreamWaitEvent(stream, event, 0), "ordering CUDA streams");
  }

  // What comes in `later` from now on waits for what is in `earlier` so far.
  Error order(cudaEvent_t event, cudaStream_t earlier, cudaStream_t later) {
    if (earlier == later) return {};
    RETURN_ERROR(device_.check(cudaEventRecord(event, earlier), "recording a CUDA event"));
    return device_.check(cudaStreamWaitEvent(later, event, 0), "ordering CUDA streams");
  }

  Session& session_;
  Device& device_;
  int slots_;
  cudaStream_t upload_ = nullptr;
  cudaStream_t compute_ = nullptr;
  cudaStream_t download_ = nullptr;
  void* memory_ = nullptr;
  int64_t bytes_ = 0;  // of all of it
  int64_t slot_bytes_ = 0;
  int64_t shared_bytes_ = 0;
  bool sends_ = false;
};

// The session of a call.
Error enter(Environment& environment, int device, Session** session) {
  Error error = environment.enter(device, session);
  error.wrote_nothing = true;
  return error;
}

// A batch has been enqueued, so that the one that had its slot before is done.
void advance(Control* control, const Batch& batch, Layout layout) {
  if (control != nullptr) control->done += batch.outers * layout.k * batch.columns;
}

// An array of the caller's.
template <class T>
struct HostArray {
  HostArray(const T* of, int64_t count)
      : data(of), page_locked(is_page_locked(of, count * static_cast<int64_t>(sizeof(T)))) {}

  // `count` elements from `first` on.
  Region flat(int64_t first, int64_t count) const {
    return flat_region(data + first, count * static_cast<int64_t>(sizeof(T)), page_locked);
  }
  // The rows of a batch of (outer, k, inner).
  Region rows(Layout layout, const Batch& batch) const {
    const int64_t first = batch.outer * layout.k * layout.inner + batch.column;
    if (batch.columns == layout.inner) return flat(first, batch.outers * layout.k * layout.inner);
    constexpr auto size = static_cast<int64_t>(sizeof(T));
    Region region = flat(first, 0);
    region.width = batch.columns * size;
    region.height = layout.k;
    region.pitch = layout.inner * size;
    return region;
  }
  // An element for every row of a batch.
  Region results(Layout layout, const Batch& batch) const {
    return flat(batch.outer * layout.inner + batch.column, batch.outers * batch.columns);
  }

  const T* data;
  bool page_locked;
};

}  // namespace

template <class T>
Error softmax(Environment& environment, int device, const T* x, T* out, Layout layout, Control* control) {
  const CallersDevice callers;
  Session* session = nullptr;
  RETURN_ERROR(enter(environment, device, &session));
  const DeviceProperties& properties = session->device.properties;
  const int64_t count = layout.outer * layout.k * layout.inner;
  const HostArray<T> logits(x, count), probabilities(out, count);
  const Cut cut(layout, sizeof(T), layout.k * static_cast<int64_t>(sizeof(T)));
  Pipeline pipeline(*session, cut.count());

  const auto process = [&](int64_t i) -> Error {
    const Batch batch = cut[i];
    const Layout part{batch.outers, layout.k, batch.columns};
    T* memory = reinterpret_cast<T*>(pipeline.slot(i));
    RETURN_ERROR(pipeline.upload(i, logits.rows(layout, batch), memory));
    RETURN_ERROR(pipeline.compute(i, softmax_workspace<T>(part, properties), "launching softmax",
                                  [&](void* workspace, cudaStream_t stream) {
                                    return softmax<T>(memory, memory, part, properties, workspace, stream);
                                  }));
    RETURN_ERROR(pipeline.begin_download(i));
    RETURN_ERROR(pipeline.download(probabilities.rows(layout, batch), memory));
    return pipeline.end_download(i);
  };

  Error error = pipeline.open(cut.rows() * layout.k * static_cast<int64_t>(sizeof(T)), 0);
  for (int64_t i = 0; i < cut.count() && !error && !is_stopped(control); i++) {
    error = process(i);
    advance(control, cut[i], layout);
  }
  return pipeline.close(std::move(error));
}

template <class T>
Error row_max(Environment& environment, int device, const T* x, T* max, int32_t* argmax, Layout layout,
              Control* control) {
  const CallersDevice callers;
  Session* session = nullptr;
  RETURN_ERROR(enter(environment, device, &session));
  const DeviceProperties& properties = session->device.properties;
  constexpr auto size = static_cast<int64_t>(sizeof(T));
  const int64_t rows = layout.outer * layout.inner;
  const HostArray<T> logits(x, rows * layout.k), maxima(max, rows);
  const HostArray<int32_t> indices(argmax, argmax == nullptr ? 0 : rows);
  const int64_t result_bytes = size + static_cast<int64_t>(sizeof(int32_t));
  const Cut cut(layout, size, policy::most(layout.k * size, result_bytes));
  const int64_t maxima_offset = aligned(cut.rows() * layout.k * size);
  const int64_t indices_offset = maxima_offset + aligned(cut.rows() * size);
  Pipeline pipeline(*session, cut.count());

  const auto process = [&](int64_t i) -> Error {
    const Batch batch = cut[i];
    const Layout part{batch.outers, layout.k, batch.columns};
    unsigned char* memory = pipeline.slot(i);
    auto* part_max = reinterpret_cast<T*>(memory + maxima_offset);
    auto* part_argmax = argmax == nullptr ? nullptr : reinterpret_cast<int32_t*>(memory + indices_offset);
    RETURN_ERROR(pipeline.upload(i, logits.rows(layout, batch), memory));
    RETURN_ERROR(pipeline.compute(i, row_max_workspace<T>(part, properties), "launching rowMax",
                                  [&](void* workspace, cudaStream_t stream) {
                                    return row_max<T>(reinterpret_cast<const T*>(memory), part_max, part_argmax, part,
                                                      properties, workspace, stream);
                                  }));
    RETURN_ERROR(pipeline.begin_download(i));
    RETURN_ERROR(pipeline.download(maxima.results(layout, batch), part_max));
    if (argmax != nullptr) RETURN_ERROR(pipeline.download(indices.results(layout, batch), part_argmax));
    return pipeline.end_download(i);
  };

  Error error = pipeline.open(indices_offset + cut.rows() * static_cast<int64_t>(sizeof(int32_t)), 0);
  for (int64_t i = 0; i < cut.count() && !error && !is_stopped(control); i++) {
    error = process(i);
    advance(control, cut[i], layout);
  }
  return pipeline.close(std::move(error));
}

// The result is k times the size of x, so that only its way back matters. Rows are taken in groups, whose Jacobians
// together, or else a single row's, make one batch or several.
template <class T>
Error softmax_jacobian(Environment& environment, int device, const T* x, T* out, int64_t rows, int64_t k,
                       Control* control) {
  const CallersDevice callers;
  Session* session = nullptr;
  RETURN_ERROR(enter(environment, device, &session));
  constexpr auto size = static_cast<int64_t>(sizeof(T));
  const int64_t entries = rows * k * k;
  const HostArray<T> logits(x, rows * k), jacobians(out, entries);

  const int64_t batch_entries = batch_bytes(entries * size) / size;
  const int64_t group_rows = cut_evenly(rows, policy::most(1, smaller(rows, batch_entries / (k * k))));
  const int64_t group_entries = group_rows * k * k;
  const int64_t range = cut_evenly(group_entries, batch_entries);
  const int64_t ranges = policy::ceil_div(group_entries, range);
  const int64_t groups = policy::ceil_div(rows, group_rows);
  Pipeline pipeline(*session, groups * ranges);

  // In the memory that all groups share: the stream in which they are computed keeps them apart.
  const int64_t group_bytes = aligned(group_rows * k * size);
  T *probabilities = nullptr, *diagonal = nullptr;

  const auto process = [&](int64_t group, int64_t* batch) -> Error {
    const int64_t first_row = group * group_rows;
    const int64_t n = smaller(group_rows, rows - first_row);
    const int64_t last = n * k * k;
    // The logits lie in the slot of the group's first batch, behind the entries, and are no longer needed when the next
    // batch takes it.
    T* part = reinterpret_cast<T*>(pipeline.slot(*batch) + aligned(range * size));
    RETURN_ERROR(pipeline.upload(*batch, logits.flat(first_row * k, n * k), part));
    RETURN_ERROR(pipeline.compute(*batch, 0, "launching softmaxJacobian", [&](void*, cudaStream_t stream) {
      return jacobian_rows<T>(part, probabilities, diagonal, n, k, stream);
    }));
    for (int64_t first = 0; first < last && !is_stopped(control); first += range, ++*batch) {
      const int64_t end = smaller(first + range, last);
      T* memory = reinterpret_cast<T*>(pipeline.slot(*batch));
      RETURN_ERROR(pipeline.compute(*batch, 0, "launching softmaxJacobian", [&](void*, cudaStream_t stream) {
        return jacobian_entries<T>(probabilities, diagonal, memory, k, first, end, stream);
      }));
      RETURN_ERROR(pipeline.begin_download(*batch));
      RETURN_ERROR(pipeline.download(jacobians.flat(first_row * k * k + first, end - first), memory));
      RETURN_ERROR(pipeline.end_download(*batch));
      if (control != nullptr) control->done += end - first;
    }
    return {};
  };

  Error error = pipeline.open(aligned(range * size) + group_bytes, 2 * group_bytes);
  if (!error) {
    probabilities = reinterpret_cast<T*>(pipeline.shared());
    diagonal = reinterpret_cast<T*>(pipeline.shared() + group_bytes);
  }
  int64_t batch = 0;
  for (int64_t group = 0; group < groups && !error && !is_stopped(control); group++) error = process(group, &batch);
  return pipeline.close(std::move(error));
}

template Error softmax<float>(Environment&, int, const float*, float*, Layout, Control*);
template Error softmax<double>(Environment&, int, const double*, double*, Layout, Control*);
template Error row_max<float>(Environment&, int, const float*, float*, int32_t*, Layout, Control*);
template Error row_max<double>(Environment&, int, const double*, double*, int32_t*, Layout, Control*);
template Error softmax_jacobian<float>(Environment&, int, const float*, float*, int64_t, int64_t, Control*);
template Error softmax_jacobian<double>(Environment&, int, const double*, double*, int64_t, int64_t, Control*);

}  // namespace softmax_native::cuda
