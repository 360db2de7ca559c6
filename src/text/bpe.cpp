// Byte-level BPE as Hugging Face's `tokenizers` does it for the Qwen families, read from tokenizer.json.
#include <algorithm>
#include <array>
#include <atomic>
#include <bit>
#include <limits>
#include <nlohmann/json.hpp>
#include <queue>
#include <unordered_map>

#include "split.h"
#include "ssl4rl/base/error.h"
#include "ssl4rl/io/file.h"
#include "ssl4rl/io/jsonl.h"
#include "ssl4rl/text/unicode.h"
#include "tokenizer_body.h"
#include "tokenizer_json.h"

namespace ssl4rl::text {
namespace {

using Json = nlohmann::json;

// Marks that the reference's older tables do not know as such (Unicode 10 and later), compared one by one with
// tokenizers 0.23: for it they are characters of their own that nothing moves or composes across.
bool is_mark_unknown_to_the_reference(char32_t c) {
  static constexpr std::pair<char32_t, char32_t> kMarks[] = {
      {0x7FD, 0x7FD},     {0x898, 0x89F},     {0x8CA, 0x8D3},     {0x9FE, 0x9FE},     {0xC3C, 0xC3C},
      {0xD3B, 0xD3C},     {0xEBA, 0xEBA},     {0x1715, 0x1715},   {0x1ABF, 0x1ACE},   {0x1DF6, 0x1DFA},
      {0xA82C, 0xA82C},   {0x10D24, 0x10D27}, {0x10EAB, 0x10EAC}, {0x10EFD, 0x10EFF}, {0x10F46, 0x10F50},
      {0x10F82, 0x10F85}, {0x11070, 0x11070}, {0x1133B, 0x1133B}, {0x1145E, 0x1145E}, {0x11839, 0x1183A},
      {0x11930, 0x11930}, {0x1193D, 0x1193E}, {0x11943, 0x11943}, {0x119E0, 0x119E0}, {0x11A34, 0x11A34},
      {0x11A47, 0x11A47}, {0x11A99, 0x11A99}, {0x11D42, 0x11D42}, {0x11D44, 0x11D45}, {0x11D97, 0x11D97},
      {0x11F41, 0x11F42}, {0x16FF0, 0x16FF1}, {0x1E08F, 0x1E08F}, {0x1E130, 0x1E136}, {0x1E2AE, 0x1E2AE},
      {0x1E2EC, 0x1E2EF}, {0x1E4EC, 0x1E4EF}};
  if (c < 0x7FD) return false;
  return std::any_of(std::begin(kMarks), std::end(kMarks),
                     [c](const auto& range) { return c >= range.first && c <= range.second; });
}

std::string nfc_of_the_reference(std::string_view text) {
  std::string result;
  size_t begin = 0;
  for (size_t at = 0; at < text.size();) {
    const size_t here = at;
    if (!is_mark_unknown_to_the_reference(next_code_point(text, at))) continue;
    result += nfc(text.substr(begin, here - begin));
    result += text.substr(here, at - here);
    begin = at;
  }
  return result + nfc(text.substr(begin));
}

// GPT-2's byte alphabet: printable Latin-1 bytes stand for themselves, the others for code points from 256 on.
struct ByteAlphabet {
  std::array<char32_t, 256> letters{};
  std::array<int16_t, 512> bytes{};  // letter → byte, or −1

  ByteAlphabet() {
    bytes.fill(-1);
    char32_t next = 256;
    for (size_t byte = 0; byte < 256; ++byte) {
      const bool printable =
          (byte >= '!' && byte <= '~') || (byte >= 0xA1 && byte <= 0xAC) || (byte >= 0xAE && byte <= 0xFF);
      letters[byte] = printable ? static_cast<char32_t>(byte) : next++;
      bytes[letters[byte]] = static_cast<int16_t>(byte);
    }
  }
  // The bytes that a token spells; none if it is not spelled in the alphabet.
  [[nodiscard]] std::optional<std::string> to_bytes(std::string_view token) const {
    std::string result;
    for (size_t at = 0; at < token.size();) {
      const char32_t letter = next_code_point(token, at);
      if (letter >= bytes.size() || bytes[letter] < 0) return {};
      result += static_cast<char>(bytes[letter]);
    }
    return result;
  }
};

const ByteAlphabet& alphabet() {
  static const ByteAlphabet instance;
  return instance;
}

// Bytes → id: open addressing, at most half full; the bytes themselves stand with the ids.
class ByteTable {
 public:
  ByteTable() : ByteTable(0) {}
  explicit ByteTable(size_t count) : mask_(std::bit_ceil(std::max<size_t>(count * 2, 16)) - 1), ids_(mask_ + 1, -1) {}

