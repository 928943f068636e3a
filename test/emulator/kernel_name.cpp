// Kernels have internal linkage or hidden visibility, so that the dynamic linker does not know them: their names, and
// their launch bounds as a part of these, are read from the symbol table of the file that holds them.
#include "kernel_name.h"

#include <cxxabi.h>
#include <dlfcn.h>

#include <cstdint>
#include <cstdlib>
#include <fstream>
#include <iterator>
#include <map>
#include <vector>

#include "findings.h"

#if defined(__linux__)
#include <elf.h>
#include <link.h>
#endif

namespace emulated {
namespace {

std::string demangled(const std::string& symbol) {
  int status = 0;
  char* name = abi::__cxa_demangle(symbol.c_str(), nullptr, nullptr, &status);
  if (status != 0) return symbol;
  const std::string result = name;
  std::free(name);
  return result;
}

// Takes "[abi:launch_bounds_256]" out of the name and returns "256", or nothing where the kernel has none.
std::string take_launch_bounds(std::string* name) {
  const std::string before = "[abi:launch_bounds_";
  const size_t begin = name->find(before);
  if (begin == std::string::npos) return {};
  const size_t end = name->find(']', begin);
  const std::string bounds = name->substr(begin + before.size(), end - begin - before.size());
  name->erase(begin, end + 1 - begin);
  return bounds;
}

// "void ns::(anonymous namespace)::kernel<float, 4>(float const*, long)" as "ns::kernel<float, 4>".
std::string without_signature(std::string name) {
  const std::string anonymous = "(anonymous namespace)::";
  for (size_t at; (at = name.find(anonymous)) != std::string::npos;) name.erase(at, anonymous.size());
  int depth = 0;
  for (size_t i = name.size(); i-- > 0;) {
    if (name[i] == ')') depth++;
    if (name[i] == '(' && --depth == 0) {
      name.resize(i);
      break;
    }
  }
  for (size_t i = name.size(); i-- > 0;) {
    if (name[i] == '>' || name[i] == ')') depth++;
    if (name[i] == '<' || name[i] == '(') depth--;
    if (name[i] == ' ' && depth == 0) return name.substr(i + 1);
  }
  return name;
}

#if defined(__linux__)

struct Module {
  uintptr_t address = 0;
  uintptr_t base = 0;
  std::string file;
  // The segment that holds the address, and whether it cannot be written.
  uintptr_t begin = 0;
  size_t bytes = 0;
  bool constant = false;
};

int find_module(dl_phdr_info* info, size_t, void* data) {
  auto* module = static_cast<Module*>(data);
  for (int i = 0; i < info->dlpi_phnum; i++) {
    const auto& segment = info->dlpi_phdr[i];
    if (segment.p_type != PT_LOAD || module->address - info->dlpi_addr - segment.p_vaddr >= segment.p_memsz) continue;
    module->base = info->dlpi_addr;
    module->file = info->dlpi_name[0] == '\0' ? "/proc/self/exe" : info->dlpi_name;
    module->begin = info->dlpi_addr + segment.p_vaddr;
    module->bytes = segment.p_memsz;
    module->constant = (segment.p_flags & PF_W) == 0;
    return 1;
  }
  return 0;
}

Module module_of(const void* address) {
  Module module;
  module.address = reinterpret_cast<uintptr_t>(address);
  dl_iterate_phdr(find_module, &module);
  return module;
}

std::string symbol_at(const void* function) {
  const Module module = module_of(function);
  std::ifstream file(module.file, std::ios::binary);
  const std::vector<char> bytes{std::istreambuf_iterator<char>(file), {}};
  if (bytes.size() < sizeof(ElfW(Ehdr))) return {};
  const auto* header = reinterpret_cast<const ElfW(Ehdr)*>(bytes.data());
  const auto* sections = reinterpret_cast<const ElfW(Shdr)*>(bytes.data() + header->e_shoff);
  for (int i = 0; i < header->e_shnum; i++) {
    if (sections[i].sh_type != SHT_SYMTAB) continue;
    const auto* symbols = reinterpret_cast<const ElfW(Sym)*>(bytes.data() + sections[i].sh_offset);
    const char* names = bytes.data() + sections[sections[i].sh_link].sh_offset;
    for (size_t s = 0; s < sections[i].sh_size / sizeof *symbols; s++) {
      const bool is_function = (symbols[s].st_info & 0xf) == STT_FUNC;
      if (is_function && module.base + symbols[s].st_value == module.address) return names + symbols[s].st_name;
    }
  }
  return {};
}

bool constant(const void* address) {
  // Kernels read the same few tables again and again.
  static Module last;
  const auto wanted = reinterpret_cast<uintptr_t>(address);
  if (wanted - last.begin >= last.bytes) last = module_of(address);
  return last.constant;
}

#else

std::string symbol_at(const void* function) {
  Dl_info info;
  return dladdr(function, &info) != 0 && info.dli_sname != nullptr ? info.dli_sname : "";
}

bool constant(const void*) { return true; }

#endif

}  // namespace

const KernelSymbol& kernel_symbol(const void* kernel) {
  static auto* symbols = new std::map<const void*, KernelSymbol>;
  KernelSymbol& symbol = (*symbols)[kernel];
  if (!symbol.name.empty()) return symbol;
  std::string name = demangled(symbol_at(kernel));
  const std::string bounds = take_launch_bounds(&name);
  symbol.name = name.empty() ? text("%p", kernel) : without_signature(name);
  if (bounds.empty()) return symbol;
  const unsigned long threads = std::strtoul(bounds.c_str(), nullptr, 10);
  if (threads > 0) {
    symbol.most_threads = static_cast<unsigned>(threads);
  } else {
    add_finding(symbol.name, "misuse: the launch bounds of " + symbol.name + ", " + bounds + ", are not a number");
  }
  return symbol;
}

const std::string& kernel_name(const void* kernel) { return kernel_symbol(kernel).name; }

bool is_constant(const void* address) { return constant(address); }

}  // namespace emulated
