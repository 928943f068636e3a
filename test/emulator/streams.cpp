#include "streams.h"

#include <algorithm>
#include <chrono>
#include <map>
#include <thread>

#include "findings.h"
#include "machine.h"
#include "shadow.h"

namespace emulated {
namespace {

// What was done between two times, and its place in its stream.
struct Done {
  size_t stream;
  uint64_t place;
  uint64_t begin, end;
};

struct Queues {
  std::map<cudaStream_t, std::shared_ptr<Stream>> streams;
  std::map<cudaEvent_t, std::shared_ptr<Event>> events;
  std::vector<std::shared_ptr<Stream>> all;  // destroyed ones too, until their work is done
  std::shared_ptr<Stream> legacy[kMostDevices];
  std::vector<uint64_t> places;  // by stream: how much it has done
  std::vector<size_t> unused_ids;
  uint64_t operations = 0;

  std::shared_ptr<const Clock> host_clock = std::make_shared<Clock>();  // what host threads have waited for
  std::deque<Done> done;                                                // and what was done beyond that
  Clock running_clock;
  Done asked{};  // what is_settled() found last, as neighbouring words were mostly written by the same work
  bool asked_is_settled = false;

  bool host_thread = false;
};

Queues& queues() {
  static auto* the_queues = new Queues;
  return *the_queues;
}

void join(Clock* clock, const Clock& other) {
  if (clock->size() < other.size()) clock->resize(other.size());
  for (size_t i = 0; i < other.size(); i++) (*clock)[i] = std::max((*clock)[i], other[i]);
}

bool is_before(const Done& done, const Clock& clock) {
  return done.stream < clock.size() && clock[done.stream] >= done.place;
}

void host_has_waited_for(const Clock& clock) {
  auto joined = std::make_shared<Clock>(*queues().host_clock);
  join(joined.get(), clock);
  auto& done = queues().done;
  done.erase(std::remove_if(done.begin(), done.end(), [&](const Done& d) { return is_before(d, *joined); }),
             done.end());
  queues().host_clock = std::move(joined);
}

std::shared_ptr<Stream> new_stream(int device, bool legacy, bool non_blocking) {
  auto stream = std::make_shared<Stream>();
  if (queues().unused_ids.empty()) {
    stream->id = queues().places.size();
    queues().places.push_back(0);
  } else {
    stream->id = queues().unused_ids.back();
    queues().unused_ids.pop_back();
  }
  stream->device = device;
  stream->legacy = legacy;
  stream->non_blocking = non_blocking;
  queues().all.push_back(stream);
  return stream;
}

// Whether the two order each other without events, as the default stream does with blocking streams.
bool are_tied(const Stream& a, const Stream& b) {
  return a.device == b.device && ((a.legacy && !b.non_blocking) || (b.legacy && !a.non_blocking));
}

bool can_run(const Stream& stream) {
  if (stream.work.empty() || stream.busy) return false;
  const Operation& operation = stream.work.front();
  if (operation.awaited && operation.awaited->completed < operation.awaited_record) return false;
  for (const auto& other : queues().all) {
    if (other.get() != &stream && are_tied(stream, *other) && !other->work.empty() &&
        other->work.front().number < operation.number) {
      return false;
    }
  }
  return true;
}

double milliseconds_now() {
  using std::chrono::steady_clock;
  return std::chrono::duration<double, std::milli>(steady_clock::now().time_since_epoch()).count();
}

void run_operation(Lock& lock, const std::shared_ptr<Stream>& stream) {
  Operation operation = std::move(stream->work.front());
  stream->work.pop_front();

  join(&stream->clock, *operation.host_clock);
  for (const auto& other : queues().all) {
    if (are_tied(*stream, *other)) join(&stream->clock, other->clock);
  }
  if (operation.awaited) join(&stream->clock, operation.awaited->clock);
  if (stream->clock.size() <= stream->id) stream->clock.resize(stream->id + 1);
  const uint64_t place = ++queues().places[stream->id];
  stream->clock[stream->id] = place;

  const cudaError_t& lost = machine().devices[stream->device].lost;
  if (operation.run && (lost == cudaSuccess || operation.even_when_lost)) {
    const uint64_t begin = next_time();
    running.settled = begin;
    for (const Done& done : queues().done) {
      if (!is_before(done, stream->clock)) running.settled = std::min(running.settled, done.begin);
    }
    running.grid_start = begin;
    queues().running_clock = stream->clock;
    queues().asked = {};
    const cudaError_t error = operation.run();
    if (error != cudaSuccess && lost == cudaSuccess) machine().devices[stream->device].lost = error;
    queues().done.push_back({stream->id, place, begin, next_time()});
  }
  if (operation.recorded) {
    operation.recorded->completed = operation.record;
    operation.recorded->milliseconds = milliseconds_now();
    operation.recorded->clock = stream->clock;
  }
  if (operation.host_function != nullptr && lost == cudaSuccess) {
    stream->busy = true;
    lock.unlock();
    set_in_host_function(true);
    operation.host_function(operation.data);
    set_in_host_function(false);
    lock.lock();
    stream->busy = false;
  }
  machine().changed.notify_all();
}

// Forgets streams that were destroyed and are done. When the host has waited for all that one did, another may go on
// with its number.
void forget_destroyed() {
  const auto is_over = [](const std::shared_ptr<Stream>& stream) {
    if (stream.use_count() > 1 || !stream->work.empty()) return false;
    const Done last{stream->id, queues().places[stream->id], 0, 0};
    if (is_before(last, *queues().host_clock)) queues().unused_ids.push_back(stream->id);
    return true;
  };
  auto& all = queues().all;
  all.erase(std::remove_if(all.begin(), all.end(), is_over), all.end());
}

// Does one piece of work of a stream that can go on. False when there is none.
bool run_any(Lock& lock) {
  forget_destroyed();
  const auto& all = queues().all;
  std::vector<std::shared_ptr<Stream>> able;
  for (const auto& stream : all) {
    if (can_run(*stream)) able.push_back(stream);
  }
  if (able.empty()) return false;
  run_operation(lock, able[able.size() == 1 ? 0 : machine().random.below(able.size())]);
  return true;
}

// Works until `is_over`.
template <class IsOver>
void work_until(Lock& lock, IsOver is_over) {
  while (!is_over()) {
    if (!run_any(lock)) machine().changed.wait(lock);
  }
}

}  // namespace

std::shared_ptr<Stream> find_stream(cudaStream_t handle) {
  if (handle == nullptr || handle == cudaStreamLegacy) {
    auto& legacy = queues().legacy[current_device()];
    if (!legacy) legacy = new_stream(current_device(), true, false);
    return legacy;
  }
  const auto found = queues().streams.find(handle);
  return found == queues().streams.end() ? nullptr : found->second;
}

std::shared_ptr<Event> find_event(cudaEvent_t handle) {
  const auto found = queues().events.find(handle);
  return found == queues().events.end() ? nullptr : found->second;
}

cudaStream_t create_stream(int device, unsigned flags) {
  auto stream = new_stream(device, false, (flags & cudaStreamNonBlocking) != 0);
  const auto handle = reinterpret_cast<cudaStream_t>(stream.get());
  queues().streams[handle] = std::move(stream);
  return handle;
}

void destroy_stream(cudaStream_t handle) { queues().streams.erase(handle); }

cudaEvent_t create_event(int device, unsigned flags) {
  auto event = std::make_shared<Event>();
  event->flags = flags;
  event->device = device;
  const auto handle = reinterpret_cast<cudaEvent_t>(event.get());
  queues().events[handle] = std::move(event);
  return handle;
}

void destroy_event(cudaEvent_t handle) { queues().events.erase(handle); }

size_t count_streams() { return queues().streams.size(); }
size_t count_events() { return queues().events.size(); }

void enqueue(Stream* stream, Operation operation) {
  operation.number = ++queues().operations;
  operation.host_clock = queues().host_clock;
  stream->work.push_back(std::move(operation));
}

void enqueue(Stream* stream, std::function<cudaError_t()> run) {
  Operation operation;
  operation.run = std::move(run);
  enqueue(stream, std::move(operation));
}

void record_event(Stream* stream, const std::shared_ptr<Event>& event) {
  Operation operation;
  operation.recorded = event;
  operation.record = ++event->recorded;
  enqueue(stream, std::move(operation));
}

void await_event(Stream* stream, const std::shared_ptr<Event>& event) {
  Operation operation;
  operation.awaited = event;
  operation.awaited_record = event->recorded;
  enqueue(stream, std::move(operation));
}

bool is_idle(const Stream& stream) {
  if (!stream.work.empty() || stream.busy) return false;
  if (!stream.legacy) return true;
  return std::all_of(queues().all.begin(), queues().all.end(), [&](const auto& other) {
    return !are_tied(stream, *other) || (other->work.empty() && !other->busy);
  });
}

bool is_complete(const Event& event) { return event.completed == event.recorded; }

void host_has_seen(const Stream& stream) {
  host_has_waited_for(stream.clock);
  if (!stream.legacy) return;
  for (const auto& other : queues().all) {
    if (are_tied(stream, *other)) host_has_waited_for(other->clock);
  }
}

void host_has_seen(const Event& event) { host_has_waited_for(event.clock); }

cudaError_t synchronize_stream(Lock& lock, const std::shared_ptr<Stream>& stream) {
  work_until(lock, [&] { return is_idle(*stream); });
  host_has_seen(*stream);
  trim_pools(stream->device);
  return machine().devices[stream->device].lost;
}

cudaError_t synchronize_device(Lock& lock, int device) {
  const auto is_over = [&] {
    return std::all_of(queues().all.begin(), queues().all.end(), [&](const auto& stream) {
      return stream->device != device || (stream->work.empty() && !stream->busy);
    });
  };
  work_until(lock, is_over);
  for (const auto& stream : queues().all) {
    if (stream->device == device) host_has_waited_for(stream->clock);
  }
  trim_pools(device);
  return machine().devices[device].lost;
}

cudaError_t synchronize_event(Lock& lock, const std::shared_ptr<Event>& event) {
  const uint64_t record = event->recorded;
  work_until(lock, [&] { return event->completed >= record; });
  host_has_seen(*event);
  trim_pools(event->device);
  return machine().devices[event->device].lost;
}

void make_progress(Lock& lock) {
  // Few or many as often: by one piece of work more or less, or by whole batches of them.
  uint64_t left = machine().random.below(uint64_t(1) << machine().random.below(7));
  while (left > 0 && run_any(lock)) left--;
}

void start_host_functions() {
  machine().changed.notify_all();
  if (queues().host_thread) return;
  queues().host_thread = true;
  std::thread([] {
    const auto has_host_function = [](const auto& stream) {
      return std::any_of(stream->work.begin(), stream->work.end(),
                         [](const Operation& operation) { return operation.host_function != nullptr; });
    };
    Lock lock(machine().mutex);
    for (;;) {
      const auto& all = queues().all;
      if (!std::any_of(all.begin(), all.end(), has_host_function) || !run_any(lock)) machine().changed.wait(lock);
    }
  }).detach();
}

void settle_everything(Lock& lock) {
  for (int device = 0; device < kMostDevices; device++) {
    if (machine().devices[device].lost != cudaSuccess) synchronize_device(lock, device);
  }
  for (const auto& stream : queues().all) host_has_waited_for(stream->clock);
}

bool is_settled(uint64_t time) {
  Queues& all = queues();
  if (time - all.asked.begin < all.asked.end - all.asked.begin) return all.asked_is_settled;
  Done between{0, 0, 0, UINT64_MAX};  // what is left of all time without anything in `done`
  for (const Done& done : all.done) {
    if (time - done.begin < done.end - done.begin) {
      all.asked = done;
      return all.asked_is_settled = is_before(done, all.running_clock);
    }
    if (done.end <= time) between.begin = std::max(between.begin, done.end);
    if (done.begin > time) between.end = std::min(between.end, done.begin);
  }
  all.asked = between;
  return all.asked_is_settled = true;
}

}  // namespace emulated
