// The worst error of the split exponential, by trying inputs one after the other.
//
//   exp_sweep [step]    step 1 (default): every float32 below 2^17 in magnitude, 2.4e9 of them; step s: every s-th
//
// float64, whose inputs cannot all be tried, takes 2^22 / step + 2^18 inputs of |x| < 11000 spread over all exponents.
// Prints two figures per type, in units in the last place of the result: the error of the pair before any rounding
// (what reaches a sum), and of the pair rounded to one number. Exit code 1 if the pair is off by more than 0.1 ulp.
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <thread>
#include <vector>

#include "golden.h"

using namespace softmax_native;

namespace {

struct Worst {
  double pair = 0, rounded = 0;
  double pair_at = 0, rounded_at = 0;
  uint64_t inputs = 0;

  void take(const Worst& other) {
    if (!(other.pair <= pair)) pair = other.pair, pair_at = other.pair_at;
    if (!(other.rounded <= rounded)) rounded = other.rounded, rounded_at = other.rounded_at;
    inputs += other.inputs;
  }
};

// exp(x) / 2^n(x) with |n| < 2^17, right to about 2^-50: x - n ln 2 in three steps that keep the bits that cancel.
double reduced_exp(double x, double n) {
  const double ln2_first = 0x1.62e42fefap-1;  // 37 bits: n times this is exact
  const double ln2_second = 0x1.cf79abc9e3b39p-40;
  return std::exp((x - n * ln2_first) - n * ln2_second);
}

void measure(float x, Worst& worst) {
  const float n = exponent_of(x);
  const Pair<float> term = exp_scaled(x, exp_reference(n));
  const double exact = reduced_exp(x, n);
  const double ulp = exact < 1 ? 0x1p-24 : 0x1p-23;
  const double sum = (double(term.head) + double(term.tail)) * 0x1p-90;
  Worst one;
  one.inputs = 1;
  one.pair = std::fabs(sum - exact) / ulp;
  one.rounded = std::fabs(double(float(sum)) - exact) / ulp;
  one.pair_at = one.rounded_at = x;
  worst.take(one);
}

void measure(double x, Worst& worst) {
  const double n = exponent_of(x);
  const Pair<double> term = exp_scaled(x, exp_reference(n));
  const long double exact = ldexpl(expl(x), -static_cast<int>(n));
  const long double ulp = exact < 1 ? 0x1p-53L : 0x1p-52L;
  const long double sum = (static_cast<long double>(term.head) + term.tail) * 0x1p-600L;
  Worst one;
  one.inputs = 1;
  one.pair = static_cast<double>(fabsl(sum - exact) / ulp);
  one.rounded = static_cast<double>(fabsl(static_cast<double>(sum) - exact) / ulp);
  one.pair_at = one.rounded_at = x;
  worst.take(one);
}

// The loop is compiled a second time for processors that have fused multiply-add, which is nearly all of them: as a call
// of the C library it takes twice as long. Choosing between the two when the program starts takes glibc.
#if defined(__x86_64__) && defined(__GNUC__) && !defined(__clang__) && defined(__GLIBC__)
__attribute__((flatten, target_clones("fma", "default")))
#endif
void sweep_part(uint32_t first, uint64_t step, uint32_t end, Worst& worst) {
  for (uint64_t bits = first; bits < end; bits += step) {
    FloatBits u;
    u.bits = static_cast<uint32_t>(bits);
    measure(u.value, worst);
    measure(-u.value, worst);
  }
}

Worst sweep_float32(uint64_t step) {
  const uint32_t end =
      0x48000000;  // 2^17: unshifted rows have maxima below 2^16 in magnitude, and other logits further down
  const unsigned workers = std::thread::hardware_concurrency() ? std::thread::hardware_concurrency() : 1;
  std::vector<Worst> parts(workers);
  std::vector<std::thread> threads;
  for (unsigned worker = 0; worker < workers; worker++) {
    threads.emplace_back(
        [&, worker] { sweep_part(static_cast<uint32_t>(worker * step), workers * step, end, parts[worker]); });
  }
  for (std::thread& thread : threads) thread.join();
  Worst worst;
  for (const Worst& part : parts) worst.take(part);
  return worst;
}

Worst sweep_float64(uint64_t step) {
  Worst worst;
  const uint64_t inputs = (uint64_t(1) << 22) / step + (1 << 18);
  for (uint64_t i = 0; i < inputs; i++) {
    // A random mantissa and sign under an exponent from -60 to 13.
    DoubleBits u;
    const uint64_t random = mix(i);
    u.bits = (random & 0x800fffffffffffffu) | (uint64_t(1023 - 60 + i % 74) << 52);
    if (std::fabs(u.value) < 11000) measure(u.value, worst);
  }
  return worst;
}

bool report(const char* type, const Worst& worst) {
  std::printf("%s: %llu inputs, pair %.3f ulp (at %a), rounded %.3f ulp (at %a)\n", type,
              static_cast<unsigned long long>(worst.inputs), worst.pair, worst.pair_at, worst.rounded,
              worst.rounded_at);
  return worst.pair <= 0.1;
}

}  // namespace

int main(int argc, char** argv) {
  const uint64_t step = argc > 1 ? std::strtoull(argv[1], nullptr, 10) : 1;
  if (step == 0) return std::fprintf(stderr, "Expected a positive step\n"), 2;
  const bool single = report("float32", sweep_float32(step));
  const bool twofold = report("float64", sweep_float64(step));
  return single && twofold ? 0 : 1;
}
