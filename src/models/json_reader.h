// Typed access to a JSON object of a model directory; errors name the file and the key.
#pragma once

#include <cmath>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>
#include <vector>

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
    check_integers<T>(json_[key], key);
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
  // Numbers that an integer must not be read from: with a fraction, or out of range.
  template <typename T>
  void check_integers(const Json& value, std::string_view key) const {
    if constexpr (std::is_same_v<T, std::vector<int64_t>>) {
      if (value.is_array())
        for (const Json& element : value) check_integers<int64_t>(element, key);
    } else if constexpr (std::is_same_v<T, int64_t>) {
      const bool fraction = value.is_number_float() && !(std::abs(value.get<double>()) < 9e15 &&
                                                         value.get<double>() == std::floor(value.get<double>()));
      const bool large = value.is_number_unsigned() && value.get<uint64_t>() > static_cast<uint64_t>(INT64_MAX);
      if (fraction || large) fail("{}: \"{}\": expected an integer, found {}", file_, name(key), value.dump());
    }
  }
  [[nodiscard]] int64_t checked(std::string_view key, int64_t value) const {
    if (value <= 0 || value > (int64_t{1} << 40))
      fail("{}: \"{}\": expected a positive integer, found {}", file_, name(key), value);
    return value;
  }

  Json json_;
  std::string file_, path_;
};

}  // namespace ssl4rl::models
