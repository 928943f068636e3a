#include "findings.h"

#include <cstdarg>
#include <cstdio>
#include <map>

namespace emulated {
namespace {

constexpr int kMostOfAKind = 8;

struct Findings {
  std::vector<std::string> texts;
  std::map<std::string, int> kinds;
};

// Never destroyed: threads may still use it while the process ends.
Findings& list() {
  static auto* findings = new Findings;
  return *findings;
}

}  // namespace

void add_finding(const std::string& kind, const std::string& what) {
  if (++list().kinds[kind] > kMostOfAKind) return;
  list().texts.push_back(what);
  std::fprintf(stderr, "emulated CUDA: %s\n", what.c_str());
  if (list().kinds[kind] == kMostOfAKind) std::fputs("emulated CUDA: more of this kind are not shown\n", stderr);
}

void forget_findings() { list() = {}; }

std::vector<std::string> all_findings() { return list().texts; }

std::string text(const char* format, ...) {
  char buffer[1024];
  va_list arguments;
  va_start(arguments, format);
  std::vsnprintf(buffer, sizeof buffer, format, arguments);
  va_end(arguments);
  return buffer;
}

}  // namespace emulated
