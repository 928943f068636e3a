// Times the CPU kernels through native/cpu/cpu.h, without Node, and the speeds of memory that they are held against:
// memcpy, std::fill, and a copy and a fill with non-temporal stores, which do not read what they overwrite. All of them
// divide their work among the same threads. bench/peers/subprocess.mjs describes the lines it reads and writes.
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>

#include <algorithm>
#include <chrono>
#include <functional>
#include <iostream>
#include <memory>
#include <random>
#include <sstream>
#include <stdexcept>
#include <string>
#include <vector>

#if defined(__x86_64__)
#include <immintrin.h>
#endif

#include "cpu/cpu.h"
#include "cpu/parallel.h"

namespace cpu = softmax_native::cpu;

namespace {

constexpr size_t kLine = 64;  // bytes of a cache line, and of the widest store

#if defined(__x86_64__)

__attribute__((target("avx512f"))) void stream_copy_avx512(const char* from, char* to, size_t bytes) {
  for (size_t at = 0; at < bytes; at += kLine) {
    _mm512_stream_si512(reinterpret_cast<__m512i*>(to + at), _mm512_loadu_si512(from + at));
  }
  _mm_sfence();
}

__attribute__((target("avx512f"))) void stream_fill_avx512(char* to, size_t bytes) {
  const __m512i value = _mm512_set1_epi32(0x3e800000);
  for (size_t at = 0; at < bytes; at += kLine) _mm512_stream_si512(reinterpret_cast<__m512i*>(to + at), value);
  _mm_sfence();
}

void stream_copy(const char* from, char* to, size_t bytes) {
  if (__builtin_cpu_supports("avx512f")) return stream_copy_avx512(from, to, bytes);
  for (size_t at = 0; at < bytes; at += sizeof(__m128i)) {
    _mm_stream_si128(reinterpret_cast<__m128i*>(to + at), _mm_loadu_si128(reinterpret_cast<const __m128i*>(from + at)));
  }
  _mm_sfence();
}

void stream_fill(char* to, size_t bytes) {
  if (__builtin_cpu_supports("avx512f")) return stream_fill_avx512(to, bytes);
  const __m128i value = _mm_set1_epi32(0x3e800000);
  for (size_t at = 0; at < bytes; at += sizeof value) _mm_stream_si128(reinterpret_cast<__m128i*>(to + at), value);
  _mm_sfence();
}

#else

// Elsewhere compilers offer no such stores.
void stream_copy(const char* from, char* to, size_t bytes) { std::memcpy(to, from, bytes); }
void stream_fill(char* to, size_t bytes) { std::memset(to, 1, bytes); }

#endif

struct Free {
  void operator()(char* memory) const { std::free(memory); }
};
using Memory = std::unique_ptr<char, Free>;

size_t whole_lines(size_t bytes) { return (bytes + kLine - 1) / kLine * kLine; }

Memory allocate(size_t bytes) {
  char* memory = static_cast<char*>(std::aligned_alloc(kLine, whole_lines(bytes)));
  if (!memory) throw std::runtime_error("out of memory");
  std::memset(memory, 1, whole_lines(bytes));  // the system hands out memory at the first use only
  return Memory(memory);
}

struct Case {
  std::string operation, dtype;
  cpu::Layout layout;
  size_t slots;
  int threads;
};

struct Slot {
  Memory x, y;
};

struct Candidate {
  std::string name, group;
  int64_t bytes;  // read and written
  std::function<void(const Slot&)> call;
};

// Normal numbers, the same ones again after a million.
template <class T>
void fill_with_logits(T* x, int64_t count) {
  static const std::vector<double> numbers = [] {
    std::mt19937 random(1);
    std::normal_distribution<double> normal(0, 3);
    std::vector<double> made(1 << 20);
    for (double& number : made) number = normal(random);
    return made;
  }();
  const int64_t own = static_cast<int64_t>(numbers.size());
  for (int64_t at = 0; at < count; at += own) std::copy_n(numbers.data(), std::min(own, count - at), x + at);
}

class Session {
 public:
  void prepare(const Case& asked) {
    candidates_.clear();
    slots_.clear();
    if (asked.dtype == "float32") {
      prepare<float>(asked);
    } else {
      prepare<double>(asked);
    }
  }

  const std::vector<Candidate>& candidates() const { return candidates_; }

  int64_t time(size_t candidate, int64_t calls) {
    const auto& call = candidates_.at(candidate).call;
    const auto start = std::chrono::steady_clock::now();
    for (int64_t i = 0; i < calls; i++) call(slots_[position_++ % slots_.size()]);
    return std::chrono::nanoseconds(std::chrono::steady_clock::now() - start).count();
  }