  void insert(std::string_view bytes, int32_t id, const std::vector<std::string>& of) {
    size_t at = slot(bytes);
    while (ids_[at] >= 0 && of[static_cast<size_t>(ids_[at])] != bytes) at = (at + 1) & mask_;
    if (ids_[at] < 0) ids_[at] = id;
  }
  [[nodiscard]] int32_t find(std::string_view bytes, const std::vector<std::string>& of) const {
    size_t at = slot(bytes);
    while (ids_[at] >= 0 && of[static_cast<size_t>(ids_[at])] != bytes) at = (at + 1) & mask_;
    return ids_[at];
  }

 private:
  [[nodiscard]] size_t slot(std::string_view bytes) const { return std::hash<std::string_view>{}(bytes)&mask_; }

  size_t mask_;
  std::vector<int32_t> ids_;
};

// Pair of ids → rank and id of the merged token: open addressing, at most half full.
class MergeTable {
 public:
  struct Entry {
    uint64_t pair = kEmpty;
    int32_t rank = 0, merged = 0;
  };

  explicit MergeTable(size_t count) : mask_(std::bit_ceil(std::max<size_t>(count * 2, 16)) - 1), entries_(mask_ + 1) {}

  // A pair that stands there twice has the last rank, as in the reference.
  void insert(int32_t left, int32_t right, int32_t rank, int32_t merged) {
    entries_[slot(key(left, right))] = {key(left, right), rank, merged};
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

class ByteLevelBpe : public Tokenizer::Body {
 public:
  explicit ByteLevelBpe(const std::filesystem::path& file);

  std::vector<int64_t> encode(std::string_view text) const override {
    std::vector<int64_t> ids;
    ids.reserve(text.size() / 3);
    for (const auto& piece : added.cut(text, AddedTokens::Stage::kRaw)) {
      if (piece.token) {
        ids.push_back(piece.token->id);
        continue;
      }
      std::string composed;
      std::string_view normal = piece.text;
      if (normalize_ && !is_nfc(normal)) normal = composed = nfc_of_the_reference(normal);
      for (const auto& part : added.cut(normal, AddedTokens::Stage::kNormalized)) {
        if (part.token) {
          ids.push_back(part.token->id);
        } else {
          for (size_t begin = 0, end = 0; begin < part.text.size(); begin = end) {
            end = qwen2_piece_end(part.text, begin);
            encode_word(part.text.substr(begin, end - begin), ids);
          }
        }
      }
    }
    return ids;
  }

  std::string decode_bytes(std::span<const int64_t> ids, bool skip_special) const override {
    std::string bytes;
    for (const int64_t id : ids)
      if (id >= 0 && id < size() && !(skip_special && added.is_special(id)))
        bytes += bytes_of_[static_cast<size_t>(id)];
    return bytes;
  }

  int64_t size() const override { return static_cast<int64_t>(bytes_of_.size()); }

  std::optional<int64_t> id_of(std::string_view token) const override {
    const int32_t id = vocabulary_id(token);
    return id < 0 ? std::nullopt : std::optional<int64_t>(id);
  }

 private:
  // What is known of a vocabulary entry: whether its own bytes are merged to it.
  enum Wholeness : uint8_t { kUnknown, kWhole, kNotWhole };

  void read_vocabulary(const TokenizerJson& json, const std::string& path);
  void read_merges(const TokenizerJson& json, const std::string& path);

  // In the byte alphabet's spelling, or a token that is not spelled in it; −1: none.
  [[nodiscard]] int32_t vocabulary_id(std::string_view token) const {
    if (const auto bytes = alphabet().to_bytes(token)) return words_.find(*bytes, bytes_of_);
    const auto found = misspelled_.find(std::string(token));
    return found == misspelled_.end() ? -1 : found->second;
  }

  // Most words of a text are tokens, and most tokens are what their bytes are merged to; that is looked up once.
  void encode_word(std::string_view word, std::vector<int64_t>& ids) const {
    const int32_t whole = words_.find(word, bytes_of_);
    if (whole >= 0) {
      if (ignore_merges_) return ids.push_back(whole);
      auto& known = wholeness_[static_cast<size_t>(whole)];
      const uint8_t state = known.load(std::memory_order_relaxed);
      if (state == kWhole) return ids.push_back(whole);
      if (state == kUnknown) {
        const size_t before = ids.size();
        merge(word, ids);
        known.store(ids.size() == before + 1 && ids.back() == whole ? kWhole : kNotWhole, std::memory_order_relaxed);
        return;
      }
    }
    merge(word, ids);
  }

  void merge(std::string_view word, std::vector<int64_t>& ids) const {
    constexpr size_t kShort = 64;
    if (word.size() <= kShort) {
      std::array<Symbol, kShort> symbols;
      size_t count = 0;
      for (const char byte : word)
        if (const int32_t id = byte_ids_[static_cast<uint8_t>(byte)]; id >= 0) symbols[count++] = {id, kNoRank, 0};
      count = merge_short(symbols.data(), count);
      for (size_t i = 0; i < count; ++i) ids.push_back(symbols[i].id);
      return;
    }
    std::vector<int32_t> symbols;
    symbols.reserve(word.size());
    for (const char byte : word)
      if (const int32_t id = byte_ids_[static_cast<uint8_t>(byte)]; id >= 0) symbols.push_back(id);
    merge_long(symbols);
    ids.insert(ids.end(), symbols.begin(), symbols.end());
  }

  static constexpr int32_t kNoRank = std::numeric_limits<int32_t>::max();
  struct Symbol {
    int32_t id;
    int32_t rank;    // of the pair with the next symbol
    int32_t merged;  // what that pair becomes
  };

  // Merges the pair of lowest rank, leftmost first, until none is left. For words.
  size_t merge_short(Symbol* symbols, size_t count) const {
    const auto rank = [&](size_t i) {
      const auto* const entry = i + 1 < count ? merges_.find(symbols[i].id, symbols[i + 1].id) : nullptr;
      symbols[i].rank = entry ? entry->rank : kNoRank;
      symbols[i].merged = entry ? entry->merged : 0;
    };
    for (size_t i = 0; i < count; ++i) rank(i);
    while (count > 1) {
      size_t best = 0;
      for (size_t i = 1; i + 1 < count; ++i)
        if (symbols[i].rank < symbols[best].rank) best = i;
      if (symbols[best].rank == kNoRank) break;
      symbols[best].id = symbols[best].merged;
      std::copy(symbols + best + 2, symbols + count, symbols + best + 1);
      --count;
      rank(best);
      if (best > 0) rank(best - 1);
    }
    return count;
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
      if (const auto* entry = merges_.find(a, b)) queue.push({entry->rank, left, a, b, entry->merged});
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

  std::vector<std::string> bytes_of_;  // id → bytes
  ByteTable words_;                    // of the vocabulary's entries in the byte alphabet
  std::unordered_map<std::string, int32_t> misspelled_;
  std::array<int32_t, 256> byte_ids_{};  // byte → id, or −1
  MergeTable merges_{0};
  mutable std::vector<std::atomic<uint8_t>> wholeness_;  // a memo of merge(); equal whoever fills it
  bool normalize_ = false, ignore_merges_ = false;
};

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

std::vector<AddedToken> read_added_tokens(const Json& list, const std::string& path) {
  std::vector<AddedToken> tokens;
  for (const Json& entry : list) {
    if (!entry.at("id").is_number_integer()) fail("{}: an added token has the id {}", path, entry.at("id").dump());
    tokens.push_back({entry.at("id").get<int64_t>(), entry.at("content").get<std::string>(),
                      entry.value("special", false), entry.value("normalized", false), entry.value("lstrip", false),
                      entry.value("rstrip", false), entry.value("single_word", false)});
    if (tokens.back().content.empty() || tokens.back().id < 0) fail("{}: an added token is empty or has no id", path);
  }
  return tokens;
}

void ByteLevelBpe::read_vocabulary(const TokenizerJson& json, const std::string& path) {
  int64_t largest = -1;
  for (const auto& [token, id] : json.vocabulary) {
    if (id < 0 || id >= std::numeric_limits<int32_t>::max()) fail("{}: token \"{}\" has the id {}", path, token, id);
    largest = std::max(largest, id);
  }
  for (const AddedToken& token : added.all()) largest = std::max(largest, token.id);
  if (largest > 16'000'000) fail("{}: the largest token id is {}", path, largest);

  bytes_of_.resize(static_cast<size_t>(largest + 1));
  words_ = ByteTable(json.vocabulary.size());
  for (const auto& [token, id] : json.vocabulary) {
    // A token that is not spelled in the alphabet stands for its own UTF-8, as in the reference.
    auto bytes = alphabet().to_bytes(token);
    const bool misspelled = !bytes;
    std::string& own = bytes_of_[static_cast<size_t>(id)];
    own = misspelled ? token : std::move(*bytes);
    if (misspelled) {
      misspelled_[token] = static_cast<int32_t>(id);
    } else {
      words_.insert(own, static_cast<int32_t>(id), bytes_of_);
    }
  }
  for (size_t byte = 0; byte < 256; ++byte)
    byte_ids_[byte] = words_.find(std::string(1, static_cast<char>(byte)), bytes_of_);
  for (const AddedToken& token : added.all())
    bytes_of_[static_cast<size_t>(token.id)] = alphabet().to_bytes(token.content).value_or(token.content);
  wholeness_ = std::vector<std::atomic<uint8_t>>(bytes_of_.size());
}

void ByteLevelBpe::read_merges(const TokenizerJson& json, const std::string& path) {
  merges_ = MergeTable(json.merges.size());
  std::string joined;
  for (size_t rank = 0; rank < json.merges.size(); ++rank) {
    const auto& [left, right] = json.merges[rank];
    joined.assign(left).append(right);
    const int32_t a = vocabulary_id(left), b = vocabulary_id(right), ab = vocabulary_id(joined);
    if (a < 0 || b < 0 || ab < 0)
      fail("{}: merge {} (\"{}\" + \"{}\") names a token that is not in the vocabulary", path, rank, left, right);
    merges_.insert(a, b, static_cast<int32_t>(rank), ab);
  }
}

ByteLevelBpe::ByteLevelBpe(const std::filesystem::path& file) {
  const std::string path = file.string();
  const TokenizerJson json = read_tokenizer_json(file);
  try {
    const Json& model = json.rest.at("model");
    if (model.value("type", "BPE") != "BPE")
      fail("{}: the model {} is not supported (expected BPE)", path, model.value("type", "?"));
    if (model.value("byte_fallback", false)) fail("{}: byte_fallback is not supported", path);
    if (!json.has_vocabulary || !json.has_merges) fail("{}: model: expected \"vocab\" and \"merges\"", path);
    normalize_ = reads_nfc(json.rest.value("normalizer", Json()), path);
    check_pre_tokenizer(json.rest.value("pre_tokenizer", Json()), path);
    ignore_merges_ = model.value("ignore_merges", false);
    added = AddedTokens(read_added_tokens(json.rest.value("added_tokens", Json::array()), path), normalize_);
  } catch (const Json::exception& e) {
    fail("{}: not a usable tokenizer.json: {}", path, io::parse_error_text(e));
  }
  read_vocabulary(json, path);
  read_merges(json, path);
}

}  // namespace

std::unique_ptr<Tokenizer::Body> read_byte_level_bpe(const std::filesystem::path& file) {
  return std::make_unique<ByteLevelBpe>(file);
}

}  // namespace ssl4rl::text
