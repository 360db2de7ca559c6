#include "ssl4rl/base/memory.h"

#include <algorithm>
#include <fstream>
#include <string>

namespace ssl4rl {
namespace {

std::optional<int64_t> number_in(const char* file) {
  std::ifstream in(file);
  int64_t value = 0;
  if (in >> value) return value;  // "max" is no number
  return {};
}

// "KEY value" of a file with such lines.
std::optional<int64_t> entry_in(const char* file, const std::string& key) {
  std::ifstream in(file);
  for (std::string name; in >> name;) {
    int64_t value = 0;
    if (name == key && in >> value) return value;
    in.ignore(1 << 16, '\n');
  }
  return {};
}

// Of a container (version 2 of the control groups); its file cache can be given back.
std::optional<int64_t> left_in_group() {
  const auto limit = number_in("/sys/fs/cgroup/memory.max"), used = number_in("/sys/fs/cgroup/memory.current");
  if (!limit || !used) return {};
  const int64_t cache = entry_in("/sys/fs/cgroup/memory.stat", "inactive_file").value_or(0);
  return std::max<int64_t>(0, *limit - *used + cache);
}

}  // namespace

std::optional<int64_t> available_memory() {
  std::optional<int64_t> available = entry_in("/proc/meminfo", "MemAvailable:");
  if (available) *available *= 1024;
  const auto group = left_in_group();
  return available && group ? std::min(*available, *group) : available ? available : group;
}

}  // namespace ssl4rl
