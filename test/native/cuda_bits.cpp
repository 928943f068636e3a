// Runs every kernel of native/cuda on the device at hand, an emulated one or a GPU, and compares each result with the
// CPU back end's, bit by bit. Prints the plans it met; ends with 1 when a bit differs.
//
//   cuda_bits [few | quick [lesser]]
//
// `few` is for a tool that slows everything down: a few arrays for each plan. With `lesser` also as if the GPU were
// smaller ones (a plan for those is good on it too), for the regimes that it has no need of.
#include <cuda_runtime.h>

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <map>
#include <random>
#include <string>
#include <thread>
#include <vector>

#include "cpu/cpu.h"
#include "cuda/launch.h"
#if defined(SOFTMAX_EMULATED_CUDA)
#include "../emulator/emulator.h"
#endif

namespace {

using namespace softmax_native;
using cuda::DeviceProperties;
using cuda::Layout;

int failures = 0;
int comparisons = 0;
std::map<std::string, int> plans;
bool few = false;

void check(cudaError_t error, const char* what) {
  if (error == cudaSuccess) return;
  std::printf("%s: %s\n", what, cudaGetErrorName(error));
  std::exit(2);
}

// Device memory that ends where the array ends, so that a check of bounds sees the first element past it.
template <class T>
struct DeviceArray {
  explicit DeviceArray(int64_t count, int64_t offset = 0) {
    check(cudaMalloc(&memory, static_cast<size_t>(count + offset) * sizeof(T)), "cudaMalloc");
    data = static_cast<T*>(memory) + offset;
  }
  ~DeviceArray() { cudaFree(memory); }
  DeviceArray(const DeviceArray&) = delete;
  DeviceArray& operator=(const DeviceArray&) = delete;
  void* memory = nullptr;
  T* data;
};

struct Workspace {
  explicit Workspace(int64_t bytes) {
    if (bytes > 0) check(cudaMalloc(&memory, static_cast<size_t>(bytes)), "cudaMalloc");
  }
  ~Workspace() {
    if (memory != nullptr) cudaFree(memory);
  }
  Workspace(const Workspace&) = delete;
  Workspace& operator=(const Workspace&) = delete;
  void* memory = nullptr;
};

template <class T>
void upload(T* to, const std::vector<T>& from) {
  check(cudaMemcpy(to, from.data(), from.size() * sizeof(T), cudaMemcpyHostToDevice), "upload");
}

template <class T>
void compare(const char* what, Layout layout, const T* device, const std::vector<T>& expected) {
  std::vector<T> got(expected.size());
  check(cudaMemcpy(got.data(), device, got.size() * sizeof(T), cudaMemcpyDeviceToHost), what);
  comparisons++;
  if (std::memcmp(got.data(), expected.data(), got.size() * sizeof(T)) == 0) return;
  failures++;
  size_t first = 0, count = 0;
  for (size_t i = got.size(); i-- > 0;) {
    if (std::memcmp(&got[i], &expected[i], sizeof(T)) != 0) first = i, count++;
  }
  if (failures <= 20) {
    std::printf("FAILED %s %zu bytes (%lld, %lld, %lld): %zu differ, the first at %zu: %.9g instead of %.9g\n", what,
                sizeof(T), static_cast<long long>(layout.outer), static_cast<long long>(layout.k),
                static_cast<long long>(layout.inner), count, first, static_cast<double>(got[first]),
                static_cast<double>(expected[first]));
  }
}

// Normal logits; some rows are shifted to 2^16 and beyond, some hold NaN, infinities or nothing else.
template <class T>
std::vector<T> logits_of(Layout layout, unsigned seed) {
  std::mt19937 random(seed);
  std::normal_distribution<double> normal(0, 3);
  std::vector<T> x(static_cast<size_t>(layout.outer * layout.k * layout.inner));
  for (T& v : x) v = static_cast<T>(normal(random));
  const int64_t rows = layout.outer * layout.inner, k = layout.k;
  for (int64_t row = 0; row < rows; row++) {
    const auto at = [&](int64_t j) -> T& {
      return x[static_cast<size_t>((row / layout.inner * k + j) * layout.inner + row % layout.inner)];
    };
    const int64_t some = static_cast<int64_t>(random() % static_cast<unsigned>(k));
    // A few rows are of the kinds that take other ways through the kernels.
    const int64_t kind = rows > 4 ? (row + seed) % 13 : row == 0 ? 1 : row == 2 ? 11 + seed % 2 : 0;
    switch (kind) {
      case 1:
        for (int64_t j = 0; j < k; j++) at(j) = at(j) + T(100000);
        break;
      case 2:
        at(some) = static_cast<T>(NAN);
        break;
      case 3:
        at(some) = static_cast<T>(INFINITY);
        break;
      case 4:
        for (int64_t j = 0; j < k; j++) at(j) = static_cast<T>(-INFINITY);
        break;
      case 5:
        for (int64_t j = 0; j < k; j++) {
          if (j != some) at(j) = static_cast<T>(-INFINITY);
        }
        break;
      case 6:
        at(some) = T(60);  // one probability close to 1
        break;
      case 7:
        for (int64_t j = 0; j < k; j++) at(j) = at(j) * T(30);
        break;
      case 11:  // equal logits, and zeros of both signs
        for (int64_t j = 0; j < k; j++) at(j) = std::round(std::min(at(j), T(0)));
        break;
      case 12:
        for (int64_t j = some; j < k; j += 3) at(j) = static_cast<T>(NAN);
        break;
      default:
        break;
    }
  }
  return x;
}

// The Jacobian of contiguous rows, written `offset` elements after a line of 128 bytes.
template <class T>
void run_jacobian(const std::vector<T>& x, const T* dx, Layout layout, const DeviceProperties& device, int64_t offset) {
  const int64_t rows = layout.outer, k = layout.k, count = rows * k;
  std::vector<T> jacobian(static_cast<size_t>(count * k));
  cpu::softmax_jacobian(x.data(), jacobian.data(), rows, k, 1);
  DeviceArray<T> out(count * k, offset);
  {
    const Workspace workspace(cuda::jacobian_workspace<T>(rows, k, device));
    check(cuda::jacobian(dx, out.data, rows, k, device, workspace.memory, nullptr), "jacobian");
    compare("jacobian", layout, out.data, jacobian);
  }
  // In two pieces, cut anywhere, the second first: it must end where the first begins.
  DeviceArray<T> probabilities(count, offset % 2), diagonal(count);
  check(cuda::jacobian_rows(dx, probabilities.data, diagonal.data, rows, k, nullptr), "jacobian_rows");
  check(cudaMemset(out.data, 0xff, static_cast<size_t>(count * k) * sizeof(T)), "cudaMemset");
  const int64_t cut = count * k / 3 + 1;
  if (cut < count * k) {
    check(cuda::jacobian_entries(probabilities.data, diagonal.data, out.data + cut, k, cut, count * k, nullptr),
          "entries");
  }
  check(cuda::jacobian_entries(probabilities.data, diagonal.data, out.data, k, 0, cut, nullptr), "entries");
  compare("jacobian in pieces", layout, out.data, jacobian);
}

template <class T>
void run(Layout layout, const DeviceProperties& device, int64_t offset, bool with_jacobian) {
  const int64_t rows = layout.outer * layout.inner, k = layout.k, count = rows * k;
  const cuda::Plan plan = cuda::softmax_plan(layout, sizeof(T), device);
  plans[std::string(cuda::name_of(plan.regime)) +
        (plan.blocks_per_row > 1 ? " x" + std::to_string(plan.blocks_per_row) : "")]++;
  if (few) {
    static std::map<std::string, int> met;
    const std::string kind = std::string(cuda::name_of(plan.regime)) + std::to_string(plan.blocks_per_row) + " " +
                             std::to_string(plan.elements) + (layout.inner > 1 ? " inner" : "") +
                             (k % 4 == 0 ? " vectors" : "") + (offset > 0 ? " offset" : "") +
                             (with_jacobian ? " jacobian" : "");
    if (++met[kind] > 2) return;
  }

  const std::vector<T> x = logits_of<T>(layout, static_cast<unsigned>(k * 7 + rows));
  std::vector<T> expected(x.size());
  cpu::softmax(x.data(), expected.data(), {layout.outer, k, layout.inner}, 1);
  DeviceArray<T> dx(count, offset), dy(count, offset);
  upload(dx.data, x);
  {
    const Workspace workspace(cuda::softmax_workspace<T>(layout, device));
    check(cuda::softmax(dx.data, dy.data, layout, device, workspace.memory, nullptr), "softmax");
    compare("softmax", layout, dy.data, expected);
  }
  {
    std::vector<T> max(static_cast<size_t>(rows));
    std::vector<int32_t> argmax(static_cast<size_t>(rows));
    cpu::row_max(x.data(), max.data(), argmax.data(), {layout.outer, k, layout.inner}, 1);
    DeviceArray<T> dmax(rows, offset);
    DeviceArray<int32_t> dargmax(rows, offset);
    const Workspace workspace(cuda::row_max_workspace<T>(layout, device));
    check(cuda::row_max(dx.data, dmax.data, dargmax.data, layout, device, workspace.memory, nullptr), "row_max");
    compare("row_max", layout, dmax.data, max);
    compare("argmax", layout, dargmax.data, argmax);
  }
  if (with_jacobian) run_jacobian(x, dx.data, layout, device, offset);
  // In place, last.
  const Workspace workspace(cuda::softmax_workspace<T>(layout, device));
  check(cuda::softmax(dx.data, dx.data, layout, device, workspace.memory, nullptr), "softmax");
  compare("softmax in place", layout, dx.data, expected);
}

template <class T>
void run_all(const DeviceProperties& device, bool quick) {
  const auto rows_of = [&](int64_t k) { return k <= 64 ? 300 : k <= 1024 ? 37 : k <= 4096 ? 12 : 3; };
  std::vector<int64_t> lengths;
  for (int64_t k = 1; k <= 70; k += quick ? 7 : 1) lengths.push_back(k);
  for (const int64_t k : {2,   3,   4,    12,   127,  128,  129,  255,  256,  257,  320, 511,
                          512, 513, 1000, 1023, 1024, 1025, 2048, 2049, 4096, 8192, 8193}) {
    lengths.push_back(k);
  }
  // One length, or two, of every regime of long rows, and their last and first ones.
  const std::vector<int64_t> long_lengths = {16384, 16385, 40000, 65537, 131072, 131073, 300001, 900000};
  for (const int64_t k : long_lengths) {
    if (!quick || k == 40000 || k == 131073 || k == 900000) lengths.push_back(k);
  }
  for (const int64_t k : lengths) {
    const int64_t rows = k == 900000 ? 2 : rows_of(k);  // one that is summed again, and one that is not
    // Jacobians of many columns have enough entries for every block with fewer rows.
    const bool large = quick && k > 40 && k <= 300;
    run<T>({rows, k, 1}, device, 0, !large && k <= 300 && (k < 40 || k % 2 == 1));
    if (!quick || k < 10000) run<T>({rows, k, 1}, device, 1, !large && k <= 300 && k % 2 == 1);
    if (large && k % 2 == 1) {
      for (const int64_t offset : {0, 1}) run<T>({k < 100 ? 60 : 5, k, 1}, device, offset, true);
    }
  }
  // Many rows of a length that few rows are split for.
  for (const int64_t offset : {0, 1}) {
    if (device.compute_capability >= 90 && quick) break;
    run<T>({device.multiprocessors / 2, 96000 / static_cast<int64_t>(sizeof(T)), 1}, device, offset, false);
  }
  // More rows than blocks or clusters at a time, which then take one after the other; and slices of several rows.
  for (const int64_t k : {1025, 1028, 4099, 16387, 16388, 65539}) {
    if (!quick) run<T>({(k < 4000 ? 9 : k < 10000 ? 5 : 1) * device.multiprocessors + 3, k, 1}, device, k % 2, false);
  }
  if (!quick) run<T>({3, 1000001, 1}, device, 1, false);
  for (const int64_t k : {1, 2, 5, 12, 20, 33, 200, 257, 513, 1000, 1024, 1025, 3000, 20000}) {
    for (const int64_t inner : {2, 3, 7, 8, 33, 100}) {
      if (k > 1024 && (inner > 33 || (quick && (k > 1025 || inner < 8)))) continue;
      run<T>({k < 100 ? 13 : 3, k, inner}, device, inner % 2, false);
    }
  }
  // Held by a block, by the largest cluster, and by none.
  run<T>({2, 3000, 5}, device, 0, false);
  for (const int64_t k : {1025, 5000, 20001, 60000}) run<T>({3, k, 2}, device, k % 2, false);
  if (!quick) run<T>({1, 100003, 9}, device, 1, false);
  // Row max with groups of threads on many narrow columns, on one part of a wide one, and on slices.
  run<T>({40, 50, 5}, device, 0, false);
  run<T>({1, 300, 520}, device, 0, false);
  run<T>({2, 700, 1}, device, 0, true);
  // And as on a small GPU: with whole tiles of short rows, and on wide columns.
  DeviceProperties small = device;
  small.multiprocessors = 1;
  for (const int64_t offset : {0, 1}) {
    run<T>({1500, 5, 1}, small, offset, false);
    run<T>({150, 52, 1}, small, offset, false);
    run<T>({12, 3, 300}, small, offset, false);
  }
  // Jacobians from every place in a line, of rows shorter than a vector, of one, and whose lines end within vectors.
  for (const int64_t k : {1, 2, 3, 4, 9, 64, 127, 132, 200}) {
    const Layout layout{k < 10 ? 40 : 3, k, 1};
    const std::vector<T> x = logits_of<T>(layout, static_cast<unsigned>(k));
    DeviceArray<T> dx(layout.outer * k);
    upload(dx.data, x);
    const int64_t step = few ? 15 : quick ? 5 : 1;
    for (int64_t offset = 1; offset < 128 / static_cast<int64_t>(sizeof(T)); offset += step) {
      run_jacobian(x, dx.data, layout, device, offset);
    }
  }
  run<T>({1, 1500, 1}, device, 1, true);
  // Jacobians in tiles of the longest rows, which take some rows for each multiprocessor; of lines in parts; and of
  // periods of rows from the shortest to the longest.
  for (const int64_t k : {129, 141, 197, 200, 201, 240}) run<T>({k == 200 ? 4 : 5, k, 1}, small, k % 2, true);
  // Five rows of 141, 240, 537 or 1109 columns are of all the kinds without probabilities, or with one near 1.
  for (const int64_t k : {537, 1030, 1109}) run<T>({k % 2 == 0 ? 2 : 5, k, 1}, device, k % 2, true);
  for (const int64_t k : {17, 31, 32, 33}) run<T>({quick ? 20 : 100, k, 1}, small, k % 2, true);
}

#if defined(SOFTMAX_EMULATED_CUDA)
// A thread launches a kernel with much shared memory; just before the launch, with all set up for it, another launches
// the same kernel with less. True where the device has two such sizes.
bool run_two_threads(DeviceProperties device) {
  device.multiprocessors = 1;  // two rows are enough work for it
  const auto shared_bytes = [&](int64_t k) -> int64_t {
    const cuda::Plan plan = cuda::softmax_plan({2, k, 1}, sizeof(double), device);
    return plan.regime == cuda::Regime::shared && plan.blocks_per_row == 1 ? plan.shared_bytes : 0;
  };
  int64_t little = 0, much = 0;
  for (int64_t k = 1024; k <= 32 * 1024; k += 512) {
    if (shared_bytes(k) <= 48 * 1024) continue;
    if (little == 0) little = k;
    much = k;
  }
  if (shared_bytes(little) >= shared_bytes(much)) return false;
  bool has_come = false;
  emulated::interpose("cudaLaunchKernelEx", [&] {
    std::thread([&] { run<double>({2, little, 1}, device, 0, false); }).join();
    has_come = true;
  });
  run<double>({2, much, 1}, device, 0, false);
  return has_come;
}
#endif

}  // namespace

