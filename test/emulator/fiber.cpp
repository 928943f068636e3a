// Fibers: switching between them takes a few nanoseconds, since only the registers that a function must preserve are
// saved. The floating-point control words are not: no kernel changes them.
#include "fiber.h"

#include <sys/mman.h>
#include <unistd.h>

#if !defined(__x86_64__) && !defined(__aarch64__)
#include <ucontext.h>

#include <new>
#endif

namespace emulated {
namespace {

constexpr size_t kMostStacks = 16 * 1024;  // a cluster of 16 blocks of 1024 threads
uintptr_t stacks = 0;
size_t usable = 0;

// Fibers of a warp run the same functions, and stacks that lie a power of two apart would then compete for the same
// few lines of the caches; so the stacks begin at different offsets.
uintptr_t first_frame(size_t index) { return stack_low(index) + kStackBytes - (index * 5 % 64) * 64; }

}  // namespace

uintptr_t stack_low(size_t index) { return stacks + index * kStackBytes; }

bool reserve_stacks(size_t count) {
  if (count <= usable) return true;
  if (count > kMostStacks) return false;
  if (stacks == 0) {
    void* memory =
        mmap(nullptr, kMostStacks * kStackBytes, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (memory == MAP_FAILED) return false;
    stacks = reinterpret_cast<uintptr_t>(memory);
  }
  const size_t page = static_cast<size_t>(sysconf(_SC_PAGESIZE));
  for (; usable < count; usable++) {
    void* above_guard = reinterpret_cast<void*>(stack_low(usable) + page);
    if (mprotect(above_guard, kStackBytes - page, PROT_READ | PROT_WRITE) != 0) return false;
  }
  return true;
}

#if defined(__x86_64__)

// The last instructions are a return, written so that the processor predicts it as the jump it is.
__asm__(R"(
  .text
  .p2align 4
  .globl emulated_switch_context
  .hidden emulated_switch_context
emulated_switch_context:
  endbr64
  pushq %rbp
  pushq %rbx
  pushq %r12
  pushq %r13
  pushq %r14
  pushq %r15
  movq %rsp, (%rdi)
  movq %rsi, %rsp
  popq %r15
  popq %r14
  popq %r13
  popq %r12
  popq %rbx
  popq %rbp
  popq %rcx
  jmpq *%rcx
)");

Context start_context(size_t index, void (*entry)()) {
  auto* top = reinterpret_cast<uintptr_t*>(first_frame(index));
  *--top = 0;  // where a caller's return address would be
  *--top = reinterpret_cast<uintptr_t>(entry);
  for (int saved = 0; saved < 6; saved++) *--top = 0;
  return top;
}

#elif defined(__aarch64__)

__asm__(R"(
  .text
  .p2align 4
  .globl emulated_switch_context
  .hidden emulated_switch_context
emulated_switch_context:
  sub sp, sp, #160
  stp x19, x20, [sp]
  stp x21, x22, [sp, #16]
  stp x23, x24, [sp, #32]
  stp x25, x26, [sp, #48]
  stp x27, x28, [sp, #64]
  stp x29, x30, [sp, #80]
  stp d8, d9, [sp, #96]
  stp d10, d11, [sp, #112]
  stp d12, d13, [sp, #128]
  stp d14, d15, [sp, #144]
  mov x9, sp
  str x9, [x0]
  mov sp, x1
  ldp x19, x20, [sp]
  ldp x21, x22, [sp, #16]
  ldp x23, x24, [sp, #32]
  ldp x25, x26, [sp, #48]
  ldp x27, x28, [sp, #64]
  ldp x29, x30, [sp, #80]
  ldp d8, d9, [sp, #96]
  ldp d10, d11, [sp, #112]
  ldp d12, d13, [sp, #128]
  ldp d14, d15, [sp, #144]
  add sp, sp, #160
  br x30
)");

Context start_context(size_t index, void (*entry)()) {
  auto* frame = reinterpret_cast<uintptr_t*>(first_frame(index)) - 20;
  for (int i = 0; i < 20; i++) frame[i] = 0;
  frame[11] = reinterpret_cast<uintptr_t>(entry);
  return frame;
}

#else

// Elsewhere the C library does it, with two system calls for each switch.
void switch_context(Context* from, Context to) {
  ucontext_t here;
  *from = &here;
  swapcontext(&here, static_cast<ucontext_t*>(to));
}

Context start_context(size_t index, void (*entry)()) {
  auto* context = new (reinterpret_cast<void*>(stack_low(index) + kStackBytes - sizeof(ucontext_t) - 64)) ucontext_t;
  getcontext(context);
  const size_t page = static_cast<size_t>(sysconf(_SC_PAGESIZE));
  context->uc_stack.ss_sp = reinterpret_cast<void*>(stack_low(index) + page);
  context->uc_stack.ss_size = kStackBytes - page - sizeof(ucontext_t) - 128;
  context->uc_link = nullptr;
  makecontext(context, entry, 0);
  return context;
}

#endif

}  // namespace emulated
