// The functions that -fsanitize=thread makes the compiler call before every load and store, and those that
// -fsanitize=alignment calls where a pointer is less aligned than its type, and -fsanitize=bounds where an index is
// outside its array. They are these libraries' interface, not their code: here they check the accesses of device
// threads, and return at once for host threads.
//
// The compiler leaves out memcpy, memset and memmove, which programs over the emulation are therefore linked to wrap.
#include <cstdint>
#include <cstring>

#include "check.h"

using namespace emulated;

namespace {

template <size_t bytes, bool writes>
[[gnu::always_inline]] inline void check(const void* pointer) {
  if (!on_device(reinterpret_cast<uintptr_t>(__builtin_frame_address(0)))) return;
  const auto address = reinterpret_cast<uintptr_t>(pointer);
  if constexpr (bytes < 4) {
    check_bytes<writes>(address, bytes);
  } else {
    check_aligned<bytes, writes>(address);
  }
}

template <bool writes>
[[gnu::always_inline]] inline void check_range(const void* pointer, size_t bytes) {
  if (!on_device(reinterpret_cast<uintptr_t>(__builtin_frame_address(0)))) return;
  check_bytes<writes>(reinterpret_cast<uintptr_t>(pointer), bytes);
}

}  // namespace

#define EMULATED_HOOK extern "C" __attribute__((visibility("hidden")))

EMULATED_HOOK void __tsan_init() {}
EMULATED_HOOK void __tsan_func_entry(void*) {}
EMULATED_HOOK void __tsan_func_exit() {}

EMULATED_HOOK void __tsan_read1(void* p) { check<1, false>(p); }
EMULATED_HOOK void __tsan_read2(void* p) { check<2, false>(p); }
EMULATED_HOOK void __tsan_read4(void* p) { check<4, false>(p); }
EMULATED_HOOK void __tsan_read8(void* p) { check<8, false>(p); }
EMULATED_HOOK void __tsan_read16(void* p) { check<16, false>(p); }
EMULATED_HOOK void __tsan_write1(void* p) { check<1, true>(p); }
EMULATED_HOOK void __tsan_write2(void* p) { check<2, true>(p); }
EMULATED_HOOK void __tsan_write4(void* p) { check<4, true>(p); }
EMULATED_HOOK void __tsan_write8(void* p) { check<8, true>(p); }
EMULATED_HOOK void __tsan_write16(void* p) { check<16, true>(p); }

EMULATED_HOOK void __tsan_volatile_read1(void* p) { check<1, false>(p); }
EMULATED_HOOK void __tsan_volatile_read2(void* p) { check<2, false>(p); }
EMULATED_HOOK void __tsan_volatile_read4(void* p) { check<4, false>(p); }
EMULATED_HOOK void __tsan_volatile_read8(void* p) { check<8, false>(p); }
EMULATED_HOOK void __tsan_volatile_read16(void* p) { check<16, false>(p); }
EMULATED_HOOK void __tsan_volatile_write1(void* p) { check<1, true>(p); }
EMULATED_HOOK void __tsan_volatile_write2(void* p) { check<2, true>(p); }
EMULATED_HOOK void __tsan_volatile_write4(void* p) { check<4, true>(p); }
EMULATED_HOOK void __tsan_volatile_write8(void* p) { check<8, true>(p); }
EMULATED_HOOK void __tsan_volatile_write16(void* p) { check<16, true>(p); }

// Accesses whose alignment the compiler does not know; what the type asks for is checked by -fsanitize=alignment.
EMULATED_HOOK void __tsan_unaligned_read2(const void* p) { check_range<false>(p, 2); }
EMULATED_HOOK void __tsan_unaligned_read4(const void* p) { check_range<false>(p, 4); }
EMULATED_HOOK void __tsan_unaligned_read8(const void* p) { check_range<false>(p, 8); }
EMULATED_HOOK void __tsan_unaligned_read16(const void* p) { check_range<false>(p, 16); }
EMULATED_HOOK void __tsan_unaligned_write2(void* p) { check_range<true>(p, 2); }
EMULATED_HOOK void __tsan_unaligned_write4(void* p) { check_range<true>(p, 4); }
EMULATED_HOOK void __tsan_unaligned_write8(void* p) { check_range<true>(p, 8); }
EMULATED_HOOK void __tsan_unaligned_write16(void* p) { check_range<true>(p, 16); }

