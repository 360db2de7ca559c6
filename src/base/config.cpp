#include "ssl4rl/base/config.h"

#include <fmt/ranges.h>
#include <yaml-cpp/yaml.h>

#include <algorithm>
#include <cmath>
#include <map>
#include <set>

#include "config_internal.h"
#include "ssl4rl/base/error.h"

namespace ssl4rl::config {
namespace fs = std::filesystem;
namespace {

size_t edit_distance(std::string_view a, std::string_view b) {
  std::vector<size_t> row(b.size() + 1);
  for (size_t j = 0; j <= b.size(); ++j) row[j] = j;
  for (size_t i = 1; i <= a.size(); ++i) {
    size_t diagonal = row[0];
    row[0] = i;
    for (size_t j = 1; j <= b.size(); ++j) {
      const size_t replaced = diagonal + (a[i - 1] != b[j - 1]);
      diagonal = row[j];
      row[j] = std::min({replaced, row[j] + 1, row[j - 1] + 1});
    }
  }
  return row[b.size()];
}

std::string number_text(double value) {
  return value == std::floor(value) && std::abs(value) < 1e15 ? fmt::format("{}", static_cast<int64_t>(value))
                                                              : fmt::format("{}", value);
}

}  // namespace

std::string range_text(std::string_view kind, double min, bool min_excluded, double max, bool max_excluded) {
  std::string text(kind);
  if (std::isfinite(min)) text += fmt::format(" {} {}", min_excluded ? "above" : "of at least", number_text(min));
  if (std::isfinite(max))
    text +=
        fmt::format("{} {} {}", std::isfinite(min) ? " and" : "", max_excluded ? "below" : "at most", number_text(max));
  return text;
}

std::string join_path(std::string_view prefix, std::string_view name) {
  return prefix.empty() ? std::string(name) : fmt::format("{}.{}", prefix, name);
}

bool Key::answers_to(std::string_view name) const {
  return name == name_ || std::find(aliases_.begin(), aliases_.end(), name) != aliases_.end();
}

Section& Section::section(std::string name, std::string help) {
  auto nested = std::make_shared<Section>();
  keys_.emplace_back(std::move(name), Key::Target(nested)).help(std::move(help));
  return *nested;
}

const Key* Section::find(std::string_view path) const {
  const size_t dot = path.find('.');
  for (const Key& key : keys_) {
    if (!key.answers_to(path.substr(0, dot))) continue;
    if (dot == std::string_view::npos) return &key;
    const auto* nested = std::get_if<std::shared_ptr<Section>>(&key.target_);
    return nested ? (*nested)->find(path.substr(dot + 1)) : nullptr;
  }
  return nullptr;
}

bool Section::given(std::string_view path) const {
  const Key* key = find(path);
  SSL4RL_CHECK(key, "no configuration key {}", path);
  return key->given();
}

std::string nearest(std::string_view word, std::span<const std::string> candidates) {
  const auto best = std::min_element(candidates.begin(), candidates.end(), [&](const auto& a, const auto& b) {
    return edit_distance(word, a) < edit_distance(word, b);
  });
  return best == candidates.end() ? std::string() : *best;
}

// Renders the bound objects: values as YAML, types and defaults for the reference.
class Writer {
 public:
  static void section(YAML::Emitter& out, const Section& section) {
    out << YAML::BeginMap;
    for (const Key& key : section.keys_) {
      out << YAML::Key << key.name_ << YAML::Value;
      std::visit(Overloaded{[&](const auto* target) { scalar(out, *target); },
                            [&](const Choice& choice) { out << choice_text(choice); },
                            [&](const SectionList& list) {
                              out << YAML::BeginSeq;
                              for (size_t i = 0; i < list.size(); ++i) {
                                Section keys;
                                list.describe(i, keys);
                                Writer::section(out, keys);
                              }
                              out << YAML::EndSeq;
                            },
                            [&](const std::shared_ptr<Section>& nested) { Writer::section(out, *nested); }},
                 key.target_);
    }
    out << YAML::EndMap;
  }

