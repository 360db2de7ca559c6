#include "ssl4rl/text/tokenizer.h"

#include <unicode/uchar.h>

#include <algorithm>
#include <array>
#include <bit>
#include <limits>
#include <nlohmann/json.hpp>
#include <queue>
#include <unordered_map>

#include "ssl4rl/base/error.h"
#include "ssl4rl/io/file.h"
#include "ssl4rl/io/jsonl.h"
#include "ssl4rl/text/unicode.h"

namespace ssl4rl::text {
namespace {

using Json = nlohmann::json;

// GPT-2's byte alphabet: printable Latin-1 bytes stand for themselves, the others for code points from 256 on.
std::array<char32_t, 256> byte_alphabet() {
  std::array<char32_t, 256> alphabet{};
  char32_t next = 256;
  for (size_t byte = 0; byte < 256; ++byte) {
    const bool printable =
        (byte >= '!' && byte <= '~') || (byte >= 0xA1 && byte <= 0xAC) || (byte >= 0xAE && byte <= 0xFF);
    alphabet[byte] = printable ? static_cast<char32_t>(byte) : next++;
  }
  return alphabet;
}

void append_utf8(std::string& out, char32_t c) {
  if (c < 0x80) {
    out += static_cast<char>(c);
  } else {  // the alphabet ends below U+0800
    out += static_cast<char>(0xC0 | c >> 6);
    out += static_cast<char>(0x80 | (c & 0x3F));
  }
}

// Pair of ids → rank and id of the merged token: open addressing, at most half full.
class MergeTable {
 public:
  struct Entry {
    uint64_t pair = kEmpty;
    int32_t rank = 0, merged = 0;
  };

  explicit MergeTable(size_t count) : mask_(std::bit_ceil(std::max<size_t>(count * 2, 16)) - 1), entries_(mask_ + 1) {}

  void insert(int32_t left, int32_t right, int32_t rank, int32_t merged) {
    Entry& entry = entries_[slot(key(left, right))];
    if (entry.pair == kEmpty) entry = {key(left, right), rank, merged};
  }
  [[nodiscard]] const Entry* find(int32_t left, int32_t right) const {
    const Entry& entry = entries_[slot(key(left, right))];
    return entry.pair == kEmpty ? nullptr : &entry;
  }

 private:
  static constexpr uint64_t kEmpty = ~uint64_t{0};
  static uint64_t key(int32_t left, int32_t right) {
    return static_cast<uint64_t>(left) << 32 | static_cast<uint32_t>(right);
  }
  [[nodiscard]] size_t slot(uint64_t pair) const {
    size_t at = (pair * 0x9E3779B97F4A7C15u >> 20) & mask_;
    while (entries_[at].pair != kEmpty && entries_[at].pair != pair) at = (at + 1) & mask_;
    return at;
  }

  size_t mask_;
  std::vector<Entry> entries_;
};

struct StringHash {
  using is_transparent = void;
  size_t operator()(std::string_view text) const { return std::hash<std::string_view>{}(text); }
};
using Vocabulary = std::unordered_map<std::string, int32_t, StringHash, std::equal_to<>>;

// \w of the reference's regular expressions, for single_word.
bool is_word_character(char32_t c) {
  const auto code = static_cast<UChar32>(c);
  return u_isUAlphabetic(code) || (U_GET_GC_MASK(code) & (U_GC_M_MASK | U_GC_ND_MASK | U_GC_PC_MASK)) != 0;
}

}  // namespace

// Added tokens to look for in a text: indices, longest content first, and the bytes that they begin with.
struct TokenSet {
  std::vector<size_t> indices;
  std::array<bool, 256> begins{};
};

struct Tokenizer::State {
  Vocabulary vocabulary;                // in the byte alphabet's spelling
  std::vector<std::string> bytes_of;    // id → bytes
  std::array<int32_t, 256> byte_ids{};  // byte → id, or -1
  MergeTable merges{0};
  std::vector<AddedToken> added;
  std::unordered_map<int64_t, size_t> added_index;  // id → index into `added`
  TokenSet raw_tokens, normalized_tokens;           // looked for before and after normalisation
  bool normalize = false, ignore_merges = false;

  struct Piece {
    std::string_view text;
    const AddedToken* token = nullptr;  // set: the piece is this token
  };

