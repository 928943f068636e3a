// The kernels for AVX-512 (F, BW, VL, DQ).
#include "vector_avx512.h"
// kernels.inl is written over the vector types above.
#include "kernels.inl"

namespace softmax_native::cpu {

const KernelTable kAvx512Kernels = {"avx512", 1, &KernelsFor<F32x16>::table, &KernelsFor<F64x8>::table};

}  // namespace softmax_native::cpu
