// Reading YAML into the configuration table.
#include <fmt/ranges.h>
#include <yaml-cpp/yaml.h>

#include <algorithm>
#include <charconv>
#include <cmath>
#include <cstdlib>
#include <fstream>
#include <set>
#include <sstream>

#include "config_internal.h"
#include "ssl4rl/base/config.h"
#include "ssl4rl/base/error.h"

namespace ssl4rl::config {
namespace fs = std::filesystem;
namespace {

template <typename T>
constexpr bool is_optional = false;
template <typename T>
constexpr bool is_optional<std::optional<T>> = true;

// What the user wrote, shortened, for an error message.
std::string shown(const YAML::Node& node) {
  switch (node.Type()) {
    case YAML::NodeType::Null:
      return "nothing";
    case YAML::NodeType::Sequence:
      return "a list";
    case YAML::NodeType::Map:
      return "a map";
    case YAML::NodeType::Undefined:
      return "nothing";
    case YAML::NodeType::Scalar:
      break;
  }
  const std::string text = node.Scalar();
  return fmt::format("\"{}\"", text.size() > 60 ? text.substr(0, 57) + "…" : text);
}

bool is_null(const YAML::Node& node) { return !node.IsDefined() || node.IsNull(); }

}  // namespace

// Reads YAML nodes into the bound objects of one source (a file, a text or a --set argument).
class Reader {
 public:
  Reader(const Section& root, std::string origin, fs::path folder)
      : root_(root), origin_(std::move(origin)), folder_(std::move(folder)) {}

  void section(Section& section, const YAML::Node& node, const std::string& path) {
    if (is_null(node)) return;
    if (!node.IsMap()) complain(node, path.empty() ? "the configuration" : path, "a map of keys", shown(node));
    std::set<const Key*> seen;
    for (const auto& entry : node) {
      const std::string name = entry.first.IsScalar() ? entry.first.Scalar() : shown(entry.first);
      Key* const key = lookup(section, name);
      if (!key) unknown(entry.first, section, path, name);
      if (!seen.insert(key).second)
        fail("{}: {} is given twice{}", place(entry.first), join_path(path, key->name_), alias_note(*key));
      value(*key, entry.second, join_path(path, key->name_));
    }
  }

  // The value at a dotted path below `section`, for --set.
  void at_path(Section& section, std::string_view rest, const YAML::Node& node, const std::string& path) {
    const size_t dot = rest.find('.');
    const std::string name(rest.substr(0, dot));
    Key* const key = lookup(section, name);
    if (!key) unknown(node, section, path, name);
    const std::string full = join_path(path, key->name_);
    if (dot == std::string_view::npos) return value(*key, node, full);
    rest.remove_prefix(dot + 1);
    if (auto* nested = std::get_if<std::shared_ptr<Section>>(&key->target_)) return at_path(**nested, rest, node, full);
    if (auto* list = std::get_if<SectionList>(&key->target_)) return element_at_path(*list, rest, node, full);
    fail("{}: {} has no keys below it", place(node), full);
  }

 private:
  static Key* lookup(Section& section, std::string_view name) {
    for (Key& key : section.keys_)
      if (key.answers_to(name)) return &key;
    return nullptr;
  }

  static std::string alias_note(const Key& key) {
    return key.aliases_.empty() ? "" : fmt::format(" ({} means the same)", fmt::join(key.aliases_, ", "));
  }

  std::string place(const YAML::Node& node) const {
    const YAML::Mark mark = node.Mark();
    return mark.is_null() || origin_.starts_with("--set") ? origin_ : fmt::format("{}:{}", origin_, mark.line + 1);
  }

  [[noreturn]] void complain(const YAML::Node& node, std::string_view key, std::string_view expected,
                             std::string_view found) const {
    fail("{}: {}: expected {}, found {}", place(node), key, expected, found);
  }

  static void all_paths(const Section& section, const std::string& prefix, std::vector<std::string>& paths) {
    for (const Key& key : section.keys_) {
      const std::string path = join_path(prefix, key.name_);
      paths.push_back(path);
      if (const auto* nested = std::get_if<std::shared_ptr<Section>>(&key.target_)) all_paths(**nested, path, paths);
    }
  }

  [[noreturn]] void unknown(const YAML::Node& node, const Section& section, const std::string& path,
                            const std::string& name) {
    // Nearest among this section's keys; a key that stands under exactly this name elsewhere is nearer still.
    std::vector<std::string> paths;
    all_paths(root_, "", paths);
    for (const std::string& candidate : paths)
      if (candidate.ends_with("." + name) || candidate == name)
        fail("{}: unknown key \"{}\"; did you mean \"{}\"?", place(node), join_path(path, name), candidate);
    std::vector<std::string> names;
    for (const Key& key : section.keys_) {
      names.push_back(key.name_);
      names.insert(names.end(), key.aliases_.begin(), key.aliases_.end());
    }
    fail("{}: unknown key \"{}\"; did you mean \"{}\"?", place(node), join_path(path, name),
         join_path(path, nearest(name, names)));
  }

