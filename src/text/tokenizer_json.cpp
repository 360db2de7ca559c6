#include "tokenizer_json.h"

#include "ssl4rl/base/error.h"
#include "ssl4rl/io/file.h"
#include "ssl4rl/io/jsonl.h"

namespace ssl4rl::text {
namespace {

using Json = nlohmann::json;

// Builds the document as it is parsed, but for the two lists.
class Reader : public nlohmann::json_sax<Json> {
 public:
  Reader(TokenizerJson& out, std::string path) : out_(out), path_(std::move(path)) {}

  bool null() override { return value(nullptr); }
  bool boolean(bool b) override { return value(b); }
  bool number_integer(number_integer_t n) override { return in_ == In::kVocabulary ? entry(n) : value(n); }
  bool number_unsigned(number_unsigned_t n) override {
    if (in_ == In::kVocabulary && n > static_cast<number_unsigned_t>(INT64_MAX))
      fail("{}: token \"{}\" has the id {}", path_, token_, n);
    return in_ == In::kVocabulary ? entry(static_cast<int64_t>(n)) : value(n);
  }
  bool number_float(number_float_t n, const string_t&) override { return value(n); }
  bool string(string_t& text) override {
    if (in_ == In::kMerges) return merge(text);
    if (in_ == In::kPair) {
      pair_.push_back(std::move(text));
      return true;
    }
    return value(std::move(text));
  }
  bool binary(binary_t&) override { return false; }
  bool start_object(size_t) override {
    if (at_model_key("vocab")) {
      in_ = In::kVocabulary;
      out_.has_vocabulary = true;
      out_.vocabulary.reserve(160'000);
      return true;
    }
    return open(Json::object());
  }
  bool key(string_t& name) override {
    (in_ == In::kVocabulary ? token_ : key_) = std::move(name);
    return true;
  }
  bool end_object() override {
    if (in_ == In::kVocabulary) {
      in_ = In::kDocument;
      return true;
    }
    return close();
  }
  bool start_array(size_t) override {
    if (in_ == In::kMerges) {
      in_ = In::kPair;
      pair_.clear();
      return true;
    }
    if (at_model_key("merges")) {
      in_ = In::kMerges;
      out_.has_merges = true;
      out_.merges.reserve(160'000);
      return true;
    }
    return open(Json::array());
  }
  bool end_array() override {
    if (in_ == In::kPair) {
      if (pair_.size() != 2)
        fail("{}: merge {}: expected two tokens, found {}", path_, out_.merges.size(), pair_.size());
      out_.merges.emplace_back(std::move(pair_[0]), std::move(pair_[1]));
      in_ = In::kMerges;
      return true;
    }
    if (in_ == In::kMerges) {
      in_ = In::kDocument;
      return true;
    }
    return close();
  }
  bool parse_error(size_t, const std::string&, const nlohmann::detail::exception& e) override {
    fail("{}: not a usable tokenizer.json: {}", path_, io::parse_error_text(e));
  }

 private:
  enum class In { kDocument, kVocabulary, kMerges, kPair };

  [[nodiscard]] bool at_model_key(const char* name) const {
    return in_ == In::kDocument && open_.size() == 2 && open_[1] == model_ && open_[1]->is_object() && key_ == name;
  }
  bool entry(int64_t id) {
    out_.vocabulary.emplace_back(std::move(token_), id);
    return true;
  }
  bool merge(const std::string& text) {
    const size_t space = text.find(' ');
    if (space == std::string::npos)
      fail("{}: merge {} is \"{}\", expected two tokens", path_, out_.merges.size(), text);
    out_.merges.emplace_back(text.substr(0, space), text.substr(space + 1));
    return true;
  }
  // Puts a value where it belongs and returns its place.
  Json* place(Json&& v) {
    if (in_ != In::kDocument) fail("{}: model: unexpected value among vocabulary or merges", path_);
    if (open_.empty()) return &(out_.rest = std::move(v));
    Json& parent = *open_.back();
    if (parent.is_array()) {
      parent.push_back(std::move(v));
      return &parent.back();
    }
    Json& child = parent[key_] = std::move(v);
    if (open_.size() == 1 && key_ == "model") model_ = &child;
    return &child;
  }
  bool value(Json&& v) {
    place(std::move(v));
    return true;
  }
  bool open(Json&& v) {
    open_.push_back(place(std::move(v)));
    if (open_.size() > 64) fail("{}: nested too deeply", path_);
    return true;
  }
  bool close() {
    open_.pop_back();
    return true;
  }

  TokenizerJson& out_;
  std::string path_, key_, token_;
  std::vector<Json*> open_;
  const Json* model_ = nullptr;
  In in_ = In::kDocument;
  std::vector<std::string> pair_;
};

}  // namespace

TokenizerJson read_tokenizer_json(const std::filesystem::path& file) {
  TokenizerJson result;
  Reader reader(result, file.string());
  const std::string text = io::read_file(file);
  Json::sax_parse(text, &reader);
  if (!result.rest.is_object()) fail("{}: not a usable tokenizer.json: expected an object", file.string());
  return result;
}

}  // namespace ssl4rl::text