 private:
  template <class T>
  void prepare(const Case& asked) {
    const cpu::Layout layout = asked.layout;
    const bool is_softmax = asked.operation == "softmax";
    const int64_t elements = layout.outer * layout.k * layout.inner;
    const int64_t results = is_softmax ? elements : elements * layout.k;
    const size_t read = static_cast<size_t>(elements) * sizeof(T), written = static_cast<size_t>(results) * sizeof(T);
    for (size_t i = 0; i < asked.slots; i++) {
      slots_.push_back({allocate(read), allocate(written)});
      fill_with_logits(reinterpret_cast<T*>(slots_.back().x.get()), elements);
    }

    const int threads = asked.threads;
    const auto add = [&](const char* name, const char* group, size_t bytes, std::function<void(const Slot&)> call) {
      candidates_.push_back({name, group, static_cast<int64_t>(bytes), std::move(call)});
    };
    add("kernel", "kernel", is_softmax ? read + written : written, [=](const Slot& slot) {
      const T* x = reinterpret_cast<const T*>(slot.x.get());
      T* y = reinterpret_cast<T*>(slot.y.get());
      const cpu::Status status = is_softmax ? cpu::softmax(x, y, layout, threads)
                                            : cpu::softmax_jacobian(x, y, layout.outer, layout.k, threads);
      if (status != cpu::Status::ok) throw std::runtime_error("out of memory");
    });
    const auto in_parts = [=](auto&& work) {
      cpu::parallel_for(static_cast<int64_t>(whole_lines(written) / kLine), threads, {},
                        [&](int64_t begin, int64_t end) {
                          work(static_cast<size_t>(begin) * kLine, static_cast<size_t>(end - begin) * kLine);
                        });
    };
    if (is_softmax) {
      add("memcpy", "roof", read + written, [=](const Slot& slot) {
        in_parts([&](size_t at, size_t n) { std::memcpy(slot.y.get() + at, slot.x.get() + at, n); });
      });
      add("non-temporal copy", "roof", read + written, [=](const Slot& slot) {
        in_parts([&](size_t at, size_t n) { stream_copy(slot.x.get() + at, slot.y.get() + at, n); });
      });
    }
    add("fill", "roof", written, [=](const Slot& slot) {
      in_parts([&](size_t at, size_t n) {
        float* y = reinterpret_cast<float*>(slot.y.get() + at);
        std::fill(y, y + n / sizeof(float), 0.25f);
      });
    });
    add("non-temporal fill", "roof", written,
        [=](const Slot& slot) { in_parts([&](size_t at, size_t n) { stream_fill(slot.y.get() + at, n); }); });
  }

  std::vector<Slot> slots_;
  std::vector<Candidate> candidates_;
  size_t position_ = 0;  // all candidates go through the slots together, so that none finds its own in the cache
};

}  // namespace

int main(int count, char** arguments) {
  // For finding out from which size on a second thread is worth waking.
  if (count > 1 && std::strcmp(arguments[1], "--always-all-threads") == 0) cpu::set_work_per_thread(0);
  Session session;
  std::printf("{\"isa\":\"%s\"}\n", cpu::isa());
  std::fflush(stdout);
  for (std::string line; std::getline(std::cin, line);) {
    std::istringstream words(line);
    std::string command;
    words >> command;
    try {
      if (command == "prepare") {
        Case asked;
        words >> asked.operation >> asked.dtype >> asked.layout.outer >> asked.layout.k >> asked.layout.inner >>
            asked.slots >> asked.threads;
        session.prepare(asked);
        std::printf("{\"candidates\":[");
        const char* separator = "";
        for (size_t i = 0; i < session.candidates().size(); i++) {
          const Candidate& candidate = session.candidates()[i];
          std::printf("%s{\"id\":%zu,\"peer\":\"%s\",\"group\":\"%s\",\"bytes\":%lld}", separator, i,
                      candidate.name.c_str(), candidate.group.c_str(), static_cast<long long>(candidate.bytes));
          separator = ",";
        }
        std::printf("]}\n");
      } else {
        size_t candidate;
        int64_t calls;
        words >> candidate >> calls;
        std::printf("{\"nanoseconds\":%lld}\n", static_cast<long long>(session.time(candidate, calls)));
      }
    } catch (const std::exception& error) {
      std::printf("{\"error\":\"%s\"}\n", error.what());
    }
    std::fflush(stdout);
  }
}
