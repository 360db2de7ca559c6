#include "added_tokens.h"

#include <unicode/uchar.h>

#include <algorithm>

#include "ssl4rl/text/unicode.h"

namespace ssl4rl::text {
namespace {

// \w of the reference's regular expressions, for single_word.
bool is_word_character(char32_t c) {
  const auto code = static_cast<UChar32>(c);
  return u_isUAlphabetic(code) || (U_GET_GC_MASK(code) & (U_GC_M_MASK | U_GC_ND_MASK | U_GC_PC_MASK)) != 0;
}

char32_t last_code_point(std::string_view text) {
  size_t at = text.size() - 1;
  while (at > 0 && (static_cast<uint8_t>(text[at]) & 0xC0) == 0x80) --at;
  return next_code_point(text, at);
}

bool stands_alone(std::string_view text, size_t begin, size_t end) {
  if (end < text.size()) {
    size_t next = end;
    if (is_word_character(next_code_point(text, next))) return false;
  }
  return begin == 0 || !is_word_character(last_code_point(text.substr(0, begin)));
}

size_t right_stripped(std::string_view text) {
  while (!text.empty()) {
    const char32_t last = last_code_point(text);
    if (!u_isUWhiteSpace(static_cast<UChar32>(last))) break;
    text.remove_suffix(last < 0x80 ? 1 : last < 0x800 ? 2 : 3);
  }
  return text.size();
}

}  // namespace

AddedTokens::AddedTokens(std::vector<AddedToken> tokens, bool nfc_normalized) : tokens_(std::move(tokens)) {
  for (size_t i = 0; i < tokens_.size(); ++i) {
    const AddedToken& token = tokens_[i];
    contents_.push_back(token.normalized && nfc_normalized ? nfc(token.content) : token.content);
    index_[token.id] = i;
    Set& set = token.normalized ? normalized_ : raw_;
    set.indices.push_back(i);
    set.begins[static_cast<uint8_t>(contents_.back()[0])] = true;
  }
  for (Set* set : {&raw_, &normalized_})
    std::stable_sort(set->indices.begin(), set->indices.end(),
                     [&](size_t a, size_t b) { return contents_[a].size() > contents_[b].size(); });
}

const AddedToken* AddedTokens::find(int64_t id) const {
  const auto found = index_.find(id);
  return found == index_.end() ? nullptr : &tokens_[found->second];
}

bool AddedTokens::is_special(int64_t id) const {
  const AddedToken* const token = find(id);
  return token != nullptr && token->special;
}

const AddedToken* AddedTokens::match_at(std::string_view text, size_t at, const Set& set) const {
  for (const size_t index : set.indices) {
    const std::string& content = contents_[index];
    if (text.compare(at, content.size(), content) != 0) continue;
    if (tokens_[index].single_word && !stands_alone(text, at, at + content.size())) continue;
    return &tokens_[index];
  }
  return nullptr;
}

std::vector<AddedTokens::Piece> AddedTokens::cut(std::string_view text, Stage stage) const {
  const Set& set = stage == Stage::kRaw ? raw_ : normalized_;
  std::vector<Piece> pieces;
  if (set.indices.empty()) {
    if (!text.empty()) pieces.push_back({text});
    return pieces;
  }
  size_t begin = 0;
  for (size_t at = 0; at < text.size();) {
    const AddedToken* const found = set.begins[static_cast<uint8_t>(text[at])] ? match_at(text, at, set) : nullptr;
    if (!found) {
      ++at;
      continue;
    }
    size_t start = at, end = at + contents_[static_cast<size_t>(found - tokens_.data())].size();
    if (found->lstrip) start = begin + right_stripped(text.substr(begin, start - begin));
    if (found->rstrip)
      while (end < text.size()) {
        size_t next = end;
        if (!u_isUWhiteSpace(static_cast<UChar32>(next_code_point(text, next)))) break;
        end = next;
      }
    if (start > begin) pieces.push_back({text.substr(begin, start - begin)});
    pieces.push_back({text.substr(start, end - start), found});
    begin = at = end;
  }
  if (begin < text.size()) pieces.push_back({text.substr(begin)});
  return pieces;
}

}  // namespace ssl4rl::text
