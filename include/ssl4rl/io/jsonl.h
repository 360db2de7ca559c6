// JSON Lines: one object a line, UTF-8, lines end at \n only (U+2028 and U+0085 may stand inside strings).
#pragma once

#include <filesystem>
#include <functional>
#include <istream>
#include <nlohmann/json_fwd.hpp>
#include <string>

namespace ssl4rl::io {

/// Calls `visit` with each object and its line number (from `first_line`); blank lines are passed over. A line that is
/// not a JSON object is an Error "NAME:LINE: …"; so is an Error that `visit` throws (the place is put before its
/// message).
void for_each_json_line(std::istream& in, const std::string& name,
                        const std::function<void(nlohmann::ordered_json&& object, int64_t line)>& visit,
                        int64_t first_line = 1);
/// The same for a file, or for standard input when the path is "-".
void for_each_json_line(const std::filesystem::path& path,
                        const std::function<void(nlohmann::ordered_json&& object, int64_t line)>& visit);

/// Parses a JSON file. Throws Error naming the file and the place.
[[nodiscard]] nlohmann::ordered_json read_json(const std::filesystem::path& path);

/// One line of JSON without the line break; invalid UTF-8 is replaced by U+FFFD.
[[nodiscard]] std::string to_line(const nlohmann::ordered_json& object);

/// A shorter form of nlohmann's parse error: "at byte 17: unexpected end of input".
[[nodiscard]] std::string parse_error_text(const std::exception& error);

}  // namespace ssl4rl::io
