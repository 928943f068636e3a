// A job works on memory that stays where it is until the job is done: lib/ passes arrays that no other code can reach, or
// that lie in shared memory, which cannot be detached. The job holds references to them, so that they are not collected.
#include "jobs.h"

#include <algorithm>
#include <cstdlib>
#include <functional>
#include <string>
#include <unordered_set>
#include <utility>

#include "array_calls.h"
#include "cuda_environment.h"
#include "work_queue.h"

namespace softmax_native::addon {
namespace {

constexpr auto kExpectedJob = "Expected a job of this thread but received another value";
constexpr auto kNoJob = "Could not make a job";
constexpr auto kNoThread = "Expected a thread for the call but received none from the system";

// How a job ended.
struct Outcome {
  cpu::Status status = cpu::Status::ok;
  cuda::Error error;
};
using Compute = std::function<Outcome(Control&)>;

class JobsOfEnvironment;

struct Job : WorkQueue::Job {
  Job(JobsOfEnvironment* of, Lane in, int64_t bytes, Compute computation)
      : WorkQueue::Job(std::make_shared<Control>(), bytes), owner(of), lane(in), compute(std::move(computation)) {}
  void run() override { outcome = compute(*control); }
  void done() override;

  JobsOfEnvironment* const owner;
  const Lane lane;
  const Compute compute;
  Outcome outcome;
  napi_deferred deferred = nullptr;
  napi_ref arrays[kMostArrays] = {};
};

// What JavaScript holds of a job: it may ask about it after its end.
struct Handle {
  std::shared_ptr<Control> control;
  Lane lane;
};

// The jobs of one JavaScript environment. They end before it does.
class JobsOfEnvironment {
 public:
  // Null with an exception pending. It lives until the environment's end.
  static JobsOfEnvironment* begin(napi_env env);

  // { promise, handle }, or null with an exception pending. The promise gives true when the job is done and false when it
  // was stopped. Arrays that are null are none; `bytes` are those of all.
  napi_value submit(napi_env env, Lane lane, const napi_value (&arrays)[kMostArrays], int64_t bytes, Compute compute);

  // Where the job waits it is settled at once; where it runs, soon.
  void stop(napi_env env, const Handle& handle);

  void hand_back(Job* job) {
    // Refused only when the environment ends, and then nobody waits for it.
    ignore(napi_call_threadsafe_function(settling_, job, napi_tsfn_nonblocking));
  }

 private:
  static void end(void* self);
  static void settle(napi_env env, napi_value, void* self, void* job);
  void settle(napi_env env, Job* job);
  bool open(napi_env env);
  void release(napi_env env, const Job& job);

