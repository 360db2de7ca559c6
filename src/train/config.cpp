#include "ssl4rl/train/config.h"

#include <algorithm>
#include <cmath>
#include <numbers>

#include "ssl4rl/base/error.h"

namespace ssl4rl::train {

void RunConfig::describe(config::Section& s) {
  s.add("name", name)
      .help("name of the run's folder; empty: the configuration file's name without its ending")
      .changeable();
  s.add("output_dir", output_dir).help("folder of all runs").changeable();
  s.add("seed", seed).at_least(0).help("all random numbers follow from it");
  s.add("threads", threads)
      .at_least(1)
      .unset_means("all cores, or fewer where a trial at the start is decisively faster")
      .help("threads of the tensor operations; a run keeps what it began with. Results do not depend on it")
      .changeable();
  s.add("deterministic", deterministic)
      .help("use only operations that give the same bits every time, and choose nothing by trial")
      .changeable("sums may differ in their last bits");
  s.add("accept_changes", accept_changes)
      .help("a resume goes on although keys differ with which it becomes another run")
      .changeable();
}

void TrainConfig::describe(config::Section& s) {
  s.add("steps", steps)
      .at_least(1)
      .unset_means("required")
      .help("steps of the run: one rollout and its updates each")
      .changeable(lr_scheduler == Schedule::kConstant ? "" : "the learning rates that follow change with it");
  s.add("prompts_per_step", prompts_per_step).at_least(1).help("puzzles drawn in a step");
  s.add("prompts_per_update", prompts_per_update)
      .at_least(1)
      .unset_means("prompts_per_step")
      .help("puzzles of one optimiser update; divides prompts_per_step");
  s.add("micro_batch_tokens", micro_batch_tokens)
      .at_least(1)
      .help("tokens of one forward and backward; changes memory, not results")
      .changeable("sums may differ in their last bits");
  s.add("learning_rate", learning_rate).alias("lr").at_least(0).help("AdamW's learning rate");
  s.add("lr_scheduler", lr_scheduler,
        {{"constant", Schedule::kConstant}, {"linear", Schedule::kLinear}, {"cosine", Schedule::kCosine}})
      .help("how the learning rate changes after the warm-up");
  s.add("warmup_steps", warmup_steps).at_least(0).help("steps in which the learning rate rises linearly");
  s.add("min_lr_ratio", min_lr_ratio)
      .at_least(0)
      .at_most(1)
      .help("share of the learning rate at which linear and cosine end");
  s.add("weight_decay", weight_decay)
      .at_least(0)
      .help("AdamW's decay of matrices; biases and norm weights are not decayed");
  s.add("adam_beta1", adam_beta1).at_least(0).below(1).help("AdamW's decay of the gradient's mean");
  s.add("adam_beta2", adam_beta2).at_least(0).below(1).help("AdamW's decay of the squared gradient's mean");
  s.add("adam_eps", adam_eps).above(0).help("AdamW's epsilon");
  s.add("max_grad_norm", max_grad_norm).alias("grad_clip").above(0).help("the gradient's global norm is clipped to it");
  s.add("optimizer_dtype", optimizer_dtype, {{"float32", at::kFloat}, {"bfloat16", at::kBFloat16}})
      .help("type of AdamW's two moments; bfloat16: half their memory, rounded at random so that small changes add up");
  s.add("offload", offload)
      .one_of({"optimizer", "reference"})
      .help(
          "what stays in the host's memory while a GPU computes: the optimiser's state (updates are computed on the "
          "CPU), the reference model (between its passes)")
      .changeable("sums may differ in their last bits");
  s.add("save_every", save_every).at_least(0).help("steps between checkpoints; 0: only at the end").changeable();
  s.add("save_in_background", save_in_background)
      .help(
          "a checkpoint is copied in memory and written while the next step runs; false, or where memory is short: the "
          "run waits for it")
      .changeable();
  s.add("keep_last", keep_last)
      .at_least(1)
      .unset_means("all, 1 with keep_best")
      .help("checkpoints to keep")
      .changeable();
  s.add("keep_best", keep_best)
      .at_least(1)
      .unset_means("none")
      .help(
          "checkpoints with the best evaluations (mean accuracy) that are kept besides the last ones; needs "
          "eval_every")
      .changeable();
  s.add("keep_every", keep_every)
      .at_least(1)
      .unset_means("none")
      .help("checkpoints whose step is a multiple of it are kept besides the last ones")
      .changeable();
  s.add("eval_every", eval_every)
      .at_least(0)
      .help("steps between evaluations on held-out images; 0: none")
      .changeable();
  s.add("max_skipped", max_skipped)
      .at_least(0)
      .help("updates in a row that may be skipped for a loss or gradient that is not finite")
      .changeable();
}

void TrainConfig::check() const {
  if (!steps) fail("train.steps: required");
  if (prompts_per_step % update_prompts() != 0)
    fail("train.prompts_per_update: {} does not divide train.prompts_per_step {}", update_prompts(), prompts_per_step);
  if (keep_best && eval_every == 0) fail("train.keep_best: needs train.eval_every");
  if (warmup_steps > *steps) fail("train.warmup_steps: {} exceeds train.steps {}", warmup_steps, *steps);
}

bool TrainConfig::offloads(const std::string& what) const {
  return std::find(offload.begin(), offload.end(), what) != offload.end();
}

double TrainConfig::learning_rate_at(int64_t step) const {
  if (step <= warmup_steps) return learning_rate * static_cast<double>(step) / static_cast<double>(warmup_steps);
  const double span = static_cast<double>(std::max<int64_t>(1, total_steps() - warmup_steps));
  const double progress = std::min(1.0, static_cast<double>(step - 1 - warmup_steps) / span);
  double factor = 1;
  switch (lr_scheduler) {
    case Schedule::kConstant:
      return learning_rate;
    case Schedule::kLinear:
      factor = 1 - progress;
      break;
    case Schedule::kCosine:
      factor = 0.5 * (1 + std::cos(std::numbers::pi * progress));
      break;
  }
  return learning_rate * (min_lr_ratio + (1 - min_lr_ratio) * factor);
}

void DistributedConfig::describe(config::Section& s) {
  s.add("backend", backend, {{"auto", Backend::kAuto}, {"gloo", Backend::kGloo}, {"nccl", Backend::kNccl}})
      .help("what carries the tensors between the processes; auto: gloo on the CPU, nccl on CUDA")
      .changeable();
  s.add("shard", shard, {{"optimizer", Shard::kOptimizer}, {"parameters", Shard::kParameters}})
      .help(
          "what is split over the processes: the optimiser's state, of which each holds its part; or the weights and "
          "gradients too: each block's are put together while it computes (model.gradient_checkpointing is then on)")
      .changeable();
  s.add("timeout", timeout).above(0).help("seconds that a process waits for the others in one exchange").changeable();
}

void LogConfig::describe(config::Section& s) {
  s.add("conflicts_every", conflicts_every)
      .at_least(0)
      .help("steps between comparisons of the tasks' gradients, one more forward and backward pass; 0: none")
      .changeable();
  s.add("completions_every", completions_every)
      .at_least(0)
      .help("steps between files of completions; 0: none")
      .changeable();
  s.add("tensorboard", tensorboard).help("write the metrics for TensorBoard too").changeable();
  s.add("level", level)
      .one_of({"debug", "info", "warn", "error", "off"})
      .help("least important messages that are shown")
      .changeable();
  s.add("warn_constant_answers", warn_constant_answers)
      .at_least(0)
      .at_most(1)
      .help("warn where so large a share of a task's answers is the same and wrong more often than right; 0: never")
      .changeable();
  s.add("warn_unparsed", warn_unparsed)
      .at_least(0)
      .at_most(1)
      .help("warn where no answer can be read in so large a share of the samples; 0: never")
      .changeable();
  s.add("warn_length_growth", warn_length_growth)
      .at_least(0)
      .help("warn where samples are so many times as long as in the first steps; 0: never")
      .changeable();
  s.add("warn_entropy", warn_entropy)
      .at_least(0)
      .below(1)
      .help("warn where the entropy falls to this share of the first steps'; 0: never")
      .changeable();
}

}  // namespace ssl4rl::train