  // Every value with its path, in order; one side of a difference.
  static void values(const Section& section, const std::string& prefix, std::vector<Difference>& all) {
    for (const Key& key : section.keys_) {
      const std::string path = join_path(prefix, key.name_);
      const auto add = [&](const auto& write) {
        YAML::Emitter out;
        write(out);
        all.push_back({path, "", out.c_str(), key.changeable_, key.note_});
      };
      std::visit(Overloaded{[&](const auto* target) { add([&](YAML::Emitter& out) { scalar(out, *target); }); },
                            [&](const Choice& choice) {
                              all.push_back({path, "", choice_text(choice), key.changeable_, key.note_});
                            },
                            [&](const SectionList& list) {
                              for (size_t i = 0; i < list.size(); ++i) {
                                Section keys;
                                list.describe(i, keys);
                                values(keys, fmt::format("{}[{}]", path, i), all);
                              }
                            },
                            [&](const std::shared_ptr<Section>& nested) { values(*nested, path, all); }},
                 key.target_);
    }
  }

  static void reference(const Section& section, const std::string& prefix, std::vector<ReferenceEntry>& entries) {
    for (const Key& key : section.keys_) {
      const std::string path = join_path(prefix, key.name_);
      if (const auto* nested = std::get_if<std::shared_ptr<Section>>(&key.target_)) {
        reference(**nested, path, entries);
        continue;
      }
      std::string help = key.help_;
      entries.push_back({path, type_text(key), default_text(key), std::move(help), key.aliases_});
      if (const auto* list = std::get_if<SectionList>(&key.target_)) list_reference(*list, path, entries);
    }
  }

 private:
  static void scalar(YAML::Emitter& out, bool value) { out << value; }
  static void scalar(YAML::Emitter& out, int64_t value) { out << value; }
  static void scalar(YAML::Emitter& out, double value) { out << fmt::format("{}", value); }
  static void scalar(YAML::Emitter& out, const std::string& value) { out << YAML::DoubleQuoted << value; }
  static void scalar(YAML::Emitter& out, const fs::path& value) {
    if (value.empty()) {
      out << YAML::Null;
    } else {
      out << YAML::DoubleQuoted << fs::absolute(value).lexically_normal().string();
    }
  }
  template <typename T>
  static void scalar(YAML::Emitter& out, const std::optional<T>& value) {
    if (value) {
      scalar(out, *value);
    } else {
      out << YAML::Null;
    }
  }
  template <typename T>
  static void scalar(YAML::Emitter& out, const std::vector<T>& values) {
    out << YAML::Flow << YAML::BeginSeq;
    for (const T& value : values) scalar(out, value);
    out << YAML::EndSeq;
  }

  static std::string choice_text(const Choice& choice) {
    for (const auto& [name, value] : choice.names)
      if (value == choice.get()) return name;
    return "";
  }

  static std::string type_text(const Key& key) {
    const auto number = [&](std::string_view kind) {
      return range_text(kind, key.min_, key.min_excluded_, key.max_, key.max_excluded_);
    };
    const auto string = [&] {
      return key.texts_.empty() ? std::string("text") : fmt::format("{}", fmt::join(key.texts_, " | "));
    };
    return std::visit(
        Overloaded{[&](const bool*) { return std::string("true | false"); },
                   [&](const int64_t*) { return number("integer"); }, [&](const double*) { return number("number"); },
                   [&](const std::string*) { return string(); }, [&](const fs::path*) { return std::string("path"); },
                   [&](const std::optional<bool>*) { return std::string("true | false"); },
                   [&](const std::optional<int64_t>*) { return number("integer"); },
                   [&](const std::optional<double>*) { return number("number"); },
                   [&](const std::optional<std::string>*) { return string(); },
                   [&](const std::optional<fs::path>*) { return std::string("path"); },
                   [&](const std::vector<std::string>*) {
                     return key.texts_.empty() ? std::string("list of texts")
                                               : fmt::format("list of {}", fmt::join(key.texts_, " | "));
                   },
                   [&](const std::vector<fs::path>*) { return std::string("list of paths"); },
                   [&](const Choice& choice) {
                     std::vector<std::string> names;
                     for (const auto& [name, value] : choice.names) names.push_back(name);
                     return fmt::format("{}", fmt::join(names, " | "));
                   },
                   [&](const SectionList& list) {
                     return fmt::format("list of {{name: {}, …}}", fmt::join(list.names, " | "));
                   },
                   [&](const std::shared_ptr<Section>&) { return std::string("section"); }},
        key.target_);
  }

