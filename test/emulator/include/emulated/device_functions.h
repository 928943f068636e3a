// What device code may use: function qualifiers, thread indices, barriers, warp shuffles and votes, cached loads.
#pragma once

#include <cstdint>
#include <cstring>
#include <type_traits>

#include "vector_types.h"

#define __global__ __attribute__((noinline))
#define __device__
#define __host__
#define __forceinline__ inline __attribute__((always_inline))
// The most threads of a block, as a part of the kernel's symbol, where launches find it (kernel_name.cpp). It must be
// written as a number; the name of a constant would be found as that name.
#define __launch_bounds__(threads, ...) __attribute__((abi_tag("launch_bounds_" #threads)))
#define __align__(n) alignas(n)

#if defined(__GNUC__) && !defined(__restrict__)
#define __restrict__ __restrict
#endif

namespace emulated {

// A place in the source, by which lanes that wait at different barriers or shuffles are told apart. All calls of a
// function that hides a shuffle are one place, so kernels call the shuffles themselves.
struct Site {
  const char* file;
  unsigned line;
};
constexpr Site here(const char* file = __builtin_FILE(), unsigned line = __builtin_LINE()) { return {file, line}; }

// The calling device thread's indices: constant for as long as it runs, hence the attribute.
[[gnu::const]] uint3 thread_index();
[[gnu::const]] uint3 block_index();
[[gnu::const]] dim3 block_dimensions();
[[gnu::const]] dim3 grid_dimensions();

// The calling block's dynamic shared memory, with no more than the alignment a kernel may count on (16 bytes).
[[gnu::const]] unsigned char* dynamic_shared();

[[gnu::const]] unsigned cluster_block_rank();
[[gnu::const]] unsigned cluster_num_blocks();
void* map_shared_rank(void* address, unsigned rank);

void synchronize_block(Site site);
void synchronize_cluster(Site site);
void synchronize_warp(unsigned mask, Site site);

// Each lane gives `bits` and gets those of lane `source`.
uint64_t shuffle(unsigned mask, uint64_t bits, unsigned source, Site site);
// The lanes whose predicate holds.
unsigned ballot(unsigned mask, bool predicate, Site site);

[[gnu::const]] unsigned lane();

template <class T>
inline T shuffle_from(unsigned mask, T value, unsigned source, Site site) {
  static_assert(sizeof(T) == 4 || sizeof(T) == 8, "warp shuffles move 4 or 8 bytes");
  using Bits = std::conditional_t<sizeof(T) == 4, uint32_t, uint64_t>;
  union {
    T value;
    Bits bits;
  } u;
  u.value = value;
  u.bits = static_cast<Bits>(shuffle(mask, u.bits, source, site));
  return u.value;
}

}  // namespace emulated

// The built-in index variables. Their members are no memory but calls, so that reading them is no access to check.
namespace emulated {
template <class Triple, Triple (*triple)()>
struct Indices {
  struct X {
    operator unsigned() const { return triple().x; }
  } x;
  struct Y {
    operator unsigned() const { return triple().y; }
  } y;
  struct Z {
    operator unsigned() const { return triple().z; }
  } z;
};
}  // namespace emulated

constexpr emulated::Indices<uint3, emulated::thread_index> threadIdx{};
constexpr emulated::Indices<uint3, emulated::block_index> blockIdx{};
constexpr emulated::Indices<dim3, emulated::block_dimensions> blockDim{};
constexpr emulated::Indices<dim3, emulated::grid_dimensions> gridDim{};

constexpr int warpSize = 32;

inline void __syncthreads(emulated::Site site = emulated::here()) { emulated::synchronize_block(site); }

inline void __syncwarp(unsigned mask = 0xffffffffu, emulated::Site site = emulated::here()) {
  emulated::synchronize_warp(mask, site);
}

// A width below 32 divides the warp into groups of that many lanes; a source outside the group gives the lane's own
// value (for the xor form, only one in a later group).
template <class T>
inline T __shfl_sync(unsigned mask, T value, int source, int width = 32, emulated::Site site = emulated::here()) {
  const unsigned first = emulated::lane() & ~(unsigned(width) - 1);
  return emulated::shuffle_from(mask, value, first + (unsigned(source) & (unsigned(width) - 1)), site);
}

template <class T>
inline T __shfl_up_sync(unsigned mask, T value, unsigned delta, int width = 32,
                        emulated::Site site = emulated::here()) {
  const unsigned lane = emulated::lane();
  const unsigned place = lane & (unsigned(width) - 1);
  return emulated::shuffle_from(mask, value, place >= delta ? lane - delta : lane, site);
}

template <class T>
inline T __shfl_down_sync(unsigned mask, T value, unsigned delta, int width = 32,
                          emulated::Site site = emulated::here()) {
  const unsigned lane = emulated::lane();
  const unsigned place = lane & (unsigned(width) - 1);
  return emulated::shuffle_from(mask, value, place + delta < unsigned(width) ? lane + delta : lane, site);
}

template <class T>
inline T __shfl_xor_sync(unsigned mask, T value, int lane_mask, int width = 32,
                         emulated::Site site = emulated::here()) {
  const unsigned lane = emulated::lane();
  const unsigned source = lane ^ unsigned(lane_mask);
  const unsigned end = (lane & ~(unsigned(width) - 1)) + unsigned(width);
  return emulated::shuffle_from(mask, value, source < end ? source : lane, site);
}

inline unsigned __ballot_sync(unsigned mask, int predicate, emulated::Site site = emulated::here()) {
  return emulated::ballot(mask, predicate != 0, site);
}

inline int __any_sync(unsigned mask, int predicate, emulated::Site site = emulated::here()) {
  return emulated::ballot(mask, predicate != 0, site) != 0;
}

inline int __all_sync(unsigned mask, int predicate, emulated::Site site = emulated::here()) {
  return emulated::ballot(mask, predicate == 0, site) == 0;
}

// Loads and stores with a hint for the caches, which has no other effect.
template <class T>
inline T __ldg(const T* address) {
  return *address;
}
template <class T>
inline T __ldcs(const T* address) {
  return *address;
}
template <class T>
inline T __ldcg(const T* address) {
  return *address;
}
template <class T>
inline void __stcs(T* address, T value) {
  *address = value;
}
template <class T>
inline void __stcg(T* address, T value) {
  *address = value;
}
template <class T>
inline void __stwt(T* address, T value) {
  *address = value;
}

inline int __popc(unsigned x) { return __builtin_popcount(x); }
inline int __popcll(unsigned long long x) { return __builtin_popcountll(x); }
inline int __ffs(int x) { return __builtin_ffs(x); }
inline int __ffsll(long long x) { return __builtin_ffsll(x); }
inline int __clz(int x) { return x == 0 ? 32 : __builtin_clz(unsigned(x)); }
inline int __clzll(long long x) { return x == 0 ? 64 : __builtin_clzll(static_cast<unsigned long long>(x)); }

inline unsigned __float_as_uint(float x) { return __builtin_bit_cast(unsigned, x); }
inline int __float_as_int(float x) { return __builtin_bit_cast(int, x); }
inline float __uint_as_float(unsigned x) { return __builtin_bit_cast(float, x); }
inline float __int_as_float(int x) { return __builtin_bit_cast(float, x); }
inline long long __double_as_longlong(double x) { return __builtin_bit_cast(long long, x); }
inline double __longlong_as_double(long long x) { return __builtin_bit_cast(double, x); }
