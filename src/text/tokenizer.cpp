#include "ssl4rl/text/tokenizer.h"

#include "ssl4rl/base/error.h"
#include "ssl4rl/text/unicode.h"
#include "tokenizer_body.h"

namespace ssl4rl::text {

Tokenizer::Tokenizer(const std::filesystem::path& path)
    : body_(path.extension() == ".model" ? read_sentencepiece(path) : read_byte_level_bpe(path)) {}
Tokenizer::~Tokenizer() = default;
Tokenizer::Tokenizer(Tokenizer&&) noexcept = default;

std::filesystem::path Tokenizer::find(const std::filesystem::path& folder) {
  for (const char* name : {"tokenizer.json", "tokenizer.model"})
    if (std::filesystem::exists(folder / name)) return folder / name;
  fail("{}: has neither tokenizer.json nor tokenizer.model", folder.string());
}

std::vector<int64_t> Tokenizer::encode(std::string_view text) const {
  return is_valid_utf8(text) ? body_->encode(text) : body_->encode(to_valid_utf8(text));
}

std::string Tokenizer::decode_bytes(std::span<const int64_t> ids, bool skip_special) const {
  return body_->decode_bytes(ids, skip_special);
}

std::string Tokenizer::decode(std::span<const int64_t> ids, bool skip_special) const {
  return to_valid_utf8(decode_bytes(ids, skip_special));
}

int64_t Tokenizer::size() const { return body_->size(); }

std::optional<int64_t> Tokenizer::id_of(std::string_view token) const {
  for (const AddedToken& added : body_->added.all())
    if (added.content == token) return added.id;
  return body_->id_of(token);
}

const std::vector<AddedToken>& Tokenizer::added_tokens() const { return body_->added.all(); }

}  // namespace ssl4rl::text
