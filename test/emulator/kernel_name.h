// What the symbol of a kernel says: its name, for findings and counts, and its launch bounds.
#pragma once

#include <string>

namespace emulated {

struct KernelSymbol {
  // With its template arguments, without its return type, parameters and anonymous namespaces; its address in
  // hexadecimal where no symbol tells the name.
  std::string name;
  unsigned most_threads = 1024;  // of a block, by its launch bounds
};
const KernelSymbol& kernel_symbol(const void* kernel);
const std::string& kernel_name(const void* kernel);

// Whether the address lies in memory of the program that cannot be written: constants, which device code may read.
bool is_constant(const void* address);

}  // namespace emulated
