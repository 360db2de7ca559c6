#include "advice.h"

#include <fmt/format.h>

namespace ssl4rl::cli {

std::vector<std::string> settings_without_effect(const RunConfig& config, const config::Section& keys,
                                                 bool supervised) {
  std::vector<std::string> advice;
  // Says so where one of the keys was given although `matters` does not hold.
  const auto needs = [&](bool matters, std::initializer_list<const char*> names, const std::string& reason) {
    if (matters) return;
    for (const char* name : names)
      if (keys.given(name)) advice.push_back(fmt::format("{} has no effect: {}", name, reason));
  };
  using Algorithm = rl::AlgorithmConfig;
  const Algorithm& a = config.algorithm;
  const train::TrainConfig& t = config.train;

  needs(t.lr_scheduler != train::TrainConfig::Schedule::kConstant, {"train.min_lr_ratio"},
        "train.lr_scheduler is constant");
  needs(t.keep_last.has_value(), {"train.keep_every"}, "train.keep_last is not set, so every checkpoint stays");
  needs(!t.offloads("reference") || a.beta > 0, {"train.offload"}, "the reference model needs algorithm.beta");
  needs(t.eval_every > 0, {"eval.benches"}, "train.eval_every is 0");
  needs(config.model.lora.rank > 0,
        {"model.lora.alpha", "model.lora.dropout", "model.lora.targets", "model.lora.vision"}, "model.lora.rank is 0");
  if (supervised) {
    needs(!config.sft.data, {"sft.labels"}, "sft.data gives the answers");
    return advice;
  }

  const bool ppo = a.uses_critic(), cispo = a.loss_type == Algorithm::LossType::kCispo,
             sapo = a.loss_type == Algorithm::LossType::kSapo;
  const bool several_updates = a.num_iterations > 1 || t.update_prompts() < t.prompts_per_step || config.rollout.replay;
  needs(several_updates, {"algorithm.epsilon", "algorithm.epsilon_high", "algorithm.delta"},
        "with one update per rollout the ratio is 1; set train.prompts_per_update or algorithm.num_iterations");
  needs(!sapo, {"algorithm.epsilon", "algorithm.epsilon_high", "algorithm.delta"},
        "algorithm.loss_type sapo does not clip");
  needs(!cispo, {"algorithm.delta"}, "algorithm.loss_type cispo has its own cap, algorithm.epsilon_high");
  needs(!cispo || a.compat_verl(), {"algorithm.epsilon"}, "algorithm.loss_type cispo has no lower limit");
  needs(sapo, {"algorithm.sapo_temperature_pos", "algorithm.sapo_temperature_neg"}, "algorithm.loss_type is not sapo");
  needs(a.beta > 0, {"algorithm.kl_estimator"}, "algorithm.beta is 0");
  needs(a.kl_target.has_value(), {"algorithm.kl_horizon"}, "algorithm.kl_target is not set");
  needs(a.filter_groups, {"algorithm.max_resample"}, "algorithm.filter_groups is false");
  needs(a.name == Algorithm::Estimator::kGrpo, {"algorithm.scale_rewards"},
        "only algorithm.name grpo divides by a deviation");
  needs(a.multi_objective_aggregation == Algorithm::Aggregation::kSumThenNormalize, {"algorithm.scale_rewards"},
        "algorithm.multi_objective_aggregation normalize_then_sum scales in its own way");
  needs(ppo || a.name == Algorithm::Estimator::kReinforce, {"algorithm.gamma"}, "only ppo and reinforce++ discount");
  needs(ppo,
        {"algorithm.lam", "algorithm.critic", "algorithm.vf_coef", "algorithm.cliprange_value",
         "algorithm.whiten_advantages", "algorithm.critic_learning_rate"},
        "algorithm.name is not ppo");
  needs(!ppo || a.critic == Algorithm::CriticKind::kSeparate, {"algorithm.critic_learning_rate"},
        "the critic is a head on the policy's trunk");
  needs(!ppo || a.critic == Algorithm::CriticKind::kHead, {"algorithm.vf_coef"},
        "the critic has an optimiser of its own");
  needs(!config.rollout.replay, {"rollout.num_generations", "rollout.top_p", "rollout.top_k", "rollout.stop"},
        "rollout.replay gives the samples");
  return advice;
}

}  // namespace ssl4rl::cli
