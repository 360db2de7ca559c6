// Whole runs of the program with every algorithm, on recorded rollouts: a resume gives the same bits, and settings that
// cannot matter are named.
#include <gtest/gtest.h>

#include "advice.h"
#include "support/training.h"

namespace ssl4rl {
namespace {
namespace fs = std::filesystem;
using Json = nlohmann::json;
using Keys = std::map<std::string, Json>;

Keys with(Keys more) {
  Keys keys{{"rollout.replay", (test_data() / "training/on_policy.jsonl").string()},
            {"train.steps", 4},
            {"train.learning_rate", 1e-3},
            {"train.save_every", 2},
            {"train.prompts_per_update", 2},
            {"rollout.max_completion_length", 16}};
  for (auto& [key, value] : more) keys[key] = value;
  return keys;
}

// Every file of a checkpoint but those that name paths.
std::map<std::string, std::string> content_of(const fs::path& folder) {
  std::map<std::string, std::string> files;
  for (const auto& entry : fs::recursive_directory_iterator(folder))
    if (entry.is_regular_file()) files[entry.path().lexically_relative(folder).string()] = io::read_file(entry.path());
  return files;
}

void expect_resume_to_be_exact(const Keys& keys) {
  const TemporaryFolder folder;
  ASSERT_EQ(run_training(folder.path(), keys), 0);
  const fs::path last = folder.path() / "run/checkpoints/step-000004";
  const auto whole = content_of(last);
  const auto metrics = metrics_of(folder.path());
  fs::remove_all(last);
  ASSERT_EQ(run_training(folder.path(), keys, "train", {"--resume", "auto"}), 0);
  const auto resumed = content_of(last);
  ASSERT_EQ(whole.size(), resumed.size());
  for (const auto& [name, bytes] : whole) EXPECT_TRUE(resumed.at(name) == bytes) << name;
  const auto again = metrics_of(folder.path());
  ASSERT_EQ(again.size(), 4u);
  for (size_t i = 0; i < 4; ++i) EXPECT_EQ(again[i]["loss"], metrics[i]["loss"]) << i + 1;
  EXPECT_NE(metrics[0]["loss"], metrics[3]["loss"]) << "the weights change";
}

TEST(Algorithms, PpoWithAValueHeadResumesExactly) {
  expect_resume_to_be_exact(with({{"algorithm.name", "ppo"},
                                  {"algorithm.num_iterations", 2},
                                  {"algorithm.beta", 0.1},
                                  {"algorithm.kl_in_reward", true},
                                  {"algorithm.kl_target", 0.01},
                                  {"algorithm.kl_horizon", 50}}));
}

TEST(Algorithms, PpoWithASeparateCriticResumesExactly) {
  expect_resume_to_be_exact(
      with({{"algorithm.name", "ppo"}, {"algorithm.critic", "separate"}, {"algorithm.critic_learning_rate", 2e-3}}));
}

TEST(Algorithms, LoraWithDropoutAndAReferenceResumesExactly) {
  expect_resume_to_be_exact(with({{"model.lora.rank", 4},
                                  {"model.lora.dropout", 0.2},
                                  {"model.lora.vision", true},
                                  {"algorithm.beta", 0.1},
                                  {"model.gradient_checkpointing", true}}));
}

TEST(Algorithms, TheOthersResumeExactly) {
  for (const char* name : {"rloo", "reinforce++", "reinforce++_baseline"})
    expect_resume_to_be_exact(with({{"algorithm.name", name}}));
}

TEST(Algorithms, MicroBatchesDoNotMatterForAnyLoss) {
  for (const char* loss : {"dapo", "grpo", "bnpo", "dr_grpo", "cispo", "sapo"}) {
    std::vector<double> norms;
    for (const int tokens : {100000, 1}) {
      const TemporaryFolder folder;
      ASSERT_EQ(run_training(folder.path(), with({{"algorithm.loss_type", loss},
                                                  {"algorithm.importance_sampling_level", "sequence"},
                                                  {"algorithm.entropy_coef", 0.01},
                                                  {"train.steps", 1},
                                                  {"train.micro_batch_tokens", tokens}})),
                0);
      norms.push_back(metrics_of(folder.path())[0]["grad_norm"].get<double>());
    }
    EXPECT_NEAR(norms[0] / norms[1], 1, 1e-4) << loss;
  }
}

TEST(Algorithms, AReplayThatDoesNotFitIsRefusedBeforeAnyWork) {
  const TemporaryFolder folder;
  EXPECT_EQ(run_training(folder.path(), with({{"train.prompts_per_step", 3}})), 2);
  io::write_file(folder.path() / "broken.jsonl",
                 "{\"messages\": [{\"role\": \"user\", \"content\": \"x\"}], \"completion_ids\": [1], \"group\": 1}\n");
  EXPECT_EQ(run_training(folder.path(), with({{"rollout.replay", (folder.path() / "broken.jsonl").string()}})), 2);
  EXPECT_FALSE(fs::exists(folder.path() / "run"));
}

TEST(Algorithms, ConversationsAreImitated) {
  const TemporaryFolder folder;
  const std::string image = (test_data() / "images/rgb.png").string();
  io::write_file(folder.path() / "talk.jsonl",
                 Json{{"messages", Json::array({{{"role", "user"},
                                                 {"content", Json::array({{{"type", "image"}, {"image", image}},
                                                                          {{"type", "text"}, {"text", "Which?"}}})}},
                                                {{"role", "assistant"}, {"content", "<answer>90</answer>"}}})}}
                         .dump() +
                     "\n");
  const Keys keys{{"sft.data", (folder.path() / "talk.jsonl").string()},
                  {"train.steps", 30},
                  {"train.prompts_per_step", 2},
                  {"train.learning_rate", 3e-3}};
  ASSERT_EQ(run_training(folder.path(), keys, "sft"), 0);
  const auto metrics = metrics_of(folder.path());
  EXPECT_LT(metrics.back()["loss"].get<double>(), 0.1 * metrics.front()["loss"].get<double>());
}

TEST(Algorithms, ATowerTrainedAlonePassesOverBatchesWithoutImages) {
  const TemporaryFolder folder;
  const auto talk = [](const Json& content) {
    return Json{{"messages", {{{"role", "user"}, {"content", content}}, {{"role", "assistant"}, {"content", "yes"}}}}};
  };
  const Json picture = Json::array({{{"type", "image"}, {"image", (test_data() / "images/rgb.png").string()}}});
  io::write_file(folder.path() / "talk.jsonl", talk("Hello").dump() + "\n" + talk(picture).dump() + "\n");
  const Keys keys{{"sft.data", (folder.path() / "talk.jsonl").string()},
                  {"model.freeze", "[language, embeddings]"},
                  {"train.steps", 2},
                  {"train.prompts_per_step", 2},
                  {"train.micro_batch_tokens", 1}};
  ASSERT_EQ(run_training(folder.path(), keys, "sft"), 0);
  EXPECT_GT(metrics_of(folder.path()).back()["grad_norm"].get<double>(), 0);
}

TEST(Advice, NamesSettingsThatCannotMatter) {
  cli::RunConfig config;
  const TemporaryFolder folder;
  io::write_file(folder.path() / "c.yaml",
                 "algorithm: {epsilon: 0.1, kl_estimator: k1, gamma: 0.9, vf_coef: 1}\nmodel: {lora: {alpha: "
                 "3}}\ntrain: {min_lr_ratio: 0.1}\n");
  const auto keys = cli::read_run_config(config, folder.path() / "c.yaml", {});
  const auto advice = cli::settings_without_effect(config, keys, false);
  EXPECT_EQ(advice.size(), 6u);
  for (const char* key : {"algorithm.epsilon ", "algorithm.kl_estimator ", "algorithm.gamma ", "algorithm.vf_coef ",
                          "model.lora.alpha ", "train.min_lr_ratio "})
    EXPECT_EQ(
        std::count_if(advice.begin(), advice.end(), [&](const std::string& text) { return text.starts_with(key); }), 1)
        << key;
  config.algorithm.beta = 0.1;
  config.algorithm.num_iterations = 2;
  EXPECT_EQ(cli::settings_without_effect(config, keys, false).size(), 4u);
}

}  // namespace
}  // namespace ssl4rl
