// The CPU back end's functions, as the addon calls them: each works on an (outer, k, inner) array whose
// element (o, j, i) lies at (o * k + j) * inner + i, and treats every (o, i) as one row of k logits.
#pragma once

#include <cstddef>
#include <cstdint>

#include "ops/control.h"

namespace softmax_native::cpu {

enum class Status { ok, out_of_memory, stopped };

struct Layout {
  int64_t outer;
  int64_t k;
  int64_t inner;
};

// y may be x itself; otherwise the two must not overlap. `threads` is the most that may be used. `is_new`, of y or the
// Jacobian: the caller has just allocated it. That changes how it is written, and no bit of it. With a `control` another
// thread may stop the call, which ends with the steps under way: about a millisecond each, or what is not divided further,
// as 128 columns of another axis or a row of row_max.
template <class T>
Status softmax(const T* x, T* y, Layout layout, int threads, bool is_new = false, Control* control = nullptr);

// argmax may be null. NaN wins over every number; the first index wins among equals; k = 0 gives -inf and -1.
template <class T>
Status row_max(const T* x, T* max, int32_t* argmax, Layout layout, int threads, Control* control = nullptr);

// jacobian is (rows, k, k): J[i][j] = p_i * (delta_ij - p_j).
template <class T>
Status softmax_jacobian(const T* x, T* jacobian, int64_t rows, int64_t k, int threads, bool is_new = false,
                        Control* control = nullptr);

// Copies bytes to memory apart from them. Threads that help with many of them end with the copy.
void copy(const void* from, void* to, size_t bytes);

// The work, estimated in nanoseconds, that is worth one more thread. For tests, which set it to 0 so that small arrays
// too are computed on several threads.
void set_work_per_thread(int64_t nanoseconds);

// The size of results, in bytes, that are written past the caches; new ones are from a sixteenth of it on. For tests too.
void set_past_caches_from(int64_t bytes);

// The instruction sets this build holds and this processor runs, best last; a null pointer ends the list.
const char* const* available_isas();

// The one in use: the best available, or the one SOFTMAX_NATIVE_ISA names. Null when that name cannot be used;
// requested_isa() then says which it was.
const char* isa();
const char* requested_isa();

// False in a build without OpenMP, and where nobody could tell OpenMP what idle threads do (OMP_WAIT_POLICY was not set
// when the library was loaded): everything is then computed on the calling thread.
bool has_threads();

// True unless OMP_WAIT_POLICY=active asked, before the library was loaded, that idle threads spin between calls.
bool passive_wait();

}  // namespace softmax_native::cpu
