#include "ssl4rl/models/config.h"

#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

#include "ssl4rl/io/file.h"
#include "ssl4rl/io/jsonl.h"
#include "ssl4rl/models/processor.h"
#include "support/errors.h"
#include "support/model_cases.h"
#include "support/temporary_folder.h"

namespace ssl4rl::models {
namespace {
namespace fs = std::filesystem;
using Json = nlohmann::ordered_json;

class Config : public testing::Test {
 protected:
  Config() {
    for (const auto& entry : fs::directory_iterator(tiny_model()))
      fs::copy(entry.path(), folder_.path() / entry.path().filename());
  }
  void change(const std::string& file, const std::function<void(Json&)>& edit) {
    Json json = io::read_json(folder_.path() / file);
    edit(json);
    io::write_file(folder_.path() / file, json.dump());
  }
  std::string complaint() {
    const std::string message = error_of([&] { const Processor processor(folder_.path()); });
    const size_t folder = message.find(folder_.path().string());
    return folder == std::string::npos ? message : message.substr(folder + folder_.path().string().size());
  }

  TemporaryFolder folder_;
};

// The flat form of the published checkpoints, made from the nested one.
Json flat_form(const Json& nested) {
  Json flat = nested["text_config"];
  flat["rope_theta"] = flat["rope_parameters"]["rope_theta"];
  flat["rope_scaling"] = {{"type", "mrope"}, {"mrope_section", flat["rope_parameters"]["mrope_section"]}};
  flat.erase("rope_parameters");
  for (const char* key : {"model_type", "image_token_id", "video_token_id", "vision_start_token_id",
                          "vision_end_token_id", "tie_word_embeddings", "vision_config"})
    flat[key] = nested[key];
  flat["vision_config"]["in_chans"] = flat["vision_config"]["in_channels"];
  flat["vision_config"].erase("in_channels");
  flat["torch_dtype"] = "bfloat16";
  return flat;
}

TEST_F(Config, OldAndNewFormsMeanTheSame) {
  const ModelConfig nested = read_model_config(folder_.path());
  change("config.json", [](Json& json) { json = flat_form(json); });
  const ModelConfig flat = read_model_config(folder_.path());
  EXPECT_EQ(flat.text.layers, 3);
  EXPECT_EQ(flat.text.head_dim, 16);
  EXPECT_EQ(flat.text.rope.sections, nested.text.rope.sections);
  EXPECT_EQ(flat.text.rope.theta, 1e6);
  EXPECT_TRUE(flat.text.tie_embeddings);
  EXPECT_EQ(flat.vision.full_blocks, nested.vision.full_blocks);
  EXPECT_EQ(flat.ids.image, nested.ids.image);
  change("config.json", [](Json& json) { json["rope_scaling"]["type"] = "default"; });
  EXPECT_EQ(complaint(), "no error");
}

TEST_F(Config, ImageSettingsStandInOneOfThreeForms) {
  EXPECT_EQ(read_model_config(folder_.path()).image.max_pixels, 12845056);
  change("preprocessor_config.json", [](Json& json) {
    json.erase("min_pixels");
    json.erase("max_pixels");
    json["size"] = {{"shortest_edge", 784}, {"longest_edge", 7840}};
  });
  EXPECT_EQ(read_model_config(folder_.path()).image.min_pixels, 784);
  io::write_file(folder_.path() / "processor_config.json",
                 Json{{"image_processor", io::read_json(folder_.path() / "preprocessor_config.json")}}.dump());
  fs::remove(folder_.path() / "preprocessor_config.json");
  EXPECT_EQ(read_model_config(folder_.path()).image.max_pixels, 7840);
}

TEST_F(Config, EndsOfSequenceComeFromTheFirstPlaceThatHasThem) {
  EXPECT_EQ(Processor(folder_.path()).end_of_sequence(), (std::vector<int64_t>{514, 512}));
  fs::remove(folder_.path() / "generation_config.json");
  EXPECT_EQ(Processor(folder_.path()).end_of_sequence(), (std::vector<int64_t>{514})) << "config.json's text_config";
  change("config.json", [](Json& json) { json["eos_token_id"] = 513; });
  EXPECT_EQ(Processor(folder_.path()).end_of_sequence(), (std::vector<int64_t>{513})) << "config.json's top level";
  change("config.json", [](Json& json) {
    json.erase("eos_token_id");
    json["text_config"].erase("eos_token_id");
  });
  EXPECT_EQ(Processor(folder_.path()).end_of_sequence(), (std::vector<int64_t>{514})) << "<|im_end|>";
}

TEST_F(Config, VisionIdsPaddingAndRowsBeyondTheTokenizerAreNeverSampled) {
  const auto forbidden = [&] { return Processor(folder_.path()).forbidden(); };
  for (const int64_t id : {521, 522, 523, 524, 525, 528, 575})
    EXPECT_TRUE(forbidden().is[static_cast<size_t>(id)]) << id;
  for (const int64_t id : {0, 512, 513, 514, 526, 527}) EXPECT_FALSE(forbidden().is[static_cast<size_t>(id)]) << id;
  change("generation_config.json", [](Json& json) { json["eos_token_id"] = 514; });
  EXPECT_TRUE(forbidden().is[512]) << "padding that ends no sample";
}

TEST_F(Config, MistakesAreNamed) {
  const auto complaint_after = [&](const std::string& file, const std::function<void(Json&)>& edit) {
    const std::string original = io::read_file(folder_.path() / file);
    change(file, edit);
    const std::string message = complaint();
    io::write_file(folder_.path() / file, original);
    return message;
  };
  EXPECT_EQ(complaint_after("config.json", [](Json& j) { j["model_type"] = "llava"; }),
            "/config.json: the model type \"llava\" is not supported; supported: qwen2_5_vl, qwen2_vl, qwen3_vl, "
            "qwen2, qwen3");
  EXPECT_EQ(complaint_after("config.json", [](Json& j) { j["text_config"].erase("hidden_size"); }),
            "/config.json: lacks \"text_config.hidden_size\"");
  EXPECT_NE(complaint_after("config.json", [](Json& j) { j["text_config"]["hidden_size"] = "x"; })
                .find("\"text_config.hidden_size\": type must be number"),
            std::string::npos);
  EXPECT_EQ(
      complaint_after("config.json", [](Json& j) { j["text_config"]["rope_parameters"]["rope_type"] = "dynamic"; }),
      "/config.json: the RoPE type \"dynamic\" is not supported; supported: default, mrope, linear, yarn");
  EXPECT_EQ(complaint_after("config.json", [](Json& j) { j["text_config"]["hidden_act"] = "gelu"; }),
            "/config.json: \"text_config.hidden_act\" is \"gelu\"; only \"silu\" is supported");
  EXPECT_EQ(complaint_after("config.json", [](Json& j) { j["text_config"]["vocab_size"] = 500; }),
            ": the tokenizer has 528 ids, the embedding only 500 rows");
  EXPECT_EQ(complaint_after("preprocessor_config.json", [](Json& j) { j["patch_size"] = 16; }),
            "/preprocessor_config.json: \"patch_size\" is 16, config.json says 14");
  fs::remove(folder_.path() / "tokenizer.json");
  EXPECT_EQ(complaint(), ": has neither tokenizer.json nor tokenizer.model");
  EXPECT_EQ(error_of([] { const Processor processor("/no/such"); }), "/no/such: no such model directory");
}

}  // namespace
}  // namespace ssl4rl::models
