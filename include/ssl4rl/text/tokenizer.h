// From text to token ids and back, as Hugging Face does it: byte-level BPE of the Qwen families (tokenizer.json: added
// tokens, NFC, split pattern, byte-level alphabet, merges), or SentencePiece (tokenizer.model). Threads may share one.
#pragma once

#include <cstdint>
#include <filesystem>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace ssl4rl::text {

struct AddedToken {
  int64_t id = 0;
  std::string content;
  bool special = false;      ///< left out of decoded text
  bool normalized = false;   ///< looked for after normalisation, not before
  bool lstrip = false;       ///< takes white space before it
  bool rstrip = false;       ///< takes white space behind it
  bool single_word = false;  ///< not inside a word
};

/// Splits text (UTF-8, well-formed) by the Qwen2 pattern; the pieces are consecutive and cover the text.
/// `(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+`
[[nodiscard]] std::vector<std::string_view> split_qwen2(std::string_view text);
extern const char* const kQwen2Pattern;

class Tokenizer {
 public:
  struct Body;

  /// The file of a model directory that describes its tokenizer: tokenizer.json, else tokenizer.model. Throws Error.
  [[nodiscard]] static std::filesystem::path find(const std::filesystem::path& folder);
  /// Reads tokenizer.json or tokenizer.model. Throws Error naming the file and what is missing or not supported.
  explicit Tokenizer(const std::filesystem::path& path);
  ~Tokenizer();
  Tokenizer(Tokenizer&&) noexcept;

  /// Token ids of a text. Added tokens' texts inside it are recognised, as in the reference. Ill-formed UTF-8 is
  /// replaced.
  [[nodiscard]] std::vector<int64_t> encode(std::string_view text) const;
  /// The text of ids; ids beyond the vocabulary are left out. Incomplete UTF-8 becomes U+FFFD.
  [[nodiscard]] std::string decode(std::span<const int64_t> ids, bool skip_special = true) const;
  /// The bytes of ids, for texts that are still growing.
  [[nodiscard]] std::string decode_bytes(std::span<const int64_t> ids, bool skip_special = true) const;

  /// One more than the largest id.
  [[nodiscard]] int64_t size() const;
  /// The id of a whole token, as written in the vocabulary or among the added tokens.
  [[nodiscard]] std::optional<int64_t> id_of(std::string_view token) const;
  [[nodiscard]] const std::vector<AddedToken>& added_tokens() const;

 private:
  std::unique_ptr<Body> body_;
};

}  // namespace ssl4rl::text
