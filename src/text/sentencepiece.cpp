// SentencePiece vocabularies (tokenizer.model), as Hugging Face's tokenizers of the Gemma families use them: control
// and user-defined symbols and added tokens are cut out of a text first, SentencePiece encodes what is between them.
#include <sentencepiece_processor.h>

#include <algorithm>
#include <map>
#include <nlohmann/json.hpp>
#include <set>

#include "ssl4rl/base/error.h"
#include "ssl4rl/io/file.h"
#include "ssl4rl/io/jsonl.h"
#include "tokenizer_body.h"

namespace ssl4rl::text {
namespace {

constexpr std::string_view kSpace = "\u2581";  // how pieces write a space

// Fields of a protocol buffer's message; enough of the wire format to find the pieces' types, which the library keeps
// to itself.
class Message {
 public:
  explicit Message(std::string_view bytes) : rest_(bytes) {}

  // Moves to the next field; false at the end or where the bytes are no message.
  bool next() {
    uint64_t key = 0;
    if (rest_.empty() || !varint(key)) return false;
    field_ = key >> 3;
    content_ = {};
    number_ = 0;
    switch (key & 7) {
      case 0:
        return varint(number_);
      case 1:
        return take(8);
      case 2:
        return varint(number_) && take(number_);
      case 5:
        return take(4);
      default:
        return false;
    }
  }
  [[nodiscard]] uint64_t field() const { return field_; }
  [[nodiscard]] uint64_t number() const { return number_; }
  [[nodiscard]] std::string_view content() const { return content_; }

 private:
  bool varint(uint64_t& value) {
    value = 0;
    for (unsigned shift = 0; shift < 64 && !rest_.empty(); shift += 7) {
      const auto byte = static_cast<uint8_t>(rest_[0]);
      rest_.remove_prefix(1);
      value |= uint64_t{byte & 0x7Fu} << shift;
      if (byte < 0x80) return true;
    }
    return false;
  }
  bool take(uint64_t size) {
    if (size > rest_.size()) return false;
    content_ = rest_.substr(0, size);
    rest_.remove_prefix(size);
    return true;
  }

  std::string_view rest_, content_;
  uint64_t field_ = 0, number_ = 0;
};

// ModelProto.pieces (field 1), their type (field 3) USER_DEFINED (4), by id.
std::set<int64_t> user_defined_pieces(std::string_view model) {
  std::set<int64_t> ids;
  int64_t id = 0;
  for (Message fields(model); fields.next();) {
    if (fields.field() != 1) continue;
    for (Message piece(fields.content()); piece.next();)
      if (piece.field() == 3 && piece.number() == 4) ids.insert(id);
    ++id;
  }
  return ids;
}

class SentencePiece : public Tokenizer::Body {
 public:
  explicit SentencePiece(const std::filesystem::path& file) {
    const std::string model = io::read_file(file);
    if (const auto status = processor_.LoadFromSerializedProto(model); !status.ok())
      fail("{}: not a SentencePiece model: {}", file.string(), status.message());
    std::vector<int> ids;
    if (processor_.Encode("a", &ids).ok() && !ids.empty() && processor_.IdToPiece(ids[0]).starts_with(kSpace))
      fail("{}: the model puts a space before every text (add_dummy_prefix), which is not supported", file.string());
    read_added(file, user_defined_pieces(model));
    size_ = processor_.GetPieceSize();
    for (const AddedToken& token : added.all()) size_ = std::max(size_, token.id + 1);
  }

  std::vector<int64_t> encode(std::string_view text) const override {
    std::vector<int64_t> ids;
    std::vector<int> own;
    for (const auto& piece : added.cut(text, AddedTokens::Stage::kRaw)) {
      if (piece.token) {
        ids.push_back(piece.token->id);
        continue;
      }
      const auto status = processor_.Encode({piece.text.data(), piece.text.size()}, &own);
      SSL4RL_CHECK(status.ok(), "SentencePiece: {}", status.message());
      ids.insert(ids.end(), own.begin(), own.end());
    }
    return ids;
  }

  std::string decode_bytes(std::span<const int64_t> ids, bool skip_special) const override {
    std::string bytes;
    for (const int64_t id : ids) {
      if (skip_special && added.is_special(id)) continue;
      if (const AddedToken* const token = added.find(id)) {
        bytes += token->content;
      } else if (id >= 0 && id < processor_.GetPieceSize()) {
        append_piece(static_cast<int>(id), bytes);
      }
    }
    return bytes;
  }

  int64_t size() const override { return size_; }

  std::optional<int64_t> id_of(std::string_view token) const override {
    const int id = processor_.PieceToId({token.data(), token.size()});
    return processor_.IdToPiece(id) == token ? std::optional<int64_t>(id) : std::nullopt;
  }

 private:
  void append_piece(int id, std::string& bytes) const {
    const std::string& piece = processor_.IdToPiece(id);
    if (processor_.IsByte(id)) {  // "<0xAB>"
      bytes += static_cast<char>(std::stoi(piece.substr(3, 2), nullptr, 16));
      return;
    }
    for (size_t at = 0; at < piece.size();) {
      const bool space = piece.compare(at, kSpace.size(), kSpace) == 0;
      bytes += space ? ' ' : piece[at];
      at += space ? kSpace.size() : 1;
    }
  }

  // Symbols of the model, then added_tokens.json (name → id), then the flags of tokenizer_config.json.
  void read_added(const std::filesystem::path& file, const std::set<int64_t>& user_defined) {
    std::map<int64_t, AddedToken> tokens;
    for (int id = 0; id < processor_.GetPieceSize(); ++id) {
      const bool special = processor_.IsControl(id) || processor_.IsUnknown(id);
      if (special || user_defined.contains(id))
        tokens[id] = {.id = id, .content = processor_.IdToPiece(id), .special = special};
    }
    const auto names = file.parent_path() / "added_tokens.json", config = file.parent_path() / "tokenizer_config.json";
    try {
      const auto named = std::filesystem::exists(names) ? io::read_json(names) : nlohmann::ordered_json::object();
      for (const auto& [content, id] : named.items())
        tokens[id.get<int64_t>()] = {.id = id.get<int64_t>(), .content = content, .special = true};
      if (std::filesystem::exists(config)) {
        const auto json = io::read_json(config);
        if (json.contains("added_tokens_decoder"))
          for (const auto& [id, entry] : json["added_tokens_decoder"].items())
            tokens[std::stoll(id)] = {std::stoll(id),
                                      entry.at("content").get<std::string>(),
                                      entry.value("special", false),
                                      false,
                                      entry.value("lstrip", false),
                                      entry.value("rstrip", false),
                                      entry.value("single_word", false)};
      }
    } catch (const nlohmann::json::exception& e) {
      fail("{}: added tokens: {}", file.parent_path().string(), io::parse_error_text(e));
    } catch (const std::logic_error&) {
      fail("{}: added_tokens_decoder: expected numbers as keys", config.string());
    }
    std::vector<AddedToken> list;
    for (auto& [id, token] : tokens) {
      if (token.content.empty() || id < 0 || id > 16'000'000)
        fail("{}: the added token \"{}\" has the id {}", file.parent_path().string(), token.content, id);
      list.push_back(std::move(token));
    }
    added = AddedTokens(std::move(list));
  }

  sentencepiece::SentencePieceProcessor processor_;
  int64_t size_ = 0;
};

}  // namespace

std::unique_ptr<Tokenizer::Body> read_sentencepiece(const std::filesystem::path& file) {
  return std::make_unique<SentencePiece>(file);
}

}  // namespace ssl4rl::text