  // The scalar's text with ${VAR} expanded.
  std::string text(const YAML::Node& node, const std::string& path, std::string_view expected) const {
    if (!node.IsDefined() || !node.IsScalar()) complain(node, path, expected, shown(node));
    std::string result, rest = node.Scalar();
    for (size_t begin; (begin = rest.find("${")) != std::string::npos;) {
      const size_t end = rest.find('}', begin);
      if (end == std::string::npos) complain(node, path, "a closing } after ${", shown(node));
      const std::string name = rest.substr(begin + 2, end - begin - 2);
      const char* const variable = std::getenv(name.c_str());
      if (!variable) fail("{}: {}: the environment has no variable {}", place(node), path, name);
      result += rest.substr(0, begin) + variable;
      rest = rest.substr(end + 1);
    }
    return result + rest;
  }

  template <typename T>
  T number(const Key& key, const YAML::Node& node, const std::string& path) const {
    const std::string expected = range_text(std::is_integral_v<T> ? "an integer" : "a number", key.min_,
                                            key.min_excluded_, key.max_, key.max_excluded_);
    const std::string scalar = text(node, path, expected);
    T parsed{};
    const char* const begin = scalar.data() + (scalar.starts_with('+') ? 1 : 0);
    const auto [end, error] = std::from_chars(begin, scalar.data() + scalar.size(), parsed);
    const double wide = static_cast<double>(parsed);
    const bool quoted = node.Tag() == "!";
    if (quoted || error != std::errc() || end != scalar.data() + scalar.size() || !std::isfinite(wide) ||
        wide < key.min_ || wide > key.max_ || (key.min_excluded_ && wide == key.min_) ||
        (key.max_excluded_ && wide == key.max_))
      complain(node, path, expected, shown(node));
    return parsed;
  }

  bool boolean(const YAML::Node& node, const std::string& path) const {
    const std::string scalar = text(node, path, "true or false");
    if (node.Tag() != "!") {
      if (scalar == "true" || scalar == "True") return true;
      if (scalar == "false" || scalar == "False") return false;
    }
    complain(node, path, "true or false", shown(node));
  }

  std::string string(const Key& key, const YAML::Node& node, const std::string& path) const {
    const std::string expected = key.texts_.empty() ? "a text" : fmt::format("one of {}", fmt::join(key.texts_, ", "));
    std::string scalar = text(node, path, expected);
    if (!key.texts_.empty() && std::find(key.texts_.begin(), key.texts_.end(), scalar) == key.texts_.end())
      complain(node, path, expected, shown(node));
    if (key.yaml_path_ && (scalar.ends_with(".yaml") || scalar.ends_with(".yml")))
      return file_path(node, path).string();
    return scalar;
  }

  fs::path file_path(const YAML::Node& node, const std::string& path) const {
    const std::string scalar = text(node, path, "a path");
    if (scalar.empty()) complain(node, path, "a path", "an empty text");
    if (scalar.starts_with("~/"))
      if (const char* home = std::getenv("HOME")) return (fs::path(home) / scalar.substr(2)).lexically_normal();
    return (folder_ / scalar).lexically_normal();
  }

  template <typename T>
  void assign(const Key& key, T& target, const YAML::Node& node, const std::string& path) const {
    if constexpr (is_optional<T>) {
      if (is_null(node)) return target.reset();
      assign(key, target.emplace(), node, path);
    } else if constexpr (std::is_same_v<T, bool>) {
      target = boolean(node, path);
    } else if constexpr (std::is_arithmetic_v<T>) {
      target = number<T>(key, node, path);
    } else if constexpr (std::is_same_v<T, std::string>) {
      target = string(key, node, path);
    } else if constexpr (std::is_same_v<T, fs::path>) {
      target = is_null(node) ? fs::path() : file_path(node, path);
    } else {  // a list; a single value stands for a list of one
      target.clear();
      if (is_null(node)) return;
      if (!node.IsSequence()) return assign(key, target.emplace_back(), node, path);
      for (size_t i = 0; i < node.size(); ++i)
        assign(key, target.emplace_back(), node[i], fmt::format("{}[{}]", path, i));
    }
  }

