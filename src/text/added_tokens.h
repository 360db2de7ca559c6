// Tokens that are looked for in a text before the vocabulary is.
#pragma once

#include <array>
#include <unordered_map>
#include <vector>

#include "ssl4rl/text/tokenizer.h"

namespace ssl4rl::text {

class AddedTokens {
 public:
  AddedTokens() = default;
  /// `normalize`: what the normaliser does to texts, done to the contents that are looked for behind it.
  explicit AddedTokens(std::vector<AddedToken> tokens, bool nfc_normalized = false);

  [[nodiscard]] const std::vector<AddedToken>& all() const { return tokens_; }
  [[nodiscard]] const AddedToken* find(int64_t id) const;
  /// An id that decoding leaves out if asked to.
  [[nodiscard]] bool is_special(int64_t id) const;

  struct Piece {
    std::string_view text;
    const AddedToken* token = nullptr;  ///< set: the piece is this token
  };
  enum class Stage { kRaw, kNormalized };  ///< before and after normalisation
  /// Cuts a stage's tokens out of a text: leftmost first, then longest.
  [[nodiscard]] std::vector<Piece> cut(std::string_view text, Stage stage) const;

 private:
  struct Set {
    std::vector<size_t> indices;     // longest content first
    std::array<bool, 256> begins{};  // the bytes that contents begin with
  };
  [[nodiscard]] const AddedToken* match_at(std::string_view text, size_t at, const Set& set) const;

  std::vector<AddedToken> tokens_;
  std::vector<std::string> contents_;  // as they are looked for
  std::unordered_map<int64_t, size_t> index_;
  Set raw_, normalized_;
};

}  // namespace ssl4rl::text