  napi_threadsafe_function settling_ = nullptr;
  std::unordered_set<Job*> jobs_;
};

void Job::done() { owner->hand_back(this); }

JobsOfEnvironment* JobsOfEnvironment::begin(napi_env env) {
  auto* self = new JobsOfEnvironment;
  if (self->open(env)) return self;
  delete self;
  not_made(env, "Could not prepare this environment for jobs");
  return nullptr;
}

// An environment's hooks are called last first: the jobs end before the function that settles them is taken away.
bool JobsOfEnvironment::open(napi_env env) {
  napi_value name;
  return napi_create_string_utf8(env, "softmax-native jobs", NAPI_AUTO_LENGTH, &name) == napi_ok &&
         napi_create_threadsafe_function(env, nullptr, nullptr, name, 0, 1, nullptr, nullptr, this, settle,
                                         &settling_) == napi_ok &&
         // Only a job that is not settled keeps the process alive.
         napi_unref_threadsafe_function(env, settling_) == napi_ok &&
         napi_add_env_cleanup_hook(env, end, this) == napi_ok;
}

// It stays, with the function's queue, which may still hold jobs: settle() is called for them without an environment.
void JobsOfEnvironment::end(void* self) {
  auto& jobs = static_cast<JobsOfEnvironment*>(self)->jobs_;
  for (const Job* job : jobs) job->control->stopped = true;
  for (Job* job : jobs) {
    work_queue(job->lane).remove(*job->control);
    delete job;
  }
  jobs.clear();
}

napi_value JobsOfEnvironment::submit(napi_env env, Lane lane, const napi_value (&arrays)[kMostArrays], int64_t bytes,
                                     Compute compute) {
  auto* job = new Job(this, lane, bytes, std::move(compute));
  const auto hold = [&] {
    for (size_t i = 0; i < kMostArrays; i++) {
      if (arrays[i] != nullptr && napi_create_reference(env, arrays[i], 1, &job->arrays[i]) != napi_ok) return false;
    }
    return true;
  };
  auto* handle = new Handle{job->control, lane};
  const auto drop_handle = [](napi_env, void* data, void*) { delete static_cast<Handle*>(data); };
  napi_value external = nullptr, promise, result;
  if (napi_create_external(env, handle, drop_handle, nullptr, &external) != napi_ok) {
    delete handle;
    external = nullptr;
  }
  if (external == nullptr || !hold() || napi_create_object(env, &result) != napi_ok ||
      napi_create_promise(env, &job->deferred, &promise) != napi_ok ||
      napi_set_named_property(env, result, "promise", promise) != napi_ok ||
      napi_set_named_property(env, result, "handle", external) != napi_ok) {
    release(env, *job);
    delete job;
    return not_made(env, kNoJob);
  }
  if (!work_queue(lane).submit(job)) {
    release(env, *job);
    delete job;
    napi_throw_range_error(env, "ERR_OUT_OF_MEMORY", kNoThread);
    return nullptr;
  }
  if (jobs_.empty()) ignore(napi_ref_threadsafe_function(env, settling_));
  jobs_.insert(job);
  return result;
}

void JobsOfEnvironment::stop(napi_env env, const Handle& handle) {
  auto* job = static_cast<Job*>(work_queue(handle.lane).stop(*handle.control));
  if (job == nullptr) return;
  job->outcome.status = cpu::Status::stopped;
  settle(env, job);
}

void JobsOfEnvironment::settle(napi_env env, napi_value, void* self, void* job) {
  if (env != nullptr) static_cast<JobsOfEnvironment*>(self)->settle(env, static_cast<Job*>(job));
}

void JobsOfEnvironment::settle(napi_env env, Job* job) {
  const Outcome& outcome = job->outcome;
  napi_value value = nullptr, code = nullptr, text = nullptr;
  napi_status made = napi_generic_failure;
  bool is_kept = false;
  if (outcome.status == cpu::Status::out_of_memory) {
    made = napi_create_string_utf8(env, "ERR_OUT_OF_MEMORY", NAPI_AUTO_LENGTH, &code);
    if (made == napi_ok) made = napi_create_string_utf8(env, kNoWorkingMemory, NAPI_AUTO_LENGTH, &text);
    if (made == napi_ok) made = napi_create_range_error(env, code, text, &value);
  } else if (outcome.error && outcome.status != cpu::Status::stopped) {
    value = error_object(env, outcome.error);
    made = value == nullptr ? napi_generic_failure : napi_ok;
  } else {
    is_kept = true;
    made = napi_get_boolean(env, outcome.status == cpu::Status::ok, &value);
  }
  // What is refused here is refused where no JavaScript can run any more, and then nobody waits for it.
  if (made == napi_ok) {
    ignore(is_kept ? napi_resolve_deferred(env, job->deferred, value)
                   : napi_reject_deferred(env, job->deferred, value));
  }
  release(env, *job);
  jobs_.erase(job);
  delete job;
  if (jobs_.empty()) ignore(napi_unref_threadsafe_function(env, settling_));
}

void JobsOfEnvironment::release(napi_env env, const Job& job) {
  for (napi_ref array : job.arrays) {
    if (array != nullptr) ignore(napi_delete_reference(env, array));
  }
}

JobsOfEnvironment& jobs_of(napi_env env, napi_callback_info info) {
  void* self = nullptr;
  ignore(napi_get_cb_info(env, info, nullptr, nullptr, nullptr, &self));
  return *static_cast<JobsOfEnvironment*>(self);
}

// The GPUs' work of all environments is done by one thread, with streams and memory of its own.
cuda::Environment* environment_of_jobs = nullptr;

cuda::Environment& gpu_environment() {
  // CUDA, in use from here on, tidies up at exit() too: the handlers that were registered last are called first.
  static const bool once = (static_cast<void>(cuda::info()), std::atexit(end_work) == 0);
  static_cast<void>(once);
  if (environment_of_jobs == nullptr) environment_of_jobs = cuda::begin_environment();
  return *environment_of_jobs;
}

Outcome of_gpu(const Control& control, cuda::Error error) {
  return {control.stopped ? cpu::Status::stopped : cpu::Status::ok, std::move(error)};
}

// Below this a call, on one thread, is over in about a millisecond.
constexpr int64_t kShortBytes = int64_t{1} << 21;
// For short calls: one thread of JavaScript, which hands them over and takes their results, keeps hardly more busy.
constexpr int kMostForShortCalls = 4;

template <class Call>
int64_t bytes_of(const Call& call) {
  return call.elements() * static_cast<int64_t>(call.x.element_size());
}

// Where a call on the CPU is computed. Short ones use one thread, so that their queue needs no team.
template <class Call>
Lane lane_of(CpuCall<Call>* call) {
  if (bytes_of(call->of) < kShortBytes) {
    call->threads = 1;
    return Lane::short_calls;
  }
  return call->threads == 1 || !cpu::has_threads() ? Lane::one_thread_calls : Lane::team_calls;
}

// softmax(x, out, outer, k, inner, threads, isNew)
// rowMax(x, max, argmax, outer, k, inner, threads)
// softmaxJacobian(x, out, rows, k, threads, isNew)
template <class Call>
napi_value begin(napi_env env, napi_callback_info info) {
  CpuCall<Call> call;
  napi_value arrays[kMostArrays] = {};
  if (!call.read(env, info, &arrays)) return nullptr;
  const Lane lane = lane_of(&call);
  return jobs_of(env, info).submit(env, lane, arrays, bytes_of(call.of), [call](Control& control) {
    return Outcome{call.compute(&control), {}};
  });
}

// cudaSoftmax(device, x, out, outer, k, inner)
// cudaRowMax(device, x, max, argmax, outer, k, inner)
// cudaSoftmaxJacobian(device, x, out, rows, k)
template <class Call>
napi_value cuda_begin(napi_env env, napi_callback_info info) {
  GpuCall<Call> call;
  napi_value arrays[kMostArrays] = {};
  if (!call.read(env, info, &arrays)) return nullptr;
  return jobs_of(env, info).submit(env, Lane::gpu, arrays, bytes_of(call.of), [call](Control& control) {
    return of_gpu(control, call.compute(gpu_environment(), &control));
  });
}

// setThreads(count): how many calls that use one thread may be computed at once. For the process; the first number counts.
napi_value set_threads(napi_env env, napi_callback_info info) {
  const Arguments<1> arguments(env, info);
  int count;
  if (!read_threads(env, arguments[0], &count)) return out_of_range(env, kExpectedThreads);
  static const int of_process = count;
  // Short calls, which go before others, leave a processor to the event loop.
  work_queue(Lane::short_calls).set_threads(std::clamp(of_process - 1, 1, kMostForShortCalls));
  work_queue(Lane::one_thread_calls).set_threads(of_process);
  return nullptr;
}

// cudaLook(): looks for GPUs, which loads the driver.
napi_value cuda_look(napi_env env, napi_callback_info info) {
  return jobs_of(env, info).submit(env, Lane::gpu, {}, 0, [](Control& control) {
    static_cast<void>(gpu_environment());
    return of_gpu(control, {});
  });
}

// cudaStart(device): makes its context and measures its costs.
napi_value cuda_start(napi_env env, napi_callback_info info) {
  const Arguments<1> arguments(env, info);
  int device;
  if (!read_device(env, arguments[0], &device)) return nullptr;
  return jobs_of(env, info).submit(env, Lane::gpu, {}, 0, [=](Control& control) {
    cuda::Costs costs{};
    return of_gpu(control, cuda::costs(gpu_environment(), device, &costs));
  });
}

bool read_handle(napi_env env, napi_value value, Handle** handle) {
  void* data = nullptr;
  if (napi_get_value_external(env, value, &data) != napi_ok) return invalid_type(env, kExpectedJob);
  *handle = static_cast<Handle*>(data);
  return true;
}

// stop(handle)
napi_value stop(napi_env env, napi_callback_info info) {
  const Arguments<1> arguments(env, info);
  Handle* handle;
  if (read_handle(env, arguments[0], &handle)) jobs_of(env, info).stop(env, *handle);
  return nullptr;
}

// done(handle): the elements that are done.
napi_value done(napi_env env, napi_callback_info info) {
  const Arguments<1> arguments(env, info);
  Handle* handle;
  if (!read_handle(env, arguments[0], &handle)) return nullptr;
  napi_value count;
  if (napi_create_int64(env, handle->control->done, &count) != napi_ok) return not_made(env, kNoJob);
  return count;
}

// checkSoftmax, checkRowMax and checkSoftmaxJacobian: the checks of the operations by themselves, before anything is copied
// or handed over for a job.
template <class Call>
napi_value check(napi_env env, napi_callback_info info) {
  const Arguments<Call::kArguments> arguments(env, info);
  Call call;
  static_cast<void>(call.read(env, arguments.value));
  return nullptr;
}

// copy(from, to): the first elements of `to` become those of `from`, an array of the same type.
napi_value copy(napi_env env, napi_callback_info info) {
  const Arguments<2> arguments(env, info);
  View from, to;
  if (!read_view(env, arguments[0], &from) || !(from.is_float() || from.type == napi_int32_array)) {
    return invalid_type(env, kExpectedFloats);
  }
  if (!read_view(env, arguments[1], &to) || to.type != from.type) {
    return invalid_type(env, "Expected an array of the same type for the copy but received another value");
  }
  const auto count = static_cast<int64_t>(from.length);
  if (!holds(to, count)) return shape_mismatch(env, kShortOutput);
  if (overlaps(from, count, to, count)) return overlap(env, kOutputOverlaps);
  cpu::copy(from.data, to.data, from.length * from.element_size());
  return nullptr;
}

constexpr struct {
  const char* name;
  napi_callback function;
} kFunctions[] = {
    {"setThreads", set_threads},
    {"softmax", begin<SoftmaxCall>},
    {"rowMax", begin<RowMaxCall>},
    {"softmaxJacobian", begin<JacobianCall>},
    {"cudaSoftmax", cuda_begin<SoftmaxCall>},
    {"cudaRowMax", cuda_begin<RowMaxCall>},
    {"cudaSoftmaxJacobian", cuda_begin<JacobianCall>},
    {"cudaLook", cuda_look},
    {"cudaStart", cuda_start},
    {"stop", stop},
    {"done", done},
    {"checkSoftmax", check<SoftmaxCall>},
    {"checkRowMax", check<RowMaxCall>},
    {"checkSoftmaxJacobian", check<JacobianCall>},
    {"copy", copy},
};

}  // namespace

#ifdef SOFTMAX_EMULATED_CUDA
void end_gpu_of_jobs() {
  if (environment_of_jobs == nullptr) return;
  cuda::end_environment(*environment_of_jobs);
  cuda::delete_environment(environment_of_jobs);
  environment_of_jobs = nullptr;
}
#endif

void add_jobs(napi_env env, napi_value exports) {
  JobsOfEnvironment* self = JobsOfEnvironment::begin(env);
  if (self == nullptr) return;
  napi_value jobs, function;
  bool is_made = napi_create_object(env, &jobs) == napi_ok;
  for (const auto& [name, callback] : kFunctions) {
    is_made = is_made && napi_create_function(env, name, NAPI_AUTO_LENGTH, callback, self, &function) == napi_ok &&
              napi_set_named_property(env, jobs, name, function) == napi_ok;
  }
  if (!is_made || napi_set_named_property(env, exports, "jobs", jobs) != napi_ok) not_made(env, kNoJob);
}

}  // namespace softmax_native::addon
