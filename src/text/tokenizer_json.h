// tokenizer.json, with the two large parts (vocabulary, merges) read straight into lists: a document of 150,000 entries
// and as many merges takes several times longer.
#pragma once

#include <cstdint>
#include <filesystem>
#include <nlohmann/json.hpp>
#include <string>
#include <utility>
#include <vector>

namespace ssl4rl::text {

struct TokenizerJson {
  std::vector<std::pair<std::string, int64_t>> vocabulary;  ///< model.vocab
  std::vector<std::pair<std::string, std::string>> merges;  ///< model.merges, given as "a b" or ["a", "b"]
  bool has_vocabulary = false, has_merges = false;
  nlohmann::json rest;  ///< everything else
};

/// Throws Error naming the file and what is wrong.
[[nodiscard]] TokenizerJson read_tokenizer_json(const std::filesystem::path& file);

}  // namespace ssl4rl::text
