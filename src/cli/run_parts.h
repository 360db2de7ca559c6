// What a run of `train` or `sft` is made of, and how it is loaded.
#pragma once

#include <memory>
#include <optional>
#include <vector>

#include "preflight.h"
#include "runtime.h"
#include "ssl4rl/cli/run_config.h"
#include "ssl4rl/rl/critic.h"
#include "ssl4rl/tasks/image_source.h"
#include "ssl4rl/tasks/mixture.h"
#include "ssl4rl/train/checkpoint.h"
#include "ssl4rl/train/run_directory.h"
#include "ssl4rl/train/sharded_weights.h"
#include "training_data.h"

namespace ssl4rl::cli {

enum class RunKind { kRl, kSupervised };

/// A configuration and what it names: the model's processor, and recorded data where there is some.
struct RunInput {
  RunConfig config;
  std::shared_ptr<const models::Processor> processor;
  std::vector<rl::Group> replay;
  std::optional<Conversations> conversations;
  bool from_file = false;  ///< the data, instead of puzzles
};

/// Filled in the order of the functions below.
struct RunParts {
  tasks::SplitImages images;  ///< none where the data comes from a file
  std::shared_ptr<const tasks::Mixture> mixture;
  std::unique_ptr<models::Model> policy;
  std::shared_ptr<train::ShardedWeights> sharded;  ///< the policy's; null: whole on each rank
  std::unique_ptr<rl::Critic> critic;
  std::unique_ptr<train::AdamW> optimizer;
  train::TrainerState state;
};

/// The images and what is drawn from them, at the level that a curriculum has reached.
void find_data(RunParts& parts, const RunInput& input, const std::optional<train::FoundCheckpoint>& checkpoint);
void load_policy(App& app, RunParts& parts, const RunInput& input,
                 const std::optional<train::FoundCheckpoint>& checkpoint, const Runtime& runtime);
/// With the critic, where there is one.
void make_optimizer(App& app, RunParts& parts, const RunConfig& config, RunKind kind,
                    const std::optional<train::FoundCheckpoint>& checkpoint, const Runtime& runtime);

/// Who splits a model's weights over the ranks, or null where they stay whole.
[[nodiscard]] std::shared_ptr<train::ShardedWeights> make_sharded(const App& app, const RunConfig& config);
/// The model that the policy starts from, for the KL divergence. Frozen parts are the policy's own tensors.
[[nodiscard]] std::unique_ptr<models::Model> load_reference(App& app, const RunConfig& config, models::Model& policy,
                                                            const std::shared_ptr<train::ShardedWeights>& of_policy,
                                                            Runtime runtime);
/// What is trained: the model's parameters, frozen ones among them, or its adapters'.
[[nodiscard]] std::vector<models::Parameter> policy_parameters(const RunConfig& config, models::Model& policy);
[[nodiscard]] DataOfRun data_of(const RunInput& input, RunKind kind, const RunParts& parts);

}  // namespace ssl4rl::cli
