// Lines of the input of `generate` and `score` (docs/files.md).
#pragma once

#include <filesystem>
#include <functional>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <vector>

#include "ssl4rl/models/processor.h"

namespace ssl4rl::cli {

struct InputLine {
  int64_t number = 0;  ///< from 1
  std::string where;   ///< "FILE:LINE", for errors
  nlohmann::ordered_json id;
  std::vector<text::Message> messages;  ///< image parts hold a path (made absolute) or a data URI
  std::optional<std::string> completion;
  std::optional<std::vector<int64_t>> completion_ids;
  std::optional<int64_t> min_pixels, max_pixels;
  nlohmann::ordered_json extra;  ///< fields that are not ours, copied to the output
};

/// Parses one object. Throws Error without the place (the reader of the file adds it).
[[nodiscard]] InputLine parse_line(nlohmann::ordered_json&& object, int64_t number,
                                   const std::filesystem::path& folder);

/// All lines of a file, or of standard input for "-".
[[nodiscard]] std::vector<InputLine> read_lines(const std::filesystem::path& file);

/// Reads standard input as it comes: hands over all lines that are there already, then waits for more. A line that is
/// broken or that `check` refuses is an Error, thrown when those before it have been handed over.
void for_each_available_batch(size_t most, const std::function<void(const InputLine&)>& check,
                              const std::function<void(std::vector<InputLine>&&)>& visit);

/// Throws Error naming the line if the model cannot take its prompt (roles, placeholders in texts, pixel bounds).
void check_prompt(const models::Processor& processor, const InputLine& line);

/// Whether two lines ask the same.
[[nodiscard]] bool same_prompt(const InputLine& a, const InputLine& b);

/// Decodes the images and encodes the prompt. Throws Error naming the line.
[[nodiscard]] models::Prompt encode(const models::Processor& processor, const InputLine& line);

}  // namespace ssl4rl::cli
