#include "run_parts.h"

#include "experiment.h"
#include "ssl4rl/base/error.h"
#include "ssl4rl/models/lora.h"

namespace ssl4rl::cli {

std::shared_ptr<train::ShardedWeights> make_sharded(const App& app, const RunConfig& config) {
  const bool sharded = config.distributed.shard == train::DistributedConfig::Shard::kParameters;
  if (!sharded || app.communicator().ranks() == 1) return nullptr;
  return std::make_shared<train::ShardedWeights>(app.communicator());
}

namespace {

// Loads a model, of which no more is ever whole here than a tensor if `sharded` takes them.
std::unique_ptr<models::Model> load_sharded(App& app, const std::filesystem::path& folder,
                                            std::shared_ptr<const models::Processor> processor, const Runtime& runtime,
                                            const std::shared_ptr<train::ShardedWeights>& sharded,
                                            const std::set<models::Part>& but_for = {}) {
  models::Loaded take;
  if (sharded)
    take = [&](const models::Parameter& parameter) {
      if (!but_for.contains(parameter.part)) sharded->add(parameter);
    };
  auto model = load_model(app, folder, std::move(processor), runtime, take);
  model->set_keeper(sharded);
  return model;
}

train::Decay decay_of(const RunConfig& config, RunKind kind) {
  if (kind == RunKind::kSupervised) return train::Decay::kMatrices;
  switch (config.algorithm.compat) {
    case rl::AlgorithmConfig::Compat::kNone:
      return train::Decay::kMatrices;
    case rl::AlgorithmConfig::Compat::kTrl:
      return train::Decay::kByName;
    case rl::AlgorithmConfig::Compat::kVerl:
      return train::Decay::kAll;
  }
  return train::Decay::kMatrices;
}

std::unique_ptr<rl::Critic> make_critic(App& app, const RunConfig& config, const models::Model& policy,
                                        const Runtime& runtime) {
  if (config.algorithm.critic == rl::AlgorithmConfig::CriticKind::kHead) return std::make_unique<rl::Critic>(policy);
  app.log().info("loading the critic's model");
  const auto sharded = make_sharded(app, config);
  auto model = load_sharded(app, config.model.path, policy.shared_processor(), runtime, sharded);
  model->set_recompute(config.model.gradient_checkpointing);
  return std::make_unique<rl::Critic>(std::move(model), config.model.frozen_parts(), config.train, app.communicator(),
                                      sharded);
}

}  // namespace

void find_data(RunParts& parts, const RunInput& input, const std::optional<train::FoundCheckpoint>& checkpoint) {
  const RunConfig& config = input.config;
  if (!input.from_file || config.train.eval_every > 0) {
    parts.images = tasks::split_images(config.data, static_cast<uint64_t>(config.run.seed));
    parts.mixture = make_mixture(config, parts.images.training);
  }
  if (checkpoint) parts.state = train::read_state(checkpoint->folder);
  if (auto* const curriculum = parts.mixture ? parts.mixture->curriculum() : nullptr) {
    if (checkpoint) curriculum->restore(parts.state.curriculum);
    parts.state.curriculum = curriculum->state();
  }
}

void load_policy(App& app, RunParts& parts, const RunInput& input,
                 const std::optional<train::FoundCheckpoint>& checkpoint, const Runtime& runtime) {
  const RunConfig& config = input.config;
  const bool lora = config.model.lora.rank > 0;
  parts.policy = load_sharded(app, checkpoint && !lora ? checkpoint->folder : config.model.path, input.processor,
                              runtime, parts.sharded);
  parts.policy->set_recompute(config.model.gradient_checkpointing);
  if (lora && checkpoint) {
    models::load_adapters(*parts.policy, checkpoint->folder);
  } else if (lora) {
    models::add_adapters(*parts.policy, config.model.lora, static_cast<uint64_t>(config.run.seed), config.model.path);
  }
  if (lora && parts.sharded)
    for (const auto& parameter : models::adapter_parameters(*parts.policy)) parts.sharded->add(parameter);
}

std::vector<models::Parameter> policy_parameters(const RunConfig& config, models::Model& policy) {
  return config.model.lora.rank > 0 ? models::adapter_parameters(policy) : policy.parameters();
}

void make_optimizer(App& app, RunParts& parts, const RunConfig& config, RunKind kind,
                    const std::optional<train::FoundCheckpoint>& checkpoint, const Runtime& runtime) {
  std::vector<models::Parameter> parameters = policy_parameters(config, *parts.policy);
  if (kind == RunKind::kRl && config.algorithm.uses_critic()) {
    parts.critic = make_critic(app, config, *parts.policy, runtime);
    for (auto& parameter : parts.critic->shared_parameters()) parameters.push_back(std::move(parameter));
  }
  parts.optimizer = std::make_unique<train::AdamW>(std::move(parameters), config.model.frozen_parts(), config.train,
                                                   decay_of(config, kind), app.communicator(), parts.sharded);
  if (!checkpoint) return;
  (void)train::load_checkpoint(checkpoint->folder, *parts.optimizer);
  if (parts.critic) parts.critic->load(checkpoint->folder / "trainer");
}

DataOfRun data_of(const RunInput& input, RunKind kind, const RunParts& parts) {
  DataOfRun data{.replay = input.replay, .mixture = parts.mixture, .supervised = kind == RunKind::kSupervised};
  if (input.conversations) data.example = [&input](int64_t index) { return (*input.conversations)(index); };
  return data;
}

std::unique_ptr<models::Model> load_reference(App& app, const RunConfig& config, models::Model& policy,
                                              const std::shared_ptr<train::ShardedWeights>& of_policy,
                                              Runtime runtime) {
  if (policy.weights().lora) {  // the base without its adapters, at no cost
    auto base = std::make_unique<models::Model>(policy.shared_processor(), models::without_adapters(policy.weights()));
    base->set_keeper(of_policy);
    return base;
  }
  app.log().info("loading the reference model for algorithm.beta");
  if (config.train.offloads("reference")) runtime.device = at::kCPU;
  const auto frozen = config.model.frozen_parts();
  const auto sharded = make_sharded(app, config);
  auto reference = load_sharded(app, config.model.path, policy.shared_processor(), runtime, sharded, frozen);
  auto own = reference->parameters();
  const auto shared = policy.parameters();
  for (size_t i = 0; i < own.size(); ++i) {
    if (!frozen.contains(own[i].part)) continue;
    *own[i].tensor = *shared[i].tensor;
    if (sharded) sharded->share(own[i], *of_policy);
  }
  if (reference->config().text.tie_embeddings) reference->weights().head = reference->weights().embedding;
  return reference;
}

}  // namespace ssl4rl::cli
