// Findings: what the emulated device saw that a real one might not show.
#pragma once

#include <string>
#include <vector>

namespace emulated {

// Prints the text and keeps it. Texts that differ in no more than which thread and address are kept a few times only.
void add_finding(const std::string& kind, const std::string& text);
void forget_findings();
std::vector<std::string> all_findings();

// printf into a string.
[[gnu::format(printf, 1, 2)]] std::string text(const char* format, ...);

}  // namespace emulated
