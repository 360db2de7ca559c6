#include "ssl4rl/rl/config.h"

namespace ssl4rl::rl {

void AlgorithmConfig::describe(config::Section& s) {
  s.add("name", name, {{"grpo", Estimator::kGrpo}})
      .help("the advantage's estimator: grpo = reward relative to the group's");
  s.add("loss_type", loss_type,
        {{"dapo", LossType::kDapo},
         {"token-mean", LossType::kDapo},
         {"grpo", LossType::kGrpo},
         {"dr_grpo", LossType::kDrGrpo}})
      .help(
          "how tokens add up: dapo = mean over all tokens; grpo = mean over samples of each sample's mean; dr_grpo = "
          "sum over samples × max_completion_length");
  s.add("epsilon", epsilon)
      .alias("clip_ratio")
      .alias("clip_ratio_low")
      .at_least(0)
      .below(1)
      .help("the probability ratio is clipped below 1 - epsilon");
  s.add("epsilon_high", epsilon_high)
      .alias("clip_ratio_high")
      .at_least(0)
      .unset_means("epsilon")
      .help("and above 1 + epsilon_high");
  s.add("beta", beta)
      .alias("kl_loss_coef")
      .at_least(0)
      .help("weight of the KL divergence from the starting model in the loss; 0: no reference model is loaded");
  s.add("kl_estimator", kl_estimator, {{"k3", KlEstimator::kK3}, {"low_var_kl", KlEstimator::kK3}})
      .help("k3: exp(d) - d - 1 with d = log reference - log policy");
  s.add("scale_rewards", scale_rewards,
        {{"group", ScaleRewards::kGroup}, {"batch", ScaleRewards::kBatch}, {"none", ScaleRewards::kNone}})
      .help(
          "advantages are divided by the rewards' standard deviation in the group, in the whole batch, or not at all");
  s.add("num_iterations", num_iterations).alias("ppo_epochs").at_least(1).help("passes of updates over each rollout");
  s.add("max_logprob_gap", max_logprob_gap)
      .at_least(0)
      .unset_means("1e-3 in float32, 0.1 in bfloat16")
      .help(
          "largest mean difference between the sampler's and the trainer's log-probs; beyond it the run stops with an "
          "error; 0: off");
}

void SftConfig::describe(config::Section& s) {
  s.add("labels", labels, {{"true", Labels::kTrue}, {"random", Labels::kRandom}})
      .help("true: the puzzles' answers; random: any legal answer, which teaches the format alone");
}

}  // namespace ssl4rl::rl
