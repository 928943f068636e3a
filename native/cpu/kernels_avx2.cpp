// The kernels for AVX2 with FMA.
#include "vector_avx2.h"
// kernels.inl is written over the vector types above.
#include "kernels.inl"

namespace softmax_native::cpu {

const KernelTable kAvx2Kernels = {"avx2", 1.4, &KernelsFor<F32x8>::table, &KernelsFor<F64x4>::table};

}  // namespace softmax_native::cpu
