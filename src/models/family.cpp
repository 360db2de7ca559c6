#include "ssl4rl/models/family.h"

#include <fmt/ranges.h>

#include "ssl4rl/base/error.h"

namespace ssl4rl::models {

const std::vector<Family>& families() {
  static const std::vector<Family> all{qwen2_5_vl(), qwen2_vl(), qwen3_vl(), qwen2(), qwen3()};
  return all;
}

const Family& family_of(const std::string& model_type, const std::string& where) {
  std::vector<std::string> known;
  for (const Family& family : families()) {
    if (family.model_type == model_type) return family;
    known.push_back(family.model_type);
  }
  fail("{}: the model type \"{}\" is not supported; supported: {}", where, model_type, fmt::join(known, ", "));
}

}  // namespace ssl4rl::models