  // Cuts the added tokens out of a text: leftmost first, then longest.
  std::vector<Piece> cut(std::string_view text, const TokenSet& candidates) const {
    std::vector<Piece> pieces;
    size_t begin = 0;
    for (size_t at = 0; at < text.size();) {
      const bool begins = candidates.begins[static_cast<uint8_t>(text[at])];
      const AddedToken* const found = begins ? match_at(text, at, candidates.indices) : nullptr;
      if (!found) {
        ++at;
        continue;
      }
      size_t start = at, end = at + found->content.size();
      at = end;
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

  static size_t right_stripped(std::string_view text) {
    size_t kept = 0;
    for (size_t at = 0; at < text.size();)
      if (!u_isUWhiteSpace(static_cast<UChar32>(next_code_point(text, at)))) kept = at;
    return kept;
  }

  const AddedToken* match_at(std::string_view text, size_t at, const std::vector<size_t>& candidates) const {
    for (const size_t index : candidates) {
      const AddedToken& token = added[index];
      if (text.substr(at, token.content.size()) != token.content) continue;
      if (token.single_word && !stands_alone(text, at, at + token.content.size())) continue;
      return &token;
    }
    return nullptr;
  }

  static bool stands_alone(std::string_view text, size_t begin, size_t end) {
    if (end < text.size()) {
      size_t next = end;
      if (is_word_character(next_code_point(text, next))) return false;
    }
    char32_t before = 0;
    for (size_t at = 0; at < begin;) before = next_code_point(text, at);
    return begin == 0 || !is_word_character(before);
  }

  void encode_plain(std::string_view text, std::vector<int64_t>& ids) const {
    for (const std::string_view word : split_qwen2(text)) encode_word(word, ids);
  }

  void encode_word(std::string_view word, std::vector<int64_t>& ids) const {
    if (ignore_merges) {
      std::string spelled;
      static const auto alphabet = byte_alphabet();
      for (const char byte : word) append_utf8(spelled, alphabet[static_cast<uint8_t>(byte)]);
      if (const auto whole = vocabulary.find(spelled); whole != vocabulary.end()) {
        ids.push_back(whole->second);
        return;
      }
    }
    std::vector<int32_t> symbols;
    symbols.reserve(word.size());
    for (const char byte : word)
      if (const int32_t id = byte_ids[static_cast<uint8_t>(byte)]; id >= 0) symbols.push_back(id);
    if (symbols.size() <= 64) {
      merge_short(symbols);
    } else {
      merge_long(symbols);
    }
    ids.insert(ids.end(), symbols.begin(), symbols.end());
  }

  // Merges the pair of lowest rank, leftmost first, until none is left. Quadratic: for words.
  void merge_short(std::vector<int32_t>& symbols) const {
    while (symbols.size() > 1) {
      const MergeTable::Entry* best = nullptr;
      size_t where = 0;
      for (size_t i = 0; i + 1 < symbols.size(); ++i)
        if (const auto* entry = merges.find(symbols[i], symbols[i + 1]); entry && (!best || entry->rank < best->rank)) {
          best = entry;
          where = i;
        }
      if (!best) return;
      symbols[where] = best->merged;
      symbols.erase(symbols.begin() + static_cast<ptrdiff_t>(where) + 1);
    }
  }

  // The same with a heap and a linked list: for long runs without a boundary.
  void merge_long(std::vector<int32_t>& symbols) const {
    struct Candidate {
      int32_t rank;
      size_t left;
      int32_t a, b, merged;
      bool operator<(const Candidate& other) const { return std::pair(rank, left) > std::pair(other.rank, other.left); }
    };
    const size_t none = symbols.size();
    std::vector<size_t> next(symbols.size()), previous(symbols.size());
    std::priority_queue<Candidate> queue;
    const auto consider = [&](size_t left) {
      if (left == none || next[left] == none) return;
      const int32_t a = symbols[left], b = symbols[next[left]];
      if (const auto* entry = merges.find(a, b)) queue.push({entry->rank, left, a, b, entry->merged});
    };
    for (size_t i = 0; i < symbols.size(); ++i) {
      next[i] = i + 1;
      previous[i] = i == 0 ? none : i - 1;
    }
    for (size_t i = 0; i < symbols.size(); ++i) consider(i);
    while (!queue.empty()) {
      const Candidate best = queue.top();
      queue.pop();
      const size_t right = symbols[best.left] == best.a ? next[best.left] : none;
      if (right == none || symbols[right] != best.b) continue;  // stale
      symbols[best.left] = best.merged;
      symbols[right] = -1;
      next[best.left] = next[right];
      if (next[right] != none) previous[next[right]] = best.left;
      consider(best.left);
      if (previous[best.left] != none) consider(previous[best.left]);
    }
    std::erase(symbols, -1);
  }
};

namespace {

// Walks a Sequence or a single element of the pipeline's description.
std::vector<Json> steps_of(const Json& node, const char* list) {
  if (node.is_null()) return {};
  if (node.value("type", "") != "Sequence") return {node};
  return node.at(list).get<std::vector<Json>>();
}

bool reads_nfc(const Json& normalizer, const std::string& path) {
  bool nfc = false;
  for (const Json& step : steps_of(normalizer, "normalizers")) {
    if (step.value("type", "") != "NFC")
      fail("{}: the normalizer {} is not supported (expected NFC)", path, step.value("type", "?"));
    nfc = true;
  }
  return nfc;
}

void check_pre_tokenizer(const Json& pre_tokenizer, const std::string& path) {
  bool split = false, bytes = false;
  for (const Json& step : steps_of(pre_tokenizer, "pretokenizers")) {
    const std::string type = step.value("type", "?");
    if (type == "Split") {
      const Json pattern = step.value("pattern", Json::object());
      const std::string regex = pattern.value("Regex", "");
      if (regex != kQwen2Pattern) fail("{}: the split pattern \"{}\" is not supported (expected Qwen2's)", path, regex);
      if (step.value("behavior", "") != "Isolated" || step.value("invert", false))
        fail("{}: expected an isolated split", path);
      split = true;
    } else if (type == "ByteLevel") {
      if (step.value("add_prefix_space", false) || step.value("use_regex", true))
        fail("{}: expected a ByteLevel pre-tokenizer without prefix space and without its own pattern", path);
      bytes = true;
    } else {
      fail("{}: the pre-tokenizer {} is not supported", path, type);
    }
  }
  if (!split || !bytes) fail("{}: expected the pre-tokenizers Split and ByteLevel", path);
}

}  // namespace

Tokenizer::Tokenizer(const std::filesystem::path& file) : state_(std::make_unique<State>()) {
  const std::string path = file.string();
  Json json;
  try {
    json = Json::parse(io::read_file(file));
    State& s = *state_;
    const Json& model = json.at("model");
    if (model.value("type", "BPE") != "BPE")
      fail("{}: the model {} is not supported (expected BPE)", path, model.value("type", "?"));
    if (model.value("byte_fallback", false)) fail("{}: byte_fallback is not supported", path);
    s.normalize = reads_nfc(json.value("normalizer", Json()), path);
    check_pre_tokenizer(json.value("pre_tokenizer", Json()), path);
    s.ignore_merges = model.value("ignore_merges", false);

    int64_t largest = -1;
    const auto& vocab = model.at("vocab").get_ref<const Json::object_t&>();
    s.vocabulary.reserve(vocab.size());
    for (const auto& [token, id] : vocab) {
      const auto value = id.get<int64_t>();
      if (value < 0 || value >= std::numeric_limits<int32_t>::max())
        fail("{}: token \"{}\" has the id {}", path, token, value);
      s.vocabulary.emplace(token, static_cast<int32_t>(value));
      largest = std::max(largest, value);
    }
    for (const Json& entry : json.value("added_tokens", Json::array())) {
      s.added.push_back({entry.at("id").get<int64_t>(), entry.at("content").get<std::string>(),
                         entry.value("special", false), entry.value("normalized", false), entry.value("lstrip", false),
                         entry.value("rstrip", false), entry.value("single_word", false)});
      if (s.added.back().content.empty() || s.added.back().id < 0)
        fail("{}: an added token is empty or has no id", path);
      largest = std::max(largest, s.added.back().id);
    }
    if (largest > 16'000'000) fail("{}: the largest token id is {}", path, largest);

    static const auto alphabet = byte_alphabet();
    std::unordered_map<char32_t, uint8_t> byte_of;
    for (size_t byte = 0; byte < 256; ++byte) byte_of[alphabet[byte]] = static_cast<uint8_t>(byte);
    // A token's bytes; a token that is not spelled in the alphabet stands for its own UTF-8, as in the reference.
    const auto to_bytes = [&](const std::string& token) {
      std::string bytes;
      for (size_t at = 0; at < token.size();) {
        const auto found = byte_of.find(next_code_point(token, at));
        if (found == byte_of.end()) return token;
        bytes += static_cast<char>(found->second);
      }
      return bytes;
    };
    s.bytes_of.resize(static_cast<size_t>(largest + 1));
    for (const auto& [token, id] : s.vocabulary) s.bytes_of[static_cast<size_t>(id)] = to_bytes(token);
    for (const AddedToken& token : s.added) s.bytes_of[static_cast<size_t>(token.id)] = to_bytes(token.content);
    for (size_t byte = 0; byte < 256; ++byte) {
      std::string spelled;
      append_utf8(spelled, alphabet[byte]);
      const auto found = s.vocabulary.find(spelled);
      s.byte_ids[byte] = found == s.vocabulary.end() ? -1 : found->second;
    }

    const auto& merges = model.at("merges").get_ref<const Json::array_t&>();
    s.merges = MergeTable(merges.size());
    std::string joined;
    for (size_t rank = 0; rank < merges.size(); ++rank) {
      std::string_view left, right;
      if (merges[rank].is_string()) {
        const std::string_view pair = merges[rank].get_ref<const std::string&>();
        const size_t space = pair.find(' ');
        if (space == std::string_view::npos) fail("{}: merge {} is \"{}\", expected two tokens", path, rank, pair);
        left = pair.substr(0, space);
        right = pair.substr(space + 1);
      } else {
        left = merges[rank].at(0).get_ref<const std::string&>();
        right = merges[rank].at(1).get_ref<const std::string&>();
      }
      joined.assign(left).append(right);
      const auto a = s.vocabulary.find(left), b = s.vocabulary.find(right), ab = s.vocabulary.find(joined);
      if (a == s.vocabulary.end() || b == s.vocabulary.end() || ab == s.vocabulary.end())
        fail("{}: merge {} (\"{}\" + \"{}\") names a token that is not in the vocabulary", path, rank, left, right);
      s.merges.insert(a->second, b->second, static_cast<int32_t>(rank), ab->second);
    }

    for (size_t i = 0; i < s.added.size(); ++i) {
      s.added_index[s.added[i].id] = i;
      TokenSet& set = s.added[i].normalized ? s.normalized_tokens : s.raw_tokens;
      set.indices.push_back(i);
      set.begins[static_cast<uint8_t>(s.added[i].content[0])] = true;
    }
    for (TokenSet* set : {&s.raw_tokens, &s.normalized_tokens})
      std::stable_sort(set->indices.begin(), set->indices.end(),
                       [&](size_t a, size_t b) { return s.added[a].content.size() > s.added[b].content.size(); });
  } catch (const Json::exception& e) {
    fail("{}: not a usable tokenizer.json: {}", path, io::parse_error_text(e));
  }
}

Tokenizer::~Tokenizer() = default;
Tokenizer::Tokenizer(Tokenizer&&) noexcept = default;

std::vector<int64_t> Tokenizer::encode(std::string_view input) const {
  const State& s = *state_;
  const std::string valid = to_valid_utf8(input);
  std::vector<int64_t> ids;
  for (const auto& piece : s.cut(valid, s.raw_tokens)) {
    if (piece.token) {
      ids.push_back(piece.token->id);
      continue;
    }
    const std::string normal = s.normalize ? nfc(piece.text) : std::string(piece.text);
    for (const auto& part : s.cut(normal, s.normalized_tokens)) {
      if (part.token) {
        ids.push_back(part.token->id);
      } else {
        s.encode_plain(part.text, ids);
      }
    }
  }
  return ids;
}

std::string Tokenizer::decode_bytes(std::span<const int64_t> ids, bool skip_special) const {
  const State& s = *state_;
  std::string bytes;
  for (const int64_t id : ids) {
    if (id < 0 || id >= size()) continue;
    if (skip_special)
      if (const auto added = s.added_index.find(id); added != s.added_index.end() && s.added[added->second].special)
        continue;
    bytes += s.bytes_of[static_cast<size_t>(id)];
  }
  return bytes;
}

std::string Tokenizer::decode(std::span<const int64_t> ids, bool skip_special) const {
  return to_valid_utf8(decode_bytes(ids, skip_special));
}

int64_t Tokenizer::size() const { return static_cast<int64_t>(state_->bytes_of.size()); }

std::optional<int64_t> Tokenizer::id_of(std::string_view token) const {
  for (const AddedToken& added : state_->added)
    if (added.content == token) return added.id;
  const auto found = state_->vocabulary.find(token);
  return found == state_->vocabulary.end() ? std::nullopt : std::optional<int64_t>(found->second);
}

const std::vector<AddedToken>& Tokenizer::added_tokens() const { return state_->added; }

}  // namespace ssl4rl::text
