// Fibers: the flows of control that the threads of a block run as, each on a stack of its own.
#pragma once

#include <cstddef>
#include <cstdint>

namespace emulated {

constexpr size_t kStackBytes = 64 * 1024;

// The lowest address of stack `index`, of which each has a page below it that must not be touched.
uintptr_t stack_low(size_t index);

// Makes stacks 0 to `count` - 1 usable. False when there is no memory for them.
bool reserve_stacks(size_t count);

// A flow of control that is not running: its stack pointer, with its registers on the stack.
using Context = void*;

// A context that calls `entry`, which must not return, on stack `index`.
Context start_context(size_t index, void (*entry)());

// Goes on with `to`, and leaves in `*from` the context to come back to.
void switch_context(Context* from, Context to) __asm__("emulated_switch_context");

}  // namespace emulated
