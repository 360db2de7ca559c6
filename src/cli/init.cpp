// ssl4rl init: writes a small random model directory and drawn images, to try things with.
#include <ATen/ATen.h>
#include <ATen/CPUGeneratorImpl.h>
#include <ATen/core/grad_mode.h>

#include <nlohmann/json.hpp>

#include "commands.h"
#include "demo_preset.h"
#include "runtime.h"
#include "ssl4rl/base/error.h"
#include "ssl4rl/base/pipeline.h"
#include "ssl4rl/base/progress.h"
#include "ssl4rl/base/rng.h"
#include "ssl4rl/image/codec.h"
#include "ssl4rl/image/scene.h"
#include "ssl4rl/io/file.h"
#include "ssl4rl/models/model.h"
#include "ssl4rl/text/tokenizer.h"

namespace ssl4rl::cli {
namespace {
namespace fs = std::filesystem;
using Json = nlohmann::ordered_json;

// tokenizer.json: the 256 bytes' letters in the order of their code points, the merges, the added tokens.
Json demo_tokenizer() {
  std::vector<std::string> alphabet;
  const auto utf8 = [](char32_t c) {
    return c < 0x80 ? std::string(1, static_cast<char>(c))
                    : std::string{static_cast<char>(0xC0 | c >> 6), static_cast<char>(0x80 | (c & 0x3F))};
  };
  for (char32_t c = '!'; c <= 0x143; ++c)
    if (c <= '~' || (c >= 0xA1 && c <= 0xAC) || (c >= 0xAE && c <= 0xFF) || c >= 0x100) alphabet.push_back(utf8(c));
  SSL4RL_CHECK(alphabet.size() == 256, "{} letters", alphabet.size());
  Json vocabulary = Json::object(), merges = Json::array(), added = Json::array();
  int64_t id = 0;
  for (const std::string& letter : alphabet) vocabulary[letter] = id++;
  for (const char* merge : demo::kMerges) {
    std::string joined = merge;
    joined.erase(joined.find(' '), 1);
    vocabulary[joined] = id++;
    merges.push_back(merge);
  }
  for (const char* token : demo::kAdded)
    added.push_back({{"id", id++},
                     {"content", token},
                     {"single_word", false},
                     {"lstrip", false},
                     {"rstrip", false},
                     {"normalized", false},
                     {"special", true}});
  const Json bytes{{"type", "ByteLevel"}, {"add_prefix_space", false}, {"trim_offsets", false}, {"use_regex", false}};
  return {{"version", "1.0"},
          {"truncation", nullptr},
          {"padding", nullptr},
          {"added_tokens", added},
          {"normalizer", {{"type", "NFC"}}},
          {"pre_tokenizer",
           {{"type", "Sequence"},
            {"pretokenizers", Json::array({{{"type", "Split"},
                                            {"pattern", {{"Regex", text::kQwen2Pattern}}},
                                            {"behavior", "Isolated"},
                                            {"invert", false}},
                                           bytes})}}},
          {"post_processor", bytes},
          {"decoder", bytes},
          {"model",
           {{"type", "BPE"},
            {"dropout", nullptr},
            {"unk_token", nullptr},
            {"continuing_subword_prefix", ""},
            {"end_of_word_suffix", ""},
            {"fuse_unk", false},
            {"byte_fallback", false},
            {"ignore_merges", false},
            {"vocab", vocabulary},
            {"merges", merges}}}};
}

void write_small_files(const fs::path& folder) {
  io::write_file(folder / "config.json", demo::kConfig);
  io::write_file(folder / "generation_config.json", demo::kGenerationConfig);
  io::write_file(folder / "preprocessor_config.json", demo::kPreprocessorConfig);
  io::write_file(folder / "tokenizer.json", demo_tokenizer().dump(1) + "\n");
  const Json tokenizer{{"tokenizer_class", "Qwen2Tokenizer"},
                       {"chat_template", demo::kChatTemplate},
                       {"eos_token", "<|im_end|>"},
                       {"pad_token", "<|endoftext|>"},
                       {"unk_token", nullptr},
                       {"bos_token", nullptr},
                       {"add_bos_token", false},
                       {"model_max_length", 32768}};
  io::write_file(folder / "tokenizer_config.json", tokenizer.dump(2) + "\n");
  io::write_file(folder / "chat_template.json", Json{{"chat_template", demo::kChatTemplate}}.dump(2) + "\n");
}

// Matrices are normal with the preset's deviation, norm weights one, biases zero.
void write_weights(const fs::path& folder, uint64_t seed) {
  const auto processor = std::make_shared<const models::Processor>(folder);
  models::Weights weights;
  uint64_t number = 0;
  for (const models::Parameter& parameter : models::parameter_table(processor->config(), weights)) {
    *parameter.tensor = at::empty(parameter.shape, at::kFloat);
    if (parameter.shape.size() > 1) {
      Rng name(seed, Stream::kWeights, {number});
      parameter.tensor->normal_(0, demo::kInitStd, at::detail::createCPUGenerator(name.next64()));
    } else {
      parameter.tensor->fill_(parameter.name.ends_with(".bias") ? 0 : 1);
    }
    ++number;
  }
  if (processor->config().text.tie_embeddings) weights.head = weights.embedding;
  models::Model(processor, weights).save(folder);
}

void draw_images(const fs::path& folder, uint64_t seed, const Log& log) {
  Pipeline<std::string> pngs(0, data_threads(std::thread::hardware_concurrency()), 64, [seed](int64_t i) {
    if (i >= demo::kImages) return std::string();
    Rng rng(seed, Stream::kScene, {static_cast<uint64_t>(i)});
    return image::encode_png(image::draw_scene(demo::kImageSide, rng));
  });
  Progress progress(log, "drawing", demo::kImages);
  for (int i = 0; i < demo::kImages; ++i) {
    io::OutputFile file(folder / fmt::format("{:05}.png", i), io::OutputFile::Mode::kTruncate);
    file.write(pngs.next());
    file.close();
    progress.update(i + 1);
  }
}

int run(App& app, const fs::path& output, uint64_t seed) {
  if (fs::exists(output / "config.json")) fail("{}: holds a model already; choose another --output", output.string());
  app.begin_work();
  io::make_folder(output / "images");
  write_small_files(output);
  write_weights(output, seed);
  draw_images(output / "images", seed, app.log());
  app.log().info("wrote a random model to {} and {} drawn images to {}", output.string(), demo::kImages,
                 (output / "images").string());
  return kDone;
}

}  // namespace

Action add_init(CLI::App& command) {
  struct Options {
    std::string preset;
    fs::path output;
    uint64_t seed = 0;
  };
  auto options = std::make_shared<Options>();
  command.add_option("--preset", options->preset, "demo: 1.6 million parameters and 6,000 pictures of 56×56 pixels")
      ->required()
      ->check(CLI::IsMember({"demo"}))
      ->type_name("NAME");
  command.add_option("--output", options->output, "model directory to write; the pictures go to its folder images")
      ->required()
      ->type_name("DIR");
  command.add_option("--seed", options->seed, "of the random numbers")->capture_default_str()->type_name("S");
  return [options](App& app) { return run(app, options->output, options->seed); };
}

}  // namespace ssl4rl::cli