  static std::string default_text(const Key& key) {
    if (const auto* path = std::get_if<fs::path*>(&key.target_); path && !(*path)->empty()) return (*path)->string();
    YAML::Emitter out;
    std::visit(Overloaded{[&](const auto* target) { scalar(out, *target); },
                          [&](const Choice& choice) { out << choice_text(choice); },
                          [&](const SectionList&) { out << YAML::Flow << YAML::BeginSeq << YAML::EndSeq; },
                          [&](const std::shared_ptr<Section>&) {}},
               key.target_);
    const std::string text = out.c_str();
    return text == "~" ? (key.unset_.empty() ? "unset" : "unset: " + key.unset_) : text;
  }

  // Keys that all elements share come once; the others are named after their element.
  static void list_reference(const SectionList& list, const std::string& path, std::vector<ReferenceEntry>& entries) {
    std::vector<std::vector<ReferenceEntry>> all;
    for (const std::string& name : list.names) {
      Section keys;
      list.describe_example(name, keys);
      reference(keys, "", all.emplace_back());
    }
    std::set<std::string> shared;
    for (const ReferenceEntry& entry : all.front()) {
      if (std::all_of(all.begin(), all.end(), [&](const auto& keys) {
            return std::any_of(keys.begin(), keys.end(), [&](const auto& other) {
              return other.path == entry.path && other.type == entry.type && other.help == entry.help;
            });
          })) {
        shared.insert(entry.path);
        entries.push_back(entry);
        entries.back().path = path + "[]." + entry.path;
        if (entry.path == "name") entries.back().default_value = "required";
      }
    }
    for (size_t i = 0; i < all.size(); ++i)
      for (ReferenceEntry& entry : all[i])
        if (!shared.contains(entry.path)) {
          entries.push_back(std::move(entry));
          entries.back().path = fmt::format("{}[{}].{}", path, list.names[i], entries.back().path);
        }
  }
};

std::string to_yaml(const Section& root) {
  YAML::Emitter out;
  Writer::section(out, root);
  return std::string(out.c_str()) + "\n";
}

std::vector<Difference> differences(const Section& was, const Section& is) {
  std::vector<Difference> before, after;
  Writer::values(was, "", before);
  Writer::values(is, "", after);
  std::map<std::string, Difference*> known;
  for (Difference& value : after) known[value.path] = &value;
  std::vector<Difference> found;
  for (Difference& value : before) {
    value.was = std::exchange(value.is, "");
    const auto other = known.find(value.path);
    if (other == known.end()) {
      found.push_back(value);
      continue;
    }
    if (other->second->is != value.was) {
      other->second->was = value.was;
      other->second->changeable = other->second->changeable && value.changeable;
      found.push_back(*other->second);
    }
    known.erase(other);
  }
  for (const Difference& value : after)
    if (known.contains(value.path)) found.push_back(value);
  return found;
}

std::vector<ReferenceEntry> reference(const Section& root) {
  std::vector<ReferenceEntry> entries;
  Writer::reference(root, "", entries);
  return entries;
}

}  // namespace ssl4rl::config
