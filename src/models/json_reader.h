// Typed access to a JSON object of a model directory; errors name the file and the key.
#pragma once

#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <string_view>
#include <utility>

#include "ssl4rl/base/error.h"
#include "ssl4rl/io/jsonl.h"

namespace ssl4rl::models {

class JsonReader {
 public:
  using Json = nlohmann::ordered_json;

  JsonReader(Json json, std::string file, std::string path = "")
      : json_(std::move(json)), file_(std::move(file)), path_(std::move(path)) {
    if (!json_.is_object()) fail("{}: {}: expected an object", file_, path_.empty() ? "the file" : path_);
  }

  [[nodiscard]] bool has(std::string_view key) const { return json_.contains(key) && !json_[key].is_null(); }
  [[nodiscard]] const Json& json() const { return json_; }
  [[nodiscard]] const std::string& file() const { return file_; }
  [[nodiscard]] std::string name(std::string_view key) const {
    return path_.empty() ? std::string(key) : path_ + "." + std::string(key);
  }

  [[nodiscard]] JsonReader object(std::string_view key) const {
    if (!has(key)) fail("{}: lacks \"{}\"", file_, name(key));
    return {json_[key], file_, name(key)};
  }
  template <typename T>
  [[nodiscard]] T get(std::string_view key) const {
    if (!has(key)) fail("{}: lacks \"{}\"", file_, name(key));
    try {
      return json_[key].template get<T>();
    } catch (const Json::exception& e) {
      fail("{}: \"{}\": {}", file_, name(key), io::parse_error_text(e));
    }
  }
  template <typename T>
  [[nodiscard]] T get(std::string_view key, T otherwise) const {
    return has(key) ? get<T>(key) : otherwise;
  }
  /// A positive integer.
  [[nodiscard]] int64_t count(std::string_view key) const { return checked(key, get<int64_t>(key)); }
  [[nodiscard]] int64_t count(std::string_view key, int64_t otherwise) const {
    return checked(key, get<int64_t>(key, otherwise));
  }
  /// A text that must be this one: what the program does not implement differently.
  void expect(std::string_view key, std::string_view only) const {
    if (const auto found = get<std::string>(key, std::string(only)); found != only)
      fail("{}: \"{}\" is \"{}\"; only \"{}\" is supported", file_, name(key), found, only);
  }

 private:
  [[nodiscard]] int64_t checked(std::string_view key, int64_t value) const {
    if (value <= 0 || value > (int64_t{1} << 40))
      fail("{}: \"{}\": expected a positive integer, found {}", file_, name(key), value);
    return value;
  }

  Json json_;
  std::string file_, path_;
};

}  // namespace ssl4rl::models
