// Measures every kernel of native/cuda beside a copy that reads and writes as many bytes (the Jacobian's beside a fill
// of as many), and prints a line of JSON for the device, for its transfers from and to the host, and for each case.
//
//   gpu_bench [--quick | --tiny] [--device N] [--once] [CASE...]
//
// --quick measures fewer cases; --tiny is for an emulated device: sizes and repetitions that show nothing but that all
// of it runs. Cases may be named instead, as OPERATION:DTYPE:OUTERxKxINNER, such as softmax:float32:1000x100x1. --once
// launches the kernels of each case once, without figures: for a profiler.
//
// A round times a batch of launches and a batch of copies one after the other, in turns, by events on the device; a
// figure is the median of the rounds. All of a round is enqueued before the device may begin with it, so that the speed
// of the host does not enter. Launches and copies go round inputs and results of four times the level-2 cache or more,
// and logits are random normal numbers, as a GPU is faster on zeros. One result of each case is compared with the
// formula; test/native/cuda_bits.cpp compares all bits.
#include <cuda_runtime.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <random>
#include <string>
#include <thread>
#include <type_traits>
#include <vector>

#include "cuda/launch.h"

namespace {

using namespace softmax_native::cuda;
using Clock = std::chrono::steady_clock;
using Seconds = std::chrono::duration<double>;

void check(cudaError_t error, const char* what) {
  if (error == cudaSuccess) return;
  std::fprintf(stderr, "%s: %s: %s\n", what, cudaGetErrorName(error), cudaGetErrorString(error));
  std::exit(1);
}

constexpr int64_t kMebi = 1 << 20;

struct Scale {
  int64_t bytes;       // of the logits of many rows, or of their Jacobians
  int64_t most_bytes;  // of each of the two areas that hold all inputs and all results
  int rounds;
  int most_launches;     // of a batch, of which a round enqueues two: CUDA's queue holds about a thousand
  double batch_seconds;  // events tell about half a microsecond
  double case_seconds;   // no new round begins after it, once there are three
  int64_t longest;       // k
  int64_t normal_numbers;
};

// 256 MiB are five times the level-2 cache of an H100.
constexpr Scale kFull{256 * kMebi, 512 * kMebi, 31, 64, 200e-6, 0.5, 1 << 20, (1 << 22) - 3};
constexpr Scale kQuick{256 * kMebi, 512 * kMebi, 9, 64, 200e-6, 0.2, 1 << 20, (1 << 22) - 3};
constexpr Scale kTiny{12 * 1024, kMebi, 2, 2, 0, 1, 20'000, 997};

enum class Operation { softmax, row_max, jacobian };
constexpr const char* kNames[] = {"softmax", "rowMax", "softmaxJacobian"};

struct Case {
  Operation operation;
  Layout layout;
  int64_t offset;  // elements that the arrays begin after an aligned address
};

// Keeps the device from beginning with what is enqueued after close(), until open().
class Gate {
 public:
  void close(cudaStream_t stream) {
    open_ = false;
    if (works_) check(cudaLaunchHostFunc(stream, wait, this), "cudaLaunchHostFunc");
  }
  void open() { open_ = true; }
  // False where an enqueuing call waited for the device (CUDA_LAUNCH_BLOCKING), which then began early.
  bool works() const { return works_; }

 private:
  static void wait(void* self) {
    auto* gate = static_cast<Gate*>(self);
    const auto deadline = Clock::now() + std::chrono::seconds(1);
    while (!gate->open_) {
      if (Clock::now() > deadline) gate->works_ = false;
      if (!gate->works_) return;
      std::this_thread::yield();
    }
  }

  std::atomic<bool> open_{true};
  std::atomic<bool> works_{true};
};

struct Times {
  double median, low, high;  // microseconds; low and high are the 10th and the 90th of 100
};

Times times_of(std::vector<double> seconds) {
  std::sort(seconds.begin(), seconds.end());
  const auto at = [&](double share) {
    return 1e6 * seconds[static_cast<size_t>(share * static_cast<double>(seconds.size() - 1) + 0.5)];
  };
  return {at(0.5), at(0.1), at(0.9)};
}

struct Comparison {
  Times kernel, reference;
  int launches, rounds;
};

struct Bench {
  Scale scale;
  DeviceProperties device;
  unsigned char* inputs;
  unsigned char* results;
  int64_t area_bytes;
  cudaStream_t stream;
  cudaEvent_t events[3];
  Gate gate;
  bool once;

  // Times `kernel` and `reference`, which enqueue one launch or copy each and are given a running number.
  template <class Kernel, class Reference>
  Comparison compare(Kernel kernel, Reference reference) {
    int64_t turn = 0;
    const auto round = [&](int launches, bool kernel_first, double* kernel_seconds, double* reference_seconds) {
      const auto batch = [&](bool of_kernel) {
        for (int i = 0; i < launches; i++) of_kernel ? kernel(turn++) : reference(turn++);
      };
      gate.close(stream);
      check(cudaEventRecord(events[0], stream), "cudaEventRecord");
      batch(kernel_first);
      check(cudaEventRecord(events[1], stream), "cudaEventRecord");
      batch(!kernel_first);
      check(cudaEventRecord(events[2], stream), "cudaEventRecord");
      gate.open();
      check(cudaEventSynchronize(events[2]), "running a round");
      float first = 0, second = 0;
      check(cudaEventElapsedTime(&first, events[0], events[1]), "cudaEventElapsedTime");
      check(cudaEventElapsedTime(&second, events[1], events[2]), "cudaEventElapsedTime");
      *kernel_seconds = 1e-3 * static_cast<double>(kernel_first ? first : second) / launches;
      *reference_seconds = 1e-3 * static_cast<double>(kernel_first ? second : first) / launches;
    };

    double kernel_seconds, reference_seconds;
    // The kernels are loaded here, for which the driver may wait for the device: no gate yet.
    kernel(turn++);
    reference(turn++);
    check(cudaStreamSynchronize(stream), "warming up");
    for (const bool kernel_first : {true, false}) {
      round(std::min(2, scale.most_launches), kernel_first, &kernel_seconds, &reference_seconds);
    }
    const double shortest = std::max(1e-7, std::min(kernel_seconds, reference_seconds));
    const int launches =
        std::clamp(static_cast<int>(std::ceil(scale.batch_seconds / shortest)), 1, scale.most_launches);

    std::vector<double> kernel_times, reference_times;
    const auto begin = Clock::now();
    while (static_cast<int>(kernel_times.size()) < scale.rounds &&
           (kernel_times.size() < 3 || Seconds(Clock::now() - begin).count() < scale.case_seconds)) {
      round(launches, kernel_times.size() % 2 == 0, &kernel_seconds, &reference_seconds);
      kernel_times.push_back(kernel_seconds);
      reference_times.push_back(reference_seconds);
    }
    const int rounds = static_cast<int>(kernel_times.size());
    return {times_of(std::move(kernel_times)), times_of(std::move(reference_times)), launches, rounds};
  }
};

constexpr int64_t aligned(int64_t bytes) { return policy::ceil_div(bytes, 256) * 256; }

// Normal numbers, over and over again, in all of the area for inputs.
template <class T>
void fill_inputs(const Bench& bench) {
  std::vector<T> numbers(static_cast<size_t>(bench.scale.normal_numbers));
  std::mt19937 random(1);
  std::normal_distribution<T> normal(0, 3);
  for (T& number : numbers) number = normal(random);
  const auto count = static_cast<int64_t>(numbers.size() * sizeof(T));
  int64_t filled = std::min(count, bench.area_bytes);
  const auto copy = [&](const void* from, int64_t to, int64_t bytes, cudaMemcpyKind kind) {
    check(cudaMemcpyAsync(bench.inputs + to, from, static_cast<size_t>(bytes), kind, bench.stream), "filling inputs");
  };
  copy(numbers.data(), 0, filled, cudaMemcpyHostToDevice);
  while (filled < bench.area_bytes) {
    const int64_t more = std::min(filled, bench.area_bytes - filled);
    copy(bench.inputs, filled, more, cudaMemcpyDeviceToDevice);
    filled += more;
  }
  check(cudaStreamSynchronize(bench.stream), "filling inputs");
}

std::string plan_of(const Case& c, int64_t element_size, int64_t workspace_bytes, const DeviceProperties& device) {
  if (c.operation == Operation::jacobian) return workspace_bytes == 0 ? "tile" : "rows, then entries";
  if (c.operation == Operation::row_max) {
    const RowMaxPlan plan = row_max_plan(c.layout, device);
    std::string name = plan.columns ? "columns" : plan.lanes_per_row > 0 ? "lanes" : "block";
    if (!plan.columns && plan.lanes_per_row > 0) name += " x" + std::to_string(plan.lanes_per_row);
    if (plan.slices > 1) name += ", " + std::to_string(plan.slices) + " slices";
    return name;
  }
  const Plan plan = softmax_plan(c.layout, element_size, device);
  return name_of(plan.regime) + (plan.blocks_per_row > 1 ? " x" + std::to_string(plan.blocks_per_row) : std::string());
}

// Compares the first row, or the first row of the first Jacobian, with the formula.
template <class T>
bool is_right(const Case& c, const T* x, const void* result, const int32_t* argmax) {
  const auto [outer, k, inner] = c.layout;
  const auto download = [](auto* to, const void* from, int64_t count) {
    check(cudaMemcpy(to, from, static_cast<size_t>(count) * sizeof(*to), cudaMemcpyDeviceToHost), "download");
  };
  std::vector<T> logits(static_cast<size_t>(k * inner));
  download(logits.data(), x, k * inner);
  std::vector<double> p(static_cast<size_t>(k));
  int64_t best = 0;
  for (int64_t j = 0; j < k; j++) {
    p[static_cast<size_t>(j)] = logits[static_cast<size_t>(j * inner)];
    if (p[static_cast<size_t>(j)] > p[static_cast<size_t>(best)]) best = j;
  }
  const double max = p[static_cast<size_t>(best)];
  if (c.operation == Operation::row_max) {
    T found;
    int32_t index;
    download(&found, result, 1);
    download(&index, argmax, 1);
    return static_cast<double>(found) == max && index == best;
  }
  double sum = 0;
  for (double& v : p) sum += v = std::exp(v - max);
  const double p_0 = p[0] / sum;
  std::vector<T> got(static_cast<size_t>(c.operation == Operation::jacobian ? k : k * inner));
  download(got.data(), result, static_cast<int64_t>(got.size()));
  for (int64_t j = 0; j < k; j++) {
    double expected = p[static_cast<size_t>(j)] / sum;
    if (c.operation == Operation::jacobian) expected = p_0 * ((j == 0 ? 1 : 0) - expected);
    const double value = got[static_cast<size_t>(c.operation == Operation::jacobian ? j : j * inner)];
    // 1e-12 is for the diagonal of a row of one logit, which is 0.
    if (!(std::abs(value - expected) <= 1e-4 * std::abs(expected) + 1e-12)) return false;
  }
  return true;
}

void print_times(const char* name, const Times& times) {
  std::printf("\"%s\":{\"median\":%.3f,\"low\":%.3f,\"high\":%.3f},", name, times.median, times.low, times.high);
}

template <class T>
void measure(Bench& bench, const Case& c) {
  const int64_t outer = c.layout.outer, k = c.layout.k, inner = c.layout.inner, rows = outer * inner;
  const auto size = static_cast<int64_t>(sizeof(T));
  const bool is_jacobian = c.operation == Operation::jacobian, is_max = c.operation == Operation::row_max;
  const int64_t read = rows * k * size;
  const int64_t max_bytes = aligned((rows + c.offset) * size);  // the indices follow the maxima
  const int64_t written = is_max ? rows * (size + int64_t{4}) : is_jacobian ? read * k : read;
  // A fill writes what the Jacobian has; a copy reads half of its traffic and writes the other half.
  const int64_t reference_bytes = is_jacobian ? written : (read + written) / 2;

  const int64_t offset_bytes = c.offset * size;
  const int64_t input_step = aligned(std::max(read + offset_bytes, is_jacobian ? 0 : reference_bytes));
  const int64_t result_step =
      aligned(std::max(is_max ? max_bytes + (rows + c.offset) * int64_t{4} : written + offset_bytes, reference_bytes));
  const int64_t fitting = bench.area_bytes / std::max(input_step, result_step);
  if (fitting < 2) {
    std::fprintf(stderr, "no memory for %s of %lld x %lld\n", kNames[static_cast<int>(c.operation)],
                 static_cast<long long>(rows), static_cast<long long>(k));
    return;
  }
  const int64_t slots = std::min(
      fitting, std::max<int64_t>(2, policy::ceil_div(4 * std::max<int64_t>(1, bench.device.l2_bytes), read + written)));

  const int64_t workspace_bytes = is_jacobian ? jacobian_workspace<T>(rows, k, bench.device)
                                  : is_max    ? row_max_workspace<T>(c.layout, bench.device)
                                              : softmax_workspace<T>(c.layout, bench.device);
  void* workspace = nullptr;
  if (workspace_bytes > 0) check(cudaMalloc(&workspace, static_cast<size_t>(workspace_bytes)), "cudaMalloc");

  const auto x_of = [&](int64_t slot) {
    return reinterpret_cast<const T*>(bench.inputs + slot * input_step) + c.offset;
  };
  const auto result_of = [&](int64_t slot) {
    return reinterpret_cast<T*>(bench.results + slot * result_step) + c.offset;
  };
  const auto argmax_of = [&](int64_t slot) {
    return reinterpret_cast<int32_t*>(bench.results + slot * result_step + max_bytes) + c.offset;
  };
  const auto launch_in = [&](int64_t slot) {
    const T* x = x_of(slot);
    T* result = result_of(slot);
    check(is_jacobian ? jacobian(x, result, rows, k, bench.device, workspace, bench.stream)
          : is_max    ? row_max(x, result, argmax_of(slot), c.layout, bench.device, workspace, bench.stream)
                      : softmax(x, result, c.layout, bench.device, workspace, bench.stream),
          kNames[static_cast<int>(c.operation)]);
  };
  const auto reference = [&](int64_t turn) {
    unsigned char* to = bench.results + turn % slots * result_step;
    const auto bytes = static_cast<size_t>(reference_bytes);
    check(is_jacobian ? cudaMemsetAsync(to, 0x3f, bytes, bench.stream)
                      : cudaMemcpyAsync(to, bench.inputs + turn % slots * input_step, bytes, cudaMemcpyDeviceToDevice,
                                        bench.stream),
          is_jacobian ? "cudaMemsetAsync" : "cudaMemcpyAsync");
  };

  if (bench.once) {
    launch_in(0);
    check(cudaStreamSynchronize(bench.stream), "running");
    if (workspace != nullptr) check(cudaFree(workspace), "cudaFree");
    return;
  }
  const Comparison found = bench.compare([&](int64_t turn) { launch_in(turn % slots); }, reference);

  check(cudaMemsetAsync(bench.results, 0xff, static_cast<size_t>(result_step), bench.stream), "cudaMemsetAsync");
  launch_in(0);
  check(cudaStreamSynchronize(bench.stream), "running");
  const bool right = is_right(c, x_of(0), result_of(0), argmax_of(0));
  if (workspace != nullptr) check(cudaFree(workspace), "cudaFree");

  std::printf("{\"type\":\"case\",\"operation\":\"%s\",\"dtype\":\"%s\",", kNames[static_cast<int>(c.operation)],
              std::is_same_v<T, float> ? "float32" : "float64");
  if (inner > 1) {
    std::printf("\"shape\":[%lld,%lld,%lld],\"axis\":1,", static_cast<long long>(outer), static_cast<long long>(k),
                static_cast<long long>(inner));
  } else {
    std::printf("\"shape\":[%lld,%lld],\"axis\":1,", static_cast<long long>(outer), static_cast<long long>(k));
  }
  std::printf("\"misaligned\":%s,\"plan\":\"%s\",", c.offset == 0 ? "false" : "true",
              plan_of(c, size, workspace_bytes, bench.device).c_str());
  if (c.operation == Operation::softmax) {
    const Prediction predicted = predict(softmax_plan(c.layout, size, bench.device), c.layout, size, bench.device);
    std::printf("\"predicted\":{\"passes\":%.3f,\"bytesInFlight\":%.0f},", predicted.passes, predicted.bytes_in_flight);
  }
  std::printf("\"bytes\":%lld,\"reference\":\"%s\",\"slots\":%lld,\"launches\":%d,\"rounds\":%d,",
              static_cast<long long>(read + written), is_jacobian ? "fill" : "copy", static_cast<long long>(slots),
              found.launches, found.rounds);
  print_times("microseconds", found.kernel);
  print_times("referenceMicroseconds", found.reference);
  std::printf("\"ratio\":%.4f,\"right\":%s}\n", found.reference.median / found.kernel.median, right ? "true" : "false");
  std::fflush(stdout);
}

// The lengths of many rows at which the policy changes how softmax is computed, and their successors.
std::vector<int64_t> boundaries(int64_t element_size, const Bench& bench) {
  struct Kind {
    Regime regime;
    int blocks_per_row, lanes_per_row, elements;
    bool operator!=(const Kind& other) const {
      return regime != other.regime || blocks_per_row != other.blocks_per_row || lanes_per_row != other.lanes_per_row ||
             elements != other.elements;
    }
  };
  constexpr size_t most = 60;  // should a policy swing to and fro
  std::vector<int64_t> lengths;
  Kind before{};
  for (int64_t k = 1; k <= std::min<int64_t>(300'000, bench.scale.longest) && lengths.size() < most; k++) {
    const int64_t rows = std::max<int64_t>(1, bench.scale.bytes / (k * element_size));
    const Plan plan = softmax_plan({rows, k, 1}, element_size, bench.device);
    const Kind kind{plan.regime, plan.blocks_per_row, plan.lanes_per_row, plan.elements};
    if (k > 1 && kind != before) lengths.insert(lengths.end(), {k - 1, k});
    before = kind;
  }
  return lengths;
}

template <class T>
std::vector<Case> cases_of(const Bench& bench, bool quick, bool tiny) {
  const auto size = static_cast<int64_t>(sizeof(T));
  const auto many = [&](int64_t k) { return std::max<int64_t>(1, bench.scale.bytes / (k * size)); };
  std::vector<Case> cases;

  std::vector<int64_t> lengths = {1,    3,    8,    10,    32,    100,   256,    257,    1000,   1024,   1025,
                                  4096, 8192, 8193, 16384, 32768, 65536, 131072, 131073, 262144, 1000000};
  if (quick) lengths = {8, 10, 100, 1000, 1024, 8192, 131072, 1000000};
  std::vector<int64_t> lengths_and_boundaries = lengths;
  if (!quick && !tiny) {
    const std::vector<int64_t> more = boundaries(size, bench);
    lengths_and_boundaries.insert(lengths_and_boundaries.end(), more.begin(), more.end());
    std::sort(lengths_and_boundaries.begin(), lengths_and_boundaries.end());
    lengths_and_boundaries.erase(std::unique(lengths_and_boundaries.begin(), lengths_and_boundaries.end()),
                                 lengths_and_boundaries.end());
  }
  std::vector<int64_t> few_rows_lengths = {1000, 8192, 32768, 131072, 262144, 1000000, 1 << 20};
  std::vector<int64_t> few_rows = {1, 4, 16};
  if (quick) few_rows_lengths = {131072, 1 << 20}, few_rows = {1, 4};
  for (const Operation operation : {Operation::softmax, Operation::row_max}) {
    for (const int64_t k : operation == Operation::softmax ? lengths_and_boundaries : lengths) {
      // Maxima and indices of rows of one or two take more memory than their logits.
      const int64_t rows = operation == Operation::row_max && k < 4 ? many(4 * k) : many(k);
      cases.push_back({operation, {rows, k, 1}, 0});
    }
    for (const int64_t k : few_rows_lengths) {
      for (const int64_t rows : few_rows) {
        if (rows < many(k)) cases.push_back({operation, {rows, k, 1}, 0});
      }
    }
    if (!quick) {
      for (const int64_t k : {1024, 8192}) cases.push_back({operation, {many(k) - 1, k, 1}, 1});
    }
    for (const int64_t k : quick ? std::vector<int64_t>{100} : std::vector<int64_t>{10, 100, 1000, 1025, 4096}) {
      for (const int64_t inner : quick ? std::vector<int64_t>{64} : std::vector<int64_t>{7, 64, 1024}) {
        cases.push_back({operation, {std::max<int64_t>(1, many(k) / inner), k, inner}, 0});
      }
    }
    // Along another axis, held by a cluster and by none.
    if (!quick) {
      for (const Layout& layout : {Layout{many(60'000 * 64), 60'000, 64}, Layout{many(200'000 * 7), 200'000, 7}}) {
        cases.push_back({operation, layout, 0});
      }
    }
  }

  const auto many_jacobians = [&](int64_t k) { return std::max<int64_t>(1, bench.scale.bytes / (k * k * size)); };
  for (const int64_t k : quick ? std::vector<int64_t>{4, 10, 33, 100, 1000}
                               : std::vector<int64_t>{4, 10, 32, 33, 100, 128, 129, 1000, 4096}) {
    cases.push_back({Operation::jacobian, {many_jacobians(k), k, 1}, 0});
  }
  if (!quick) {
    for (const int64_t k : {1000, 4096}) cases.push_back({Operation::jacobian, {1, k, 1}, 0});
    // Of a few megabytes, in tiles of few rows, whose entries end within lines.
    for (const int64_t k : {9, 63, 127}) {
      const int64_t rows = std::max<int64_t>(1, (16 << 20) / (k * k * size));
      cases.push_back({Operation::jacobian, {std::min(rows, many_jacobians(k)), k, 1}, 0});
    }
  }

  cases.erase(std::remove_if(cases.begin(), cases.end(),
                             [&](const Case& c) {
                               const auto [outer, k, inner] = c.layout;
                               return outer < 1 || k > bench.scale.longest ||
                                      (tiny && outer * k * inner > (c.operation == Operation::jacobian ? 300 : 20'000));
                             }),
              cases.end());
  return cases;
}

// A case from OPERATION:DTYPE:OUTERxKxINNER.
Case case_of(const char* text, std::string* dtype) {
  char operation[32], type[32];
  long long outer, k, inner;
  if (std::sscanf(text, "%31[^:]:%31[^:]:%lldx%lldx%lld", operation, type, &outer, &k, &inner) == 5 &&
      (std::strcmp(type, "float32") == 0 || std::strcmp(type, "float64") == 0) && outer > 0 && k > 0 && inner > 0) {
    *dtype = type;
    for (int i = 0; i < 3; i++) {
      if (std::strcmp(operation, kNames[i]) == 0) return {static_cast<Operation>(i), {outer, k, inner}, 0};
    }
  }
  std::fprintf(stderr, "%s is no case\n", text);
  std::exit(2);
}

// Bytes a second between page-locked memory of the host and the device: each way alone, then both at once.
void measure_transfers(Bench& bench) {
  const int64_t bytes = bench.scale.bytes;
  unsigned char *from, *to;
  cudaStream_t other;
  check(cudaHostAlloc(reinterpret_cast<void**>(&from), static_cast<size_t>(bytes), cudaHostAllocDefault),
        "cudaHostAlloc");
  check(cudaHostAlloc(reinterpret_cast<void**>(&to), static_cast<size_t>(bytes), cudaHostAllocDefault),
        "cudaHostAlloc");
  check(cudaStreamCreateWithFlags(&other, cudaStreamNonBlocking), "cudaStreamCreateWithFlags");
  std::memset(from, 1, static_cast<size_t>(bytes));
  const auto rate = [&](bool up, bool down) {
    std::vector<double> seconds;
    for (int round = -1; round < std::min(7, bench.scale.rounds); round++) {
      const auto begin = Clock::now();
      if (up) {
        check(cudaMemcpyAsync(bench.inputs, from, static_cast<size_t>(bytes), cudaMemcpyHostToDevice, bench.stream),
              "upload");
      }
      if (down) {
        check(cudaMemcpyAsync(to, bench.results, static_cast<size_t>(bytes), cudaMemcpyDeviceToHost, other),
              "download");
      }
      check(cudaStreamSynchronize(bench.stream), "upload");
      check(cudaStreamSynchronize(other), "download");
      if (round >= 0) seconds.push_back(Seconds(Clock::now() - begin).count());
    }
    return static_cast<double>(bytes) / (1e-6 * std::max(1e-3, times_of(std::move(seconds)).median));
  };
  check(cudaMemsetAsync(bench.results, 1, static_cast<size_t>(bench.area_bytes), bench.stream), "cudaMemsetAsync");
  check(cudaStreamSynchronize(bench.stream), "cudaMemsetAsync");
  const double upload = rate(true, false), download = rate(false, true), both = rate(true, true);
  std::printf(
      "{\"type\":\"transfers\",\"bytes\":%lld,\"upload\":%.0f,\"download\":%.0f,\"uploadWhileDownloading\":%.0f}\n",
      static_cast<long long>(bytes), upload, download, both);
  std::fflush(stdout);
  check(cudaStreamDestroy(other), "cudaStreamDestroy");
  check(cudaFreeHost(from), "cudaFreeHost");
  check(cudaFreeHost(to), "cudaFreeHost");
}

// Clocks rise under load.
void warm_up(const Bench& bench, double seconds) {
  const auto begin = Clock::now();
  while (Seconds(Clock::now() - begin).count() < seconds) {
    for (int i = 0; i < 8; i++) {
      check(cudaMemcpyAsync(bench.results, bench.inputs, static_cast<size_t>(bench.area_bytes),
                            cudaMemcpyDeviceToDevice, bench.stream),
            "warming up");
    }
    check(cudaStreamSynchronize(bench.stream), "warming up");
  }
}

}  // namespace

int main(int argc, char** argv) {
  bool quick = false, tiny = false, once = false;
  int index = 0;
  std::vector<Case> named[2];  // of float32 and float64
  for (int i = 1; i < argc; i++) {
    const std::string argument = argv[i];
    if (argument == "--quick") {
      quick = true;
    } else if (argument == "--tiny") {
      tiny = true;
    } else if (argument == "--device" && i + 1 < argc) {
      index = std::atoi(argv[++i]);
    } else if (argument == "--once") {
      once = true;
    } else if (argument[0] != '-') {
      std::string dtype;
      const Case c = case_of(argv[i], &dtype);
      named[dtype == "float64"].push_back(c);
    } else {
      std::fprintf(stderr, "gpu_bench [--quick | --tiny] [--device N] [--once] [CASE...]\n");
      return 2;
    }
  }

  check(cudaSetDevice(index), "cudaSetDevice");
  cudaDeviceProp properties;
  check(cudaGetDeviceProperties(&properties, index), "cudaGetDeviceProperties");
  int compiled_for = 0, driver = 0, runtime = 0;
  check(compiled_capability(&compiled_for), "compiled_capability");
  check(cudaDriverGetVersion(&driver), "cudaDriverGetVersion");
  check(cudaRuntimeGetVersion(&runtime), "cudaRuntimeGetVersion");
  size_t free_memory = 0, memory = 0;
  check(cudaMemGetInfo(&free_memory, &memory), "cudaMemGetInfo");

  static Bench bench{};
  bench.once = once;
  bench.scale = tiny ? kTiny : quick ? kQuick : kFull;
  const int capability = properties.major * 10 + properties.minor;
  bench.device = {std::min(capability, compiled_for),
                  1,
                  properties.multiProcessorCount,
                  static_cast<int64_t>(properties.sharedMemPerBlockOptin),
                  static_cast<int64_t>(properties.sharedMemPerMultiprocessor),
                  properties.l2CacheSize,
                  properties.memoryBusWidth};
  check(launchable_cluster(bench.device, largest_cluster(capability, compiled_for), &bench.device.largest_cluster),
        "launchable_cluster");
  bench.area_bytes = std::min(bench.scale.most_bytes, static_cast<int64_t>(free_memory / 6) / 512 * 512);
  bench.scale.bytes = std::min(bench.scale.bytes, bench.area_bytes / 2);
  check(cudaMalloc(reinterpret_cast<void**>(&bench.inputs), static_cast<size_t>(bench.area_bytes)), "cudaMalloc");
  check(cudaMalloc(reinterpret_cast<void**>(&bench.results), static_cast<size_t>(bench.area_bytes)), "cudaMalloc");
  check(cudaStreamCreateWithFlags(&bench.stream, cudaStreamNonBlocking), "cudaStreamCreateWithFlags");
  for (cudaEvent_t& event : bench.events) check(cudaEventCreate(&event), "cudaEventCreate");

  std::printf(
      "{\"type\":\"device\",\"name\":\"%s\",\"computeCapability\":\"%d.%d\",\"compiledFor\":\"%d.%d\","
      "\"multiprocessors\":%d,\"memory\":%zu,\"l2Bytes\":%d,\"driver\":%d,\"runtime\":%d}\n",
      properties.name, properties.major, properties.minor, compiled_for / 10, compiled_for % 10,
      properties.multiProcessorCount, memory, properties.l2CacheSize, driver, runtime);
  std::fflush(stdout);

  const bool are_named = !named[0].empty() || !named[1].empty();
  const auto run = [&](auto zero) {
    using T = decltype(zero);
    const std::vector<Case>& of_type = named[sizeof(T) == 8];
    if (are_named && of_type.empty()) return;
    fill_inputs<T>(bench);
    if (are_named) {
      warm_up(bench, tiny || once ? 0 : 1);
    } else if (std::is_same_v<T, float>) {
      measure_transfers(bench);
      fill_inputs<T>(bench);
      warm_up(bench, tiny ? 0 : 1);
    }
    for (const Case& c : are_named ? of_type : cases_of<T>(bench, quick, tiny)) measure<T>(bench, c);
  };
  run(float{});
  run(double{});
  std::printf("{\"type\":\"end\",\"enqueuedAhead\":%s}\n", bench.gate.works() ? "true" : "false");
  return 0;
}
