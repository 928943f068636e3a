// The instruction set in use, chosen once when the library is loaded.
#pragma once

#include "kernels.h"

namespace softmax_native::cpu {

// Null when SOFTMAX_NATIVE_ISA names an instruction set that this processor or build does not have.
const KernelTable* chosen_kernels();

}  // namespace softmax_native::cpu
