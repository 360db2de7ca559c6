#include "ssl4rl/base/memory.h"

#include <malloc.h>

#include <algorithm>
#include <fstream>
#include <limits>
#include <optional>
#include <string>

namespace ssl4rl {
namespace {

std::optional<int64_t> number_in(const std::string& file) {
  std::ifstream in(file);
  int64_t value = 0;
  if (in >> value) return value;
  return std::nullopt;  // no such file, or "max"
}

// A line "Name:  123 kB" of /proc/meminfo, or "name 123" of a control group's memory.stat.
int64_t field_of(const std::string& file, const std::string& name) {
  std::ifstream in(file);
  int64_t value = 0;
  for (std::string word; in >> word;)
    if (word == name && in >> value) return value;
  return 0;
}

// What the control groups of this process leave it, each within its parents.
int64_t left_by_control_groups() {
  std::ifstream in("/proc/self/cgroup");
  int64_t left = std::numeric_limits<int64_t>::max();
  for (std::string line; std::getline(in, line);) {
    const bool second_version = line.starts_with("0::");
    if (!second_version && line.find(":memory:") == std::string::npos) continue;
    const std::string root = second_version ? "/sys/fs/cgroup" : "/sys/fs/cgroup/memory";
    std::string group = line.substr(line.rfind(':') + 1);
    for (;; group.resize(group.rfind('/'))) {
      const std::string folder = root + group;
      const auto limit = number_in(folder + (second_version ? "/memory.max" : "/memory.limit_in_bytes"));
      const auto used = number_in(folder + (second_version ? "/memory.current" : "/memory.usage_in_bytes"));
      // Pages of files that were read count as used, but are given up when needed.
      if (limit && used) left = std::min(left, *limit - *used + field_of(folder + "/memory.stat", "inactive_file"));
      if (group.empty() || group == "/" || group.rfind('/') == std::string::npos) break;
    }
  }
  return left;
}

}  // namespace

std::optional<int64_t> available_memory() {
  const int64_t left = std::min(field_of("/proc/meminfo", "MemAvailable:") << 10, left_by_control_groups());
  if (left <= 0) return std::nullopt;
  return left;
}

int64_t peak_memory() { return field_of("/proc/self/status", "VmHWM:") << 10; }

int64_t current_memory() { return field_of("/proc/self/status", "VmRSS:") << 10; }

void reset_peak_memory() { std::ofstream("/proc/self/clear_refs") << "5"; }

void keep_freed_memory(bool keep) {
  constexpr int kPiece = 1 << 20, kMostPieces = 65536;
  mallopt(M_MMAP_THRESHOLD, kPiece);
  mallopt(M_MMAP_MAX, keep ? 0 : kMostPieces);
  mallopt(M_TRIM_THRESHOLD, keep ? -1 : kPiece);
}

}  // namespace ssl4rl