int main(int argc, char** argv) {
  few = argc > 1 && std::strcmp(argv[1], "few") == 0;
  const bool quick = few || (argc > 1 && std::strcmp(argv[1], "quick") == 0);
  cudaDeviceProp properties;
  check(cudaGetDeviceProperties(&properties, 0), "cudaGetDeviceProperties");
  int compiled_for = 0;
  check(cuda::compiled_capability(&compiled_for), "compiled_capability");
  const int capability = properties.major * 10 + properties.minor;
  DeviceProperties device = {std::min(capability, compiled_for),
                             1,
                             properties.multiProcessorCount,
                             static_cast<int64_t>(properties.sharedMemPerBlockOptin),
                             static_cast<int64_t>(properties.sharedMemPerMultiprocessor),
                             properties.l2CacheSize,
                             properties.memoryBusWidth};
  const int cluster = cuda::largest_cluster(capability, compiled_for);
  check(cuda::launchable_cluster(device, cluster, &device.largest_cluster), "launchable_cluster");
  std::vector<DeviceProperties> devices = {device};
  if (argc > 2 && std::strcmp(argv[2], "lesser") == 0) {
    devices.push_back({75, 1, 40, 64 << 10, 64 << 10, 4 << 20, 256});
    devices.push_back({80, 1, 2, 99 << 10, 100 << 10, 6 << 20, 384});
    if (device.largest_cluster >= 8) devices.push_back({90, 8, 16, 99 << 10, 100 << 10, 6 << 20, 384});
  }
  for (const DeviceProperties& planned_for : devices) {
    run_all<float>(planned_for, quick);
    run_all<double>(planned_for, quick);
  }
#if defined(SOFTMAX_EMULATED_CUDA)
  const bool two_threads = run_two_threads(device);
#endif
  std::printf("%s, compute capability %d.%d: %d comparisons, %d failed\n", properties.name, properties.major,
              properties.minor, comparisons, failures);
  for (const auto& [plan, count] : plans) std::printf("  regime %s: %d\n", plan.c_str(), count);
#if defined(SOFTMAX_EMULATED_CUDA)
  if (two_threads) std::printf("  two threads\n");
  for (const auto& [kernel, count] : emulated::launches()) {
    std::printf("  kernel %s: %llu launches\n", kernel.c_str(), static_cast<unsigned long long>(count));
  }
  if (!emulated::findings().empty()) failures++;
#endif
  return failures == 0 ? 0 : 1;
}
