// Calls of the CPU back end from several threads at once, each on several threads of its own, while the settings of tests
// change: every result must have the bits of the same call made alone on one thread.
//
//   race_check [rounds]        exit code 1 where a bit differs
//   race_check --plant race    makes a data race on purpose
//   race_check --plant overrun has a kernel write past its result
//
// With SOFTMAX_SANITIZE=thread ThreadSanitizer watches it, and native/cpu runs on the threads of threads_by_std.cpp; with
// address AddressSanitizer does. The planted faults show that they do.
#include <atomic>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <functional>
#include <string>
#include <thread>
#include <vector>

#include "cpu/cpu.h"
#include "golden.h"

using namespace softmax_native;

namespace {

constexpr int kCallers = 4;
constexpr int kMostThreads = 4;

// A call with everything but its result: `compute` fills `bytes` bytes.
struct Case {
  std::string name;
  size_t bytes;
  std::function<cpu::Status(char* result, int threads, bool is_new)> compute;
  std::vector<char> expected;
};

// Logits of several magnitudes; those of every third array need a shift by the row's maximum.
template <class T>
std::vector<T> logits(int64_t count, uint64_t seed) {
  std::vector<T> x(static_cast<size_t>(count));
  for (size_t i = 0; i < x.size(); i++) x[i] = golden_input<T>(seed << 32, i, seed % 3 == 0 ? 19 : 5);
  return x;
}

std::string name_of(const char* operation, size_t element, cpu::Layout l) {
  return std::string(operation) + " of float" + std::to_string(8 * element) + " " + std::to_string(l.outer) + " x " +
         std::to_string(l.k) + " x " + std::to_string(l.inner);
}

template <class T>
void add_cases(std::vector<Case>* cases) {
  // Short rows, rows, a few long ones that threads share, and columns: many, scattered, a few long ones.
  const cpu::Layout layouts[] = {{300, 7, 1},  {64, 100, 1}, {9, 1500, 1}, {2, 9000, 1}, {1, 5000, 1},
                                 {2, 40, 300}, {50, 10, 7},  {1, 3000, 2}, {3, 1, 5}};
  uint64_t seed = 0;
  for (const cpu::Layout l : layouts) {
    const int64_t rows = l.outer * l.inner;
    const auto x = logits<T>(rows * l.k, ++seed);
    cases->push_back({name_of("softmax", sizeof(T), l),
                      x.size() * sizeof(T),
                      [=](char* result, int threads, bool is_new) {
                        return cpu::softmax(x.data(), reinterpret_cast<T*>(result), l, threads, is_new);
                      },
                      {}});
    cases->push_back({name_of("softmax in place", sizeof(T), l),
                      x.size() * sizeof(T),
                      [=](char* result, int threads, bool) {
                        std::memcpy(result, x.data(), x.size() * sizeof(T));
                        return cpu::softmax(reinterpret_cast<T*>(result), reinterpret_cast<T*>(result), l, threads);
                      },
                      {}});
    cases->push_back({name_of("rowMax", sizeof(T), l),
                      static_cast<size_t>(rows) * (sizeof(T) + sizeof(int32_t)),
                      [=](char* result, int threads, bool) {
                        return cpu::row_max(x.data(), reinterpret_cast<T*>(result),
                                            reinterpret_cast<int32_t*>(result + static_cast<size_t>(rows) * sizeof(T)),
                                            l, threads);
                      },
                      {}});
  }
  for (const cpu::Layout l : {cpu::Layout{40, 10, 1}, cpu::Layout{6, 65, 1}, cpu::Layout{1, 300, 1}}) {
    const auto x = logits<T>(l.outer * l.k, ++seed);
    cases->push_back({name_of("softmaxJacobian", sizeof(T), l),
                      static_cast<size_t>(l.outer * l.k * l.k) * sizeof(T),
                      [=](char* result, int threads, bool is_new) {
                        return cpu::softmax_jacobian(x.data(), reinterpret_cast<T*>(result), l.outer, l.k, threads,
                                                     is_new);
                      },
                      {}});
  }
}

// Computes every case in an order of this caller's own. Returns how many differ.
int call_all(const std::vector<Case>& cases, int caller, int rounds) {
  int different = 0;
  for (int round = 0; round < rounds; round++) {
    for (size_t i = 0; i < cases.size(); i++) {
      const Case& one = cases[(i * 7 + static_cast<size_t>(caller + round)) % cases.size()];
      const int threads = 1 + (caller + round + static_cast<int>(i)) % kMostThreads;
      std::vector<char> result(one.bytes);
      const cpu::Status status = one.compute(result.data(), threads, (i + static_cast<size_t>(round)) % 2 == 0);
      if (status == cpu::Status::ok && result == one.expected) continue;
      std::fprintf(stderr, "%s on %d threads of caller %d differs\n", one.name.c_str(), threads, caller);
      different++;
    }
  }
  return different;
}

int plant(const char* fault) {
  if (std::strcmp(fault, "race") == 0) {
    int shared = 0;
    std::thread other([&] { shared++; });
    shared++;
    other.join();
    return shared == 2 ? 0 : 1;
  }
  const std::vector<float> x = logits<float>(100, 1);
  std::vector<float> result(99);
  cpu::softmax(x.data(), result.data(), {1, 100, 1}, 1);
  return 0;
}

}  // namespace

int main(int argc, char** argv) {
  if (argc == 3 && std::strcmp(argv[1], "--plant") == 0) return plant(argv[2]);
  const int rounds = argc > 1 ? std::atoi(argv[1]) : 2;
  if (cpu::isa() == nullptr) {
    std::fprintf(stderr, "SOFTMAX_NATIVE_ISA is %s\n", cpu::requested_isa());
    return 1;
  }

  std::vector<Case> cases;
  add_cases<float>(&cases);
  add_cases<double>(&cases);
  for (Case& one : cases) {
    one.expected.resize(one.bytes);
    if (one.compute(one.expected.data(), 1, false) != cpu::Status::ok) return 1;
  }

  cpu::set_work_per_thread(0);
  std::atomic<int> different{0};
  std::atomic<bool> over{false};
  std::thread settings([&] {
    for (int64_t bytes = 1; !over; bytes ^= int64_t{1} << 40) {
      cpu::set_past_caches_from(bytes);
      std::this_thread::yield();
    }
  });
  std::vector<std::thread> callers;
  for (int caller = 0; caller < kCallers; caller++) {
    callers.emplace_back([&, caller] { different += call_all(cases, caller, rounds); });
  }
  for (std::thread& caller : callers) caller.join();
  over = true;
  settings.join();

  std::printf("%s: %d callers, %d rounds of %d calls\n", cpu::isa(), kCallers, rounds, static_cast<int>(cases.size()));
  return different ? 1 : 0;
}
