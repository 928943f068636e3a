// Stands in for the CUDA runtime: the part of it that this library's kernels and device layer use, as plain C++.
//
// A .cu file that is compiled with this folder first on the include path becomes an ordinary C++ file, whose kernels
// run on the emulated device (emulator.h). Neither __CUDACC__ nor __CUDA_ARCH__ is defined. Compiled with
// -fsanitize=thread and -fsanitize=alignment, every load and store of the kernels is checked (hooks.cpp).
#pragma once

#include "emulated/device_functions.h"
#include "emulated/launch.h"
#include "emulated/runtime.h"
#include "emulated/vector_types.h"
