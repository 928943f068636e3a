// The kernels for NEON.
#include "vector_neon.h"
// kernels.inl is written over the vector types above.
#include "kernels.inl"

namespace softmax_native::cpu {

const KernelTable kNeonKernels = {"neon", 3, &KernelsFor<F32x4>::table, &KernelsFor<F64x2>::table};

}  // namespace softmax_native::cpu
