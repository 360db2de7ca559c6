// What every fuzz target shares. A target reads bytes as the program would and may only end in a user's Error; anything
// else (a failed check, another exception, a sanitizer's finding) is a bug.
#pragma once

#include <unistd.h>

#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <functional>
#include <string>
#include <string_view>

#include "ssl4rl/base/error.h"

namespace ssl4rl::fuzz {

/// A folder of this process, in memory where the system has such a place.
inline const std::filesystem::path& folder() {
  static const std::filesystem::path path = [] {
    const char* const memory = "/dev/shm";
    std::string name =
        (std::filesystem::exists(memory) ? std::string(memory) : std::string("/tmp")) + "/ssl4rl-fuzz-XXXXXX";
    if (!mkdtemp(name.data())) std::abort();
    static const std::string kept = name;
    std::atexit([] {
      std::error_code ignored;
      std::filesystem::remove_all(kept, ignored);
    });
    return std::filesystem::path(name);
  }();
  return path;
}

inline void put(const std::filesystem::path& file, std::string_view bytes) {
  std::FILE* const out = std::fopen(file.c_str(), "wb");
  if (!out || std::fwrite(bytes.data(), 1, bytes.size(), out) != bytes.size()) std::abort();
  std::fclose(out);
}

/// The last user error, for drivers that steer by outcomes; empty: none.
inline std::string& outcome() {
  static std::string message;
  return message;
}

/// Runs the action; a user's Error is a fine ending.
inline int guarded(const std::function<void()>& action) {
  outcome().clear();
  try {
    action();
  } catch (const Error& e) {
    outcome() = e.what();
  }
  return 0;
}

}  // namespace ssl4rl::fuzz

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size);
