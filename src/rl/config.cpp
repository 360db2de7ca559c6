#include "ssl4rl/rl/config.h"

#include "ssl4rl/base/error.h"

namespace ssl4rl::rl {

void AlgorithmConfig::describe(config::Section& s) {
  s.add("name", name,
        {{"grpo", Estimator::kGrpo},
         {"ppo", Estimator::kPpo},
         {"gae", Estimator::kPpo},
         {"rloo", Estimator::kRloo},
         {"reinforce++", Estimator::kReinforce},
         {"reinforce_plus_plus", Estimator::kReinforce},
         {"reinforce++_baseline", Estimator::kReinforceBaseline},
         {"reinforce_plus_plus_baseline", Estimator::kReinforceBaseline},
         {"remax", Estimator::kRemax}})
      .alias("adv_estimator")
      .help(
          "the advantage's estimator: grpo = reward relative to its group; rloo = against the group's others; "
          "reinforce++ = whitened return, _baseline: less "
          "the group's mean; "
          "remax = against a greedy sample; ppo = generalised advantages of a critic");
  s.add("loss_type", loss_type,
        {{"dapo", LossType::kDapo},
         {"token-mean", LossType::kDapo},
         {"grpo", LossType::kGrpo},
         {"seq-mean-token-mean", LossType::kGrpo},
         {"bnpo", LossType::kBnpo},
         {"dr_grpo", LossType::kDrGrpo},
         {"seq-mean-token-sum-norm", LossType::kDrGrpo},
         {"cispo", LossType::kCispo},
         {"sapo", LossType::kSapo}})
      .alias("loss_agg_mode")
      .help(
          "dapo, bnpo = mean over all tokens; grpo = mean over samples of each sample's mean; dr_grpo = sum over "
          "samples × max_completion_length; cispo = "
          "weighted log-probs, mean "
          "over all tokens; sapo = soft gate instead of the clip, mean as grpo");
  s.add("importance_sampling_level", importance_sampling_level,
        {{"token", Level::kToken}, {"sequence", Level::kSequence}})
      .help("the probability ratio is each token's own, or the sample's geometric mean (GSPO)");
  s.add("epsilon", epsilon)
      .alias("clip_ratio")
      .alias("clip_ratio_low")
      .at_least(0)
      .below(1)
      .help("the probability ratio is clipped below 1 - epsilon");
  s.add("epsilon_high", epsilon_high)
      .alias("clip_ratio_high")
      .at_least(0)
      .unset_means("epsilon; cispo: 5")
      .help("and above 1 + epsilon_high; with cispo the largest weight itself");
  s.add("delta", delta)
      .alias("clip_ratio_c")
      .above(1)
      .unset_means("none; compat verl: 3")
      .help("dual clip: the ratio counts at most so much where the advantage is negative");
  s.add("sapo_temperature_pos", sapo_temperature_pos)
      .above(0)
      .help("sapo's temperature where the advantage is positive");
  s.add("sapo_temperature_neg", sapo_temperature_neg).above(0).help("and where it is not");
  s.add("beta", beta)
      .alias("kl_loss_coef")
      .alias("kl_coef")
      .at_least(0)
      .help("weight of the KL divergence from the starting model; 0: no reference model is loaded");
  s.add("kl_estimator", kl_estimator,
        {{"k3", KlEstimator::kK3},
         {"low_var_kl", KlEstimator::kK3},
         {"k1", KlEstimator::kK1},
         {"kl", KlEstimator::kK1},
         {"k2", KlEstimator::kK2},
         {"mse", KlEstimator::kK2},
         {"abs", KlEstimator::kAbs}})
      .alias("kl_loss_type")
      .alias("kl_penalty")
      .help("with d = log reference - log policy: k1 = -d, k2 = d²/2, k3 = exp(d) - d - 1, abs = |d|");
  s.add("kl_in_reward", kl_in_reward)
      .alias("use_kl_in_reward")
      .help("the KL divergence lowers each token's reward instead of standing in the loss");
  s.add("kl_target", kl_target)
      .above(0)
      .unset_means("beta stays")
      .help("with kl_in_reward: beta is adapted so that the mean KL divergence nears this");
  s.add("kl_horizon", kl_horizon).at_least(1).help("samples over which beta is adapted");
  s.add("entropy_coef", entropy_coef).alias("entropy_coeff").at_least(0).help("weight of the entropy bonus");
  s.add("scale_rewards", scale_rewards,
        {{"group", ScaleRewards::kGroup},
         {"task", ScaleRewards::kTask},
         {"batch", ScaleRewards::kBatch},
         {"none", ScaleRewards::kNone}})
      .help(
          "grpo: advantages are divided by the rewards' standard deviation in the group, among the task's samples, in "
          "the whole batch, or not at all");
  s.add(
       "multi_objective_aggregation", multi_objective_aggregation,
       {{"sum_then_normalize", Aggregation::kSumThenNormalize}, {"normalize_then_sum", Aggregation::kNormalizeThenSum}})
      .help(
          "grpo with several reward functions: the weighted sum is compared, or each function is normalised in its "
          "group first (GDPO)");
  s.add("difficulty_weight", difficulty_weight)
      .help("groups count with 4·d·(1 - d), d their mean accuracy (PuzzleCraft)");
  s.add("filter_groups", filter_groups).help("groups of equal reward are drawn anew (dynamic sampling)");
  s.add("max_resample", max_resample).at_least(1).help("times that a group is drawn anew at most");
  s.add("mask_truncated", mask_truncated)
      .alias("mask_truncated_completions")
      .help("samples that were cut off at max_completion_length take no part in the loss");
  s.add("num_iterations", num_iterations).alias("ppo_epochs").at_least(1).help("passes of updates over each rollout");
  s.add("gamma", gamma).at_least(0).at_most(1).help("discount per token, of ppo and reinforce++");
  s.add("lam", lam).at_least(0).at_most(1).help("λ of the generalised advantages");
  s.add("whiten_advantages", whiten_advantages)
      .help("ppo: advantages get mean 0 and variance 1 over the step's tokens");
  s.add("critic", critic, {{"head", CriticKind::kHead}, {"separate", CriticKind::kSeparate}})
      .help("ppo: a value head on the policy's trunk, or a model of its own");
  s.add("vf_coef", vf_coef).at_least(0).help("weight of the value loss");
  s.add("cliprange_value", cliprange_value)
      .above(0)
      .unset_means("0.2; compat verl: 0.5")
      .help("values are clipped to so much around the old ones");
  s.add("critic_learning_rate", critic_learning_rate)
      .at_least(0)
      .unset_means("train.learning_rate")
      .help("of a separate critic");
  s.add("max_logprob_gap", max_logprob_gap)
      .at_least(0)
      .unset_means("1e-3 in float32, 0.1 in bfloat16")
      .help(
          "largest mean difference between the sampler's and the trainer's log-probs; beyond it the run stops with an "
          "error; 0: off")
      .changeable();
  s.add("compat", compat, {{"none", Compat::kNone}, {"trl", Compat::kTrl}, {"verl", Compat::kVerl}})
      .help("compute every detail (epsilons, clamps, reductions, decayed weights) as that library does");
}

void AlgorithmConfig::check() const {
  if (kl_in_reward && beta == 0) fail("algorithm.kl_in_reward: needs algorithm.beta above 0");
  if (kl_target && !kl_in_reward) fail("algorithm.kl_target: needs algorithm.kl_in_reward: true");
  const bool clips = loss_type != LossType::kCispo && loss_type != LossType::kSapo;
  if (delta && clips && *delta <= 1 + upper_epsilon())
    fail("algorithm.delta: {} must exceed 1 + epsilon_high = {}", *delta, 1 + upper_epsilon());
  if (difficulty_weight && uses_critic())
    fail("algorithm.difficulty_weight: weighs the advantages of groups; algorithm.name ppo has none");
  if (filter_groups && !compares_groups())
    fail(
        "algorithm.filter_groups: only algorithms that compare the samples of a group can leave out groups of equal "
        "reward");
  if (multi_objective_aggregation == Aggregation::kNormalizeThenSum && (name != Estimator::kGrpo || kl_in_reward))
    fail(
        "algorithm.multi_objective_aggregation: normalize_then_sum needs algorithm.name grpo and "
        "algorithm.kl_in_reward false");
}

void SftConfig::describe(config::Section& s) {
  s.add("labels", labels, {{"true", Labels::kTrue}, {"random", Labels::kRandom}})
      .help("true: the puzzles' answers; random: any legal answer, which teaches the format alone");
  s.add("data", data)
      .unset_means("puzzles")
      .help("JSONL of conversations to imitate instead of puzzles; the last message is the assistant's");
}

}  // namespace ssl4rl::rl
