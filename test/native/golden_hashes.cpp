// Prints the golden hashes of the numerics on this processor, after comparing each row with the kernels of the
// instruction set in use (SOFTMAX_NATIVE_ISA), bit for bit. Exit code 1 if a row differs.
#include <cinttypes>
#include <cstdio>
#include <vector>

#include "cpu/cpu.h"
#include "golden.h"

using namespace softmax_native;

template <class T>
int print_hashes(const char* type) {
  uint64_t exponentials = 0;
  for (uint64_t i = 0; i < kGoldenExponentials; i++) exponentials += golden_exponential<T>(i);
  std::printf("exp %s %016" PRIx64 "\n", type, exponentials);

  uint64_t rows = 0;
  int different = 0;
  std::vector<T> x(kLongestGoldenRow), y(kLongestGoldenRow), kernel_y(kLongestGoldenRow);
  for (int row = 0; row < kGoldenRows; row++) {
    rows += golden_softmax(row, x.data(), y.data());
    const int64_t k = golden_row_length(row);
    cpu::softmax(x.data(), kernel_y.data(), cpu::Layout{1, k, 1}, 1);
    if (hash_row(kernel_y.data(), k) != hash_row(y.data(), k)) {
      std::fprintf(stderr, "%s row %d (k = %d): the %s kernel differs\n", type, row, static_cast<int>(k), cpu::isa());
      different++;
    }
  }
  std::printf("softmax %s %016" PRIx64 "\n", type, rows);
  return different;
}

int main() {
  std::printf("contract %d\n", kContractVersion);
  const int different = print_hashes<float>("float32") + print_hashes<double>("float64");
  return different ? 1 : 0;
}
