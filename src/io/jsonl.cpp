#include "ssl4rl/io/jsonl.h"

#include <fstream>
#include <iostream>
#include <nlohmann/json.hpp>

#include "ssl4rl/base/error.h"
#include "ssl4rl/io/file.h"

namespace ssl4rl::io {

using Json = nlohmann::ordered_json;

void for_each_json_line(std::istream& in, const std::string& name, const std::function<void(Json&&, int64_t)>& visit,
                        int64_t first_line) {
  std::string text;
  for (int64_t line = first_line; std::getline(in, text, '\n'); ++line) {
    if (line == 1 && text.starts_with("\xEF\xBB\xBF")) text.erase(0, 3);
    if (text.find_first_not_of(" \t\r") == std::string::npos) continue;
    Json object;
    try {
      object = Json::parse(text);
    } catch (const Json::exception& e) {
      fail("{}:{}: not valid JSON: {}", name, line, parse_error_text(e));
    }
    if (!object.is_object()) fail("{}:{}: expected a JSON object, found {}", name, line, object.type_name());
    try {
      visit(std::move(object), line);
    } catch (const Error& e) {
      fail("{}:{}: {}", name, line, e.what());
    } catch (const Json::exception& e) {
      fail("{}:{}: {}", name, line, parse_error_text(e));
    }
  }
  if (in.bad()) fail("{}: cannot be read: {}", name, errno_text());
}

void for_each_json_line(const std::filesystem::path& path, const std::function<void(Json&&, int64_t)>& visit) {
  if (path == "-") return for_each_json_line(std::cin, "standard input", visit);
  std::ifstream in(path, std::ios::binary);
  if (!in) fail("{}: cannot be read: {}", path.string(), errno_text());
  if (std::filesystem::is_directory(path)) fail("{}: cannot be read: is a folder", path.string());
  for_each_json_line(in, path.string(), visit);
}

Json read_json(const std::filesystem::path& path) {
  const std::string text = read_file(path);
  try {
    return Json::parse(text);
  } catch (const Json::exception& e) {
    fail("{}: not valid JSON: {}", path.string(), parse_error_text(e));
  }
}

std::string to_line(const Json& object) { return object.dump(-1, ' ', false, Json::error_handler_t::replace); }

std::string parse_error_text(const std::exception& error) {
  const std::string text = error.what();
  const size_t bracket = text.find("] ");
  return bracket == std::string::npos ? text : text.substr(bracket + 2);
}

}  // namespace ssl4rl::io