EMULATED_HOOK void __tsan_read_range(const void* p, size_t bytes) { check_range<false>(p, bytes); }
EMULATED_HOOK void __tsan_write_range(void* p, size_t bytes) { check_range<true>(p, bytes); }
EMULATED_HOOK void __tsan_vptr_update(void** p, void*) { check<sizeof(void*), true>(p); }
EMULATED_HOOK void __tsan_vptr_read(void** p) { check<sizeof(void*), false>(p); }

namespace {

// What the compiler passes to the handlers.
struct Place {
  const char* file;
  uint32_t line;
  uint32_t column;
};
struct Type {
  uint16_t kind;  // 0 for integers
  uint16_t info;  // of integers: 1 if they are signed, and twice the logarithm of their bits
  char name[1];
};
struct TypeMismatch {
  Place place;
  const Type* type;
  unsigned char log_alignment;
  unsigned char kind;  // 0 is a load; the only other that accesses memory is 1, a store
};
struct OutOfBounds {
  Place place;
  const Type* array;
  const Type* index;
};

// Passed in the low bits of a word.
long long index_of(const Type& type, uintptr_t value) {
  const int unused = 64 - (1 << type.info / 2);
  const uint64_t high = uint64_t{value} << unused;
  return type.info % 2 == 1 ? static_cast<int64_t>(high) >> unused : static_cast<int64_t>(high >> unused);
}

}  // namespace

EMULATED_HOOK void __ubsan_handle_type_mismatch_v1(TypeMismatch* what, uintptr_t address) {
  if (!on_device(reinterpret_cast<uintptr_t>(__builtin_frame_address(0)))) return;
  report_misaligned(address, size_t(1) << what->log_alignment, what->kind == 1);
}

EMULATED_HOOK void __ubsan_handle_out_of_bounds(OutOfBounds* what, uintptr_t index) {
  if (!on_device(reinterpret_cast<uintptr_t>(__builtin_frame_address(0)))) return;
  report_index(what->array->name, index_of(*what->index, index), what->place.file, what->place.line);
}

extern "C" {
void* __real_memcpy(void* to, const void* from, size_t bytes);
void* __real_memmove(void* to, const void* from, size_t bytes);
void* __real_memset(void* to, int value, size_t bytes);
}

namespace {

void* checked_copy(void* (*copy)(void*, const void*, size_t), void* to, const void* from, size_t bytes) {
  check_range<false>(from, bytes);
  check_range<true>(to, bytes);
  return copy(to, from, bytes);
}

}  // namespace

EMULATED_HOOK void* __wrap_memcpy(void* to, const void* from, size_t bytes) {
  return checked_copy(__real_memcpy, to, from, bytes);
}
EMULATED_HOOK void* __wrap_memmove(void* to, const void* from, size_t bytes) {
  return checked_copy(__real_memmove, to, from, bytes);
}
EMULATED_HOOK void* __wrap_memset(void* to, int value, size_t bytes) {
  check_range<true>(to, bytes);
  return __real_memset(to, value, bytes);
}

// clang calls these in their place.
EMULATED_HOOK void* __tsan_memcpy(void* to, const void* from, size_t bytes) { return __wrap_memcpy(to, from, bytes); }
EMULATED_HOOK void* __tsan_memmove(void* to, const void* from, size_t bytes) { return __wrap_memmove(to, from, bytes); }
EMULATED_HOOK void* __tsan_memset(void* to, int value, size_t bytes) { return __wrap_memset(to, value, bytes); }
