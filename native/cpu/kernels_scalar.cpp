// The kernels for any processor.
#include "vector_scalar.h"
// kernels.inl is written over the vector types above.
#include "kernels.inl"

namespace softmax_native::cpu {

const KernelTable kScalarKernels = {"scalar", 50, &KernelsFor<float>::table, &KernelsFor<double>::table};

}  // namespace softmax_native::cpu
