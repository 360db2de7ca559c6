// What a Tokenizer is made of, by kind of vocabulary.
#pragma once

#include "added_tokens.h"
#include "ssl4rl/text/tokenizer.h"

namespace ssl4rl::text {

struct Tokenizer::Body {
  virtual ~Body() = default;

  /// Ids of a well-formed text.
  [[nodiscard]] virtual std::vector<int64_t> encode(std::string_view text) const = 0;
  [[nodiscard]] virtual std::string decode_bytes(std::span<const int64_t> ids, bool skip_special) const = 0;
  [[nodiscard]] virtual int64_t size() const = 0;
  /// The id of a token of the vocabulary, as it is written there.
  [[nodiscard]] virtual std::optional<int64_t> id_of(std::string_view token) const = 0;

  AddedTokens added;
};

/// tokenizer.json with byte-level BPE.
[[nodiscard]] std::unique_ptr<Tokenizer::Body> read_byte_level_bpe(const std::filesystem::path& file);
/// tokenizer.model of SentencePiece, with added_tokens.json and tokenizer_config.json beside it.
[[nodiscard]] std::unique_ptr<Tokenizer::Body> read_sentencepiece(const std::filesystem::path& file);

}  // namespace ssl4rl::text
