// Names of kernels, for findings and counts.
#pragma once

#include <string>

namespace emulated {

// The kernel's name with its template arguments, without its return type, parameters and anonymous namespaces; its address in hexadecimal
// where no symbol tells the name.
const std::string& kernel_name(const void* kernel);

// Whether the address lies in memory of the program that cannot be written: constants, which device code may read.
bool is_constant(const void* address);

}  // namespace emulated
