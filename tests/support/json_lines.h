// Reading a file of JSON lines in a test.
#pragma once

#include <filesystem>
#include <nlohmann/json.hpp>
#include <vector>

#include "ssl4rl/io/jsonl.h"

namespace ssl4rl {

inline std::vector<nlohmann::ordered_json> json_lines(const std::filesystem::path& file) {
  std::vector<nlohmann::ordered_json> lines;
  io::for_each_json_line(file, [&](nlohmann::ordered_json&& line, int64_t) { lines.push_back(std::move(line)); });
  return lines;
}

}  // namespace ssl4rl
