#include "presets.h"

#include <nlohmann/json.hpp>
#include <unordered_set>

#include "demo_preset.h"
#include "published_presets.h"
#include "ssl4rl/base/error.h"
#include "ssl4rl/io/file.h"
#include "ssl4rl/text/tokenizer.h"

namespace ssl4rl::cli {
namespace {

using Json = nlohmann::ordered_json;

// The 256 bytes' letters in the order of their code points.
std::vector<std::string> byte_letters() {
  const auto utf8 = [](char32_t c) {
    return c < 0x80 ? std::string(1, static_cast<char>(c))
                    : std::string{static_cast<char>(0xC0 | c >> 6), static_cast<char>(0x80 | (c & 0x3F))};
  };
  std::vector<std::string> letters;
  for (char32_t c = '!'; c <= 0x143; ++c)
    if (c <= '~' || (c >= 0xA1 && c <= 0xAC) || (c >= 0xAE && c <= 0xFF) || c >= 0x100) letters.push_back(utf8(c));
  SSL4RL_CHECK(letters.size() == 256, "{} letters", letters.size());
  return letters;
}

// Collects a vocabulary: letters first, then what merges make of them.
class VocabularyBuilder {
 public:
  VocabularyBuilder() {
    for (const std::string& letter : byte_letters()) add(letter);
  }
  [[nodiscard]] size_t size() const { return known_.size(); }
  void merge(const std::string& left, const std::string& right) {
    if (!add(left + right)) return;
    merges_ += (merges_.empty() ? "" : ",\n") + Json(left + " " + right).dump();
  }

  // tokenizer.json in the form that the Qwen families are published in.
  template <typename AddedTokens>
  [[nodiscard]] std::string tokenizer(const AddedTokens& added_tokens) const {
    Json added = Json::array();
    for (size_t i = 0; i < std::size(added_tokens); ++i)
      added.push_back({{"id", size() + i},
                       {"content", added_tokens[i].first},
                       {"single_word", false},
                       {"lstrip", false},
                       {"rstrip", false},
                       {"normalized", false},
                       {"special", added_tokens[i].second}});
    const Json bytes{{"type", "ByteLevel"}, {"add_prefix_space", false}, {"trim_offsets", false}, {"use_regex", false}};
    const Json split{
        {"type", "Split"}, {"pattern", {{"Regex", text::kQwen2Pattern}}}, {"behavior", "Isolated"}, {"invert", false}};
    const Json rest{{"version", "1.0"},
                    {"truncation", nullptr},
                    {"padding", nullptr},
                    {"added_tokens", added},
                    {"normalizer", {{"type", "NFC"}}},
                    {"pre_tokenizer", {{"type", "Sequence"}, {"pretokenizers", Json::array({split, bytes})}}},
                    {"post_processor", bytes},
                    {"decoder", bytes}};
    const std::string head = rest.dump(1);
    return head.substr(0, head.size() - 2) +  // without the closing brace: the model follows
           ",\n \"model\": {\"type\": \"BPE\", \"dropout\": null, \"unk_token\": null, \"continuing_subword_prefix\": "
           "\"\", \"end_of_word_suffix\": \"\",\n"
           "  \"fuse_unk\": false, \"byte_fallback\": false, \"ignore_merges\": false,\n  \"vocab\": {\n" +
           vocabulary_ + "\n  },\n  \"merges\": [\n" + merges_ + "\n  ]}\n}\n";
  }

 private:
  bool add(const std::string& token) {
    if (!known_.insert(token).second) return false;
    vocabulary_ += fmt::format("{}{}: {}", vocabulary_.empty() ? "" : ",\n", Json(token).dump(), known_.size() - 1);
    return true;
  }