  void assign_choice(const Choice& choice, const YAML::Node& node, const std::string& path) const {
    std::vector<std::string> names;
    for (const auto& [name, value] : choice.names) names.push_back(name);
    const std::string expected = fmt::format("one of {}", fmt::join(names, ", "));
    const std::string scalar = text(node, path, expected);
    for (const auto& [name, value] : choice.names)
      if (name == scalar) return choice.set(value);
    complain(node, path, expected, shown(node));
  }

  std::string element_name(const SectionList& list, const YAML::Node& node, const std::string& path) const {
    const YAML::Node name_node = node.IsScalar() ? node : node.IsMap() ? node["name"] : YAML::Node();
    const std::string expected = fmt::format("one of {}", fmt::join(list.names, ", "));
    if (!name_node.IsDefined()) fail("{}: {}.name: expected {}, found nothing", place(node), path, expected);
    if (!name_node.IsScalar()) complain(node, path + ".name", expected, shown(name_node));
    const std::string name = text(name_node, path + ".name", expected);
    if (std::find(list.names.begin(), list.names.end(), name) == list.names.end())
      fail("{}: {}.name: expected {}, found \"{}\"; did you mean \"{}\"?", place(name_node), path, expected, name,
           nearest(name, list.names));
    return name;
  }

  void assign_list(const SectionList& list, const YAML::Node& node, const std::string& path) {
    list.clear();
    if (is_null(node)) return;
    const size_t count = node.IsSequence() ? node.size() : 1;
    for (size_t i = 0; i < count; ++i) {
      const YAML::Node element = node.IsSequence() ? node[i] : node;
      const std::string element_path = fmt::format("{}[{}]", path, i);
      list.append(element_name(list, element, element_path));
      if (element.IsScalar()) continue;
      Section keys;
      list.describe(i, keys);
      section(keys, element, element_path);
    }
  }

  void element_at_path(const SectionList& list, std::string_view rest, const YAML::Node& node,
                       const std::string& path) {
    const size_t dot = rest.find('.');
    const std::string which(rest.substr(0, dot));
    std::optional<size_t> index;
    size_t number = 0;
    if (const auto [end, error] = std::from_chars(which.data(), which.data() + which.size(), number);
        error == std::errc() && end == which.data() + which.size())
      index = number;
    for (size_t i = 0; i < list.size() && !index; ++i) {
      Section keys;
      list.describe(i, keys);
      if (const auto* name = std::get_if<std::string*>(&keys.find("name")->target_); name && **name == which) index = i;
    }
    if (!index || *index >= list.size() || dot == std::string_view::npos)
      fail("{}: {}: expected {}.NUMBER.KEY with a number below {}, or {}.NAME.KEY with a configured name", place(node),
           path, path, list.size(), path);
    Section keys;
    list.describe(*index, keys);
    at_path(keys, rest.substr(dot + 1), node, fmt::format("{}[{}]", path, *index));
  }

  void value(Key& key, const YAML::Node& node, const std::string& path) {
    key.given_ = !is_null(node);
    std::visit(Overloaded{[&](auto* target) { assign(key, *target, node, path); },
                          [&](const Choice& choice) { assign_choice(choice, node, path); },
                          [&](const SectionList& list) { assign_list(list, node, path); },
                          [&](const std::shared_ptr<Section>& nested) { section(*nested, node, path); }},
               key.target_);
  }

  const Section& root_;  // for suggestions
  std::string origin_;
  fs::path folder_;
};

void read_text(Section& root, const std::string& yaml, const std::string& origin, const fs::path& folder) {
  YAML::Node node;
  try {
    node = YAML::Load(yaml);
  } catch (const YAML::Exception& e) {
    fail("{}:{}: not valid YAML: {}", origin, e.mark.line + 1, e.msg);
  }
  Reader(root, origin, fs::absolute(folder)).section(root, node, "");
}

void read_file(Section& root, const fs::path& file) {
  std::ifstream in(file, std::ios::binary);
  if (!in || fs::is_directory(file))
    fail("{}: cannot be read: {}", file.string(), fs::is_directory(file) ? "is a folder" : errno_text());
  std::ostringstream text;
  text << in.rdbuf();
  read_text(root, text.str(), file.string(), fs::absolute(file).parent_path());
}

void read_override(Section& root, std::string_view argument) {
  const size_t equals = argument.find('=');
  if (equals == std::string_view::npos || equals == 0) fail("--set {}: expected KEY=VALUE", argument);
  const std::string origin = fmt::format("--set {}", argument);
  YAML::Node node;
  try {
    node = YAML::Load(std::string(argument.substr(equals + 1)));
  } catch (const YAML::Exception& e) {
    fail("{}: the value is not valid YAML: {}", origin, e.msg);
  }
  Reader(root, origin, fs::current_path()).at_path(root, argument.substr(0, equals), node, "");
}

}  // namespace ssl4rl::config
