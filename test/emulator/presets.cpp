// One GPU of each architecture that the kernels are compiled for, and one of the architecture before them, as
// cudaGetDeviceProperties describes it.
#include "presets.h"

namespace emulated {
namespace {

constexpr size_t kKilo = 1024;
constexpr size_t kMega = 1024 * kKilo;
constexpr int kMegaInt = 1024 * 1024;

constexpr Preset kPresets[] = {
    {"sm_70", "Tesla V100-SXM2-16GB", 7, 0, 80, 16160 * kMega, 96 * kKilo, 96 * kKilo, 2048, 6 * kMegaInt, 1530000,
     877000, 4096, 0},
    {"sm_75", "Tesla T4", 7, 5, 40, 14930 * kMega, 64 * kKilo, 64 * kKilo, 1024, 4 * kMegaInt, 1590000, 5001000, 256,
     0},
    {"sm_80", "NVIDIA A100-SXM4-40GB", 8, 0, 108, 40441 * kMega, 163 * kKilo, 164 * kKilo, 2048, 40 * kMegaInt, 1410000,
     1215000, 5120, 0},
    {"sm_86", "NVIDIA A10", 8, 6, 72, 22731 * kMega, 99 * kKilo, 100 * kKilo, 1536, 6 * kMegaInt, 1695000, 6251000, 384,
     0},
    {"sm_89", "NVIDIA L4", 8, 9, 58, 22574 * kMega, 99 * kKilo, 100 * kKilo, 1536, 48 * kMegaInt, 2040000, 6251000, 192,
     0},
    {"sm_90", "NVIDIA H100 80GB HBM3", 9, 0, 132, 81089 * kMega, 227 * kKilo, 228 * kKilo, 2048, 50 * kMegaInt, 1980000,
     2619000, 5120, 16},
    {"sm_100", "NVIDIA B200", 10, 0, 148, 182642 * kMega, 227 * kKilo, 228 * kKilo, 2048, 126 * kMegaInt, 1965000,
     3996000, 8192, 16},
    {"sm_120", "NVIDIA GeForce RTX 5090", 12, 0, 170, 32120 * kMega, 99 * kKilo, 100 * kKilo, 1536, 96 * kMegaInt,
     2407000, 14001000, 512, 8},
};

}  // namespace

const Preset* find_preset(const std::string& architecture) {
  for (const Preset& preset : kPresets) {
    if (architecture == preset.architecture) return &preset;
  }
  return nullptr;
}

}  // namespace emulated
