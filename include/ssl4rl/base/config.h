// The configuration table: each key is described once, next to the struct member that it fills.
//
// A struct describes itself by binding its members to keys of a Section:
//
//     void RolloutConfig::describe(config::Section& s) {
//       s.add("num_generations", num_generations).alias("n").at_least(2).help("samples per prompt (the group's size)");
//     }
//
// The member's initialiser is the default. From the bound keys come reading YAML, --set, --help, the resolved
// config.yaml and the reference in docs/configuration.md; there is no second list of keys anywhere.
// A Section refers to the described object and must not outlive it. This file knows no key of its own.
#pragma once

#include <cstdint>
#include <deque>
#include <filesystem>
#include <functional>
#include <limits>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>
#include <variant>
#include <vector>

namespace YAML {
class Node;
}

namespace ssl4rl::config {

class Section;

/// An enumeration behind a key: names and values; the first name of a value is the one that is written.
struct Choice {
  std::function<int()> get;
  std::function<void(int)> set;
  std::vector<std::pair<std::string, int>> names;
};

/// A list of sections whose keys depend on each element's `name` (the tasks of a mixture).
struct SectionList {
  std::vector<std::string> names;                       ///< legal values of `name`
  std::function<void()> clear;                          ///< removes all elements
  std::function<void(const std::string& name)> append;  ///< adds an element with its defaults
  std::function<size_t()> size;
  std::function<void(size_t index, Section&)> describe;                     ///< binds the keys of one element
  std::function<void(const std::string& name, Section&)> describe_example;  ///< the same for a default element
};

class Key {
 public:
  using Target = std::variant<bool*, int64_t*, double*, std::string*, std::filesystem::path*, std::optional<bool>*,
                              std::optional<int64_t>*, std::optional<double>*, std::optional<std::string>*,
                              std::optional<std::filesystem::path>*, std::vector<std::string>*,
                              std::vector<std::filesystem::path>*, Choice, SectionList, std::shared_ptr<Section>>;

  Key(std::string name, Target target) : name_(std::move(name)), target_(std::move(target)) {}

  Key& help(std::string text) { return help_ = std::move(text), *this; }
  Key& alias(std::string name) { return aliases_.push_back(std::move(name)), *this; }
  /// Bounds of a number.
  Key& at_least(double value) { return min_ = value, *this; }
  Key& at_most(double value) { return max_ = value, *this; }
  Key& above(double value) { return min_ = value, min_excluded_ = true, *this; }
  Key& below(double value) { return max_ = value, max_excluded_ = true, *this; }
  /// Legal texts of a string or of each entry of a list.
  Key& one_of(std::vector<std::string> texts) { return texts_ = std::move(texts), *this; }
  /// A text that ends like a YAML file's name is a path, taken from the configuration's folder.
  Key& text_or_yaml_path() { return yaml_path_ = true, *this; }
  /// A run that is continued may have another value (by default it may not); `note` says what changes with it.
  Key& changeable(std::string note = "") { return changeable_ = true, note_ = std::move(note), *this; }
  /// What an unset optional means, for the reference ("unset: …").
  Key& unset_means(std::string text) { return unset_ = std::move(text), *this; }

  [[nodiscard]] const std::string& name() const { return name_; }
  [[nodiscard]] const std::vector<std::string>& aliases() const { return aliases_; }
  [[nodiscard]] bool answers_to(std::string_view name) const;
  /// Whether a file or --set gave it.
  [[nodiscard]] bool given() const { return given_; }

 private:
  friend class Section;
  friend class Reader;
  friend class Writer;

  std::string name_;
  Target target_;
  std::string help_, unset_, note_;
  std::vector<std::string> aliases_, texts_;
  double min_ = -std::numeric_limits<double>::infinity(), max_ = std::numeric_limits<double>::infinity();
  bool min_excluded_ = false, max_excluded_ = false, yaml_path_ = false, given_ = false, changeable_ = false;
};

class Section {
 public:
  /// Binds a bool, int64_t, double, string, path, optional of these, or list of strings or paths.
  template <typename T>
  Key& add(std::string name, T& target) {
    return keys_.emplace_back(std::move(name), Key::Target(&target));
  }
  /// Binds an enumeration. `names` may hold several names for one value.
  template <typename E>
  requires std::is_enum_v<E> Key& add(std::string name, E& target,
                                      std::initializer_list<std::pair<const char*, E>> names) {
    Choice choice{[&target] { return static_cast<int>(target); }, [&target](int v) { target = static_cast<E>(v); }, {}};
    for (const auto& [text, value] : names) choice.names.emplace_back(text, static_cast<int>(value));
    return keys_.emplace_back(std::move(name), Key::Target(std::move(choice)));
  }
  Key& add(std::string name, SectionList list) {
    return keys_.emplace_back(std::move(name), Key::Target(std::move(list)));
  }
  /// A nested section, to be filled by the caller.
  Section& section(std::string name, std::string help);

  [[nodiscard]] const std::deque<Key>& keys() const { return keys_; }
  /// The key at a dotted path, or nullptr; aliases count.
  [[nodiscard]] const Key* find(std::string_view path) const;
  /// Whether the key at this path was given by a file or --set.
  [[nodiscard]] bool given(std::string_view path) const;

 private:
  friend class Reader;
  friend class Writer;
  std::deque<Key> keys_;
};

/// Reads a YAML file into the bound objects. Relative paths are taken from the file's folder, ${VAR} from the
/// environment. Throws Error naming file, line, key, what was expected and what was found.
void read_file(Section& root, const std::filesystem::path& file);
/// The same for YAML text; `origin` names it in errors and `folder` resolves relative paths.
void read_text(Section& root, const std::string& yaml, const std::string& origin, const std::filesystem::path& folder);
/// One --set argument, KEY=VALUE: the key is a dotted path (an element of a list by number or by its name), the value
/// is YAML; relative paths are taken from the current folder.
void read_override(Section& root, std::string_view key_equals_value);

/// Every key with its value, as YAML that reads back to the same configuration.
[[nodiscard]] std::string to_yaml(const Section& root);
/// Every key with type, default, range and help: one entry per key.
struct ReferenceEntry {
  std::string path, type, default_value, help;
  std::vector<std::string> aliases;
};
[[nodiscard]] std::vector<ReferenceEntry> reference(const Section& root);

/// A key whose value differs between two configurations; an element that one of them lacks has no value there.
struct Difference {
  std::string path, was, is;
  bool changeable = false;
  std::string note;
};
/// In the order of the table.
[[nodiscard]] std::vector<Difference> differences(const Section& was, const Section& is);

/// The candidate with the smallest edit distance to `word`; empty if there is none.
[[nodiscard]] std::string nearest(std::string_view word, std::span<const std::string> candidates);

}  // namespace ssl4rl::config