  std::unordered_set<std::string> known_;
  std::string vocabulary_, merges_;
};

void add_demo_merges(VocabularyBuilder& builder) {
  for (const std::string_view merge : demo::kMerges) {
    const size_t space = merge.find(' ');
    builder.merge(std::string(merge.substr(0, space)), std::string(merge.substr(space + 1)));
  }
}

std::string demo_tokenizer() {
  VocabularyBuilder builder;
  add_demo_merges(builder);
  std::vector<std::pair<const char*, bool>> added;
  for (const char* token : demo::kAdded) added.emplace_back(token, true);
  return builder.tokenizer(added);
}

// A vocabulary of the published size: the demo's merges, every pair of bytes, then pairs of small letters with a third
// byte.
std::string published_tokenizer() {
  VocabularyBuilder builder;
  add_demo_merges(builder);
  const std::vector<std::string> letters = byte_letters();
  for (const std::string& a : letters)
    for (const std::string& b : letters) builder.merge(a, b);
  for (char a = 'a'; a <= 'z'; ++a)
    for (char b = 'a'; b <= 'z'; ++b)
      for (const std::string& c : letters)
        if (builder.size() < published::kVocabulary) builder.merge(std::string{a, b}, c);
  SSL4RL_CHECK(builder.size() == published::kVocabulary, "{} entries", builder.size());
  return builder.tokenizer(published::kAdded);
}

std::string tokenizer_config(const std::string& chat_template) {
  return Json{{"tokenizer_class", "Qwen2Tokenizer"},
              {"chat_template", chat_template},
              {"eos_token", "<|im_end|>"},
              {"pad_token", "<|endoftext|>"},
              {"unk_token", nullptr},
              {"bos_token", nullptr},
              {"add_bos_token", false},
              {"model_max_length", 32768}}
             .dump(2) +
         "\n";
}

std::string template_file(const std::string& chat_template) {
  return Json{{"chat_template", chat_template}}.dump(2) + "\n";
}

// As demo::kChatTemplate, without a default system message.
std::string qwen3_chat_template() {
  std::string text = demo::kChatTemplate;
  const size_t begin = text.find("{% if loop.first"), end = text.find("{% endif %}", begin) + 11;
  return text.erase(begin, end - begin);
}

}  // namespace

const std::vector<std::pair<std::string, std::string>>& preset_names() {
  static const std::vector<std::pair<std::string, std::string>> names{
      {"demo", fmt::format("1.6 million parameters and {} pictures of {}×{} pixels", demo::kImages, demo::kImageSide,
                           demo::kImageSide)},
      {"qwen2.5-vl-3b", "the published shape, bfloat16 in shards of 5 GB, and 16 pictures"},
      {"qwen2.5-vl-7b", "likewise"},
      {"qwen2-vl-2b", "likewise"},
      {"qwen3-vl-4b", "likewise"}};
  return names;
}

Preset preset(const std::string& name) {
  if (name == "demo")
    return {.name = name,
            .config = demo::kConfig,
            .generation_config = demo::kGenerationConfig,
            .preprocessor_config = demo::kPreprocessorConfig,
            .tokenizer_config = tokenizer_config(demo::kChatTemplate),
            .chat_template = template_file(demo::kChatTemplate),
            .tokenizer = demo_tokenizer(),
            .init_std = demo::kInitStd,
            .images = demo::kImages,
            .image_side = demo::kImageSide};
  const bool qwen3 = name == "qwen3-vl-4b";
  const char* const config = name == "qwen2.5-vl-3b"   ? published::kQwen2_5Vl3b
                             : name == "qwen2.5-vl-7b" ? published::kQwen2_5Vl7b
                             : name == "qwen2-vl-2b"   ? published::kQwen2Vl2b
                                                       : published::kQwen3Vl4b;
  SSL4RL_CHECK(qwen3 || config != published::kQwen3Vl4b, "unknown preset {}", name);
  const std::string chat_template = qwen3 ? qwen3_chat_template() : demo::kChatTemplate;
  return {.name = name,
          .config = config,
          .generation_config = published::kGenerationConfig,
          .preprocessor_config = qwen3 ? published::kQwen3PreprocessorConfig : published::kPreprocessorConfig,
          .tokenizer_config = tokenizer_config(chat_template),
          .chat_template = template_file(chat_template),
          .tokenizer = published_tokenizer(),
          .dtype = at::kBFloat16,
          .images = 16,
          .image_side = 448};
}

void write_small_files(const std::filesystem::path& folder, const Preset& preset) {
  io::write_file(folder / "config.json", preset.config);
  io::write_file(folder / "generation_config.json", preset.generation_config);
  io::write_file(folder / "preprocessor_config.json", preset.preprocessor_config);
  io::write_file(folder / "tokenizer.json", preset.tokenizer);
  io::write_file(folder / "tokenizer_config.json", preset.tokenizer_config);
  io::write_file(folder / "chat_template.json", preset.chat_template);
}

}  // namespace ssl4rl::cli
