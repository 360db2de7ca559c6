#include "preflight.h"

#include <ATen/ATen.h>
#include <fmt/chrono.h>

#include <algorithm>
#include <ctime>
#include <map>

#include "ssl4rl/base/error.h"
#include "ssl4rl/base/progress.h"
#include "ssl4rl/base/stopwatch.h"
#include "ssl4rl/nn/device_memory.h"
#include "ssl4rl/rl/run.h"

namespace ssl4rl::cli {
namespace {

constexpr int64_t kDrawn = 8;  // prompts that stand for all

std::string gib(int64_t bytes) { return fmt::format("{:.1f} GiB", static_cast<double>(bytes) / (1 << 30)); }

int64_t count_of(const std::vector<int64_t>& shape) {
  int64_t count = 1;
  for (const int64_t extent : shape) count *= extent;
  return count;
}

std::vector<rl::GroupLengths> lengths_of(const StepSample& sample, int64_t count) {
  std::vector<rl::GroupLengths> lengths;
  for (int64_t i = 0; i < count; ++i) {
    const StepSample::Part& part = sample.parts[static_cast<size_t>(i) % sample.parts.size()];
    lengths.push_back({part.prompt.length(), part.completions});
  }
  return lengths;
}

int64_t tokens_of(const std::vector<rl::GroupLengths>& groups, const std::vector<rl::MicroBatch>& batches) {
  int64_t tokens = 0;
  for (const rl::MicroBatch& batch : batches)
    for (const rl::GroupPart& part : batch) {
      tokens += groups[part.group].prompt;
      for (const size_t s : part.samples) tokens += groups[part.group].completions[s];
    }
  return tokens;
}

struct Pass {
  int64_t tokens = 0;
  double forward = 0, backward = 0;  // seconds
};

// The largest micro-batch: as many of the longest prompt's completions as fit one.
Pass try_update(const RunConfig& config, models::Model& policy, const StepSample& sample) {
  const StepSample::Part& longest = sample.parts.front();
  const std::vector<rl::GroupLengths> group{{longest.prompt.length(), longest.completions}};
  const auto batches = rl::micro_batches(group, config.train.micro_batch_tokens);
  if (batches.empty()) return {};
  const std::vector<int64_t> token = policy.processor().tokenizer().encode("a");
  std::vector<std::vector<int64_t>> completions;
  for (const size_t s : batches.front().front().samples)
    completions.emplace_back(static_cast<size_t>(longest.completions[s]), token.front());
  models::PackedGroup packed{&longest.prompt, {}};
  for (const auto& ids : completions) packed.completions.emplace_back(ids);
  Pass pass{.tokens = tokens_of(group, {batches.front()})};
  Stopwatch clock;
  const auto batch = models::pack({&packed, 1}, policy.config().ids.image, policy.device());
  const at::Tensor loss = policy.completion_logprobs(batch, config.rollout.temperature).logprob_T.sum();
  (void)loss.item<double>();
  pass.forward = clock.take();
  if (loss.requires_grad()) loss.backward();
  for (const auto& parameter : models::trained_parameters(policy)) {
    if (parameter.tensor->grad().defined()) (void)parameter.tensor->grad().view(-1)[0].item<double>();
    parameter.tensor->mutable_grad() = at::Tensor();
  }
  pass.backward = clock.take();
  return pass;
}

// Seconds of a step's rollouts if every sample is as long as allowed, from a few prompts and tokens.
struct Rollouts {
  double prompts = 0, tokens = 0;
};

Rollouts try_rollouts(const RunConfig& config, const models::Model& policy, const StepSample& sample, int ranks,
                      const InterruptGuard& interrupt) {
  const auto poll = [&interrupt](int64_t) { interrupt.check(); };
  constexpr int64_t kTokens = 8;
  std::vector<rollout::Request> requests;
  for (const StepSample::Part& part : sample.parts)
    requests.push_back({&part.prompt, config.rollout.num_generations, static_cast<uint64_t>(requests.size())});
  const rollout::Engine engine(policy);
  rollout::SamplingPlan plan{
      {config.rollout.temperature, config.rollout.top_p, config.rollout.top_k, config.rollout.min_p},
      1,
      config.rollout.stop,
      static_cast<uint64_t>(config.run.seed)};
  Stopwatch clock;
  (void)engine.generate(requests, plan, poll);
  const double first = clock.take();
  const int64_t longest = config.rollout.max_completion_length;
  double more = 0;
  if (longest > 1) {
    plan.max_new_tokens = std::min(kTokens + 1, longest);
    (void)engine.generate(requests, plan, poll);
    more = std::max(0.0, clock.take() - first) / static_cast<double>(plan.max_new_tokens - 1);
  }
  const double share = static_cast<double>(prompts_of_a_rank(config, ranks)) / static_cast<double>(requests.size());
  return {share * first, share * more * static_cast<double>(longest - 1)};
}

}  // namespace

int64_t prompts_of_a_rank(const RunConfig& config, int ranks) {
  return (config.train.prompts_per_step + ranks - 1) / ranks;
}

StepSample draw_sample(const RunConfig& config, const models::Processor& processor, const DataOfRun& data) {
  StepSample sample;
  const int64_t drawn = std::min(kDrawn, config.train.prompts_per_step);
  const std::vector<int64_t> full(static_cast<size_t>(config.rollout.num_generations),
                                  config.rollout.max_completion_length);
  if (!data.replay.empty()) {
    for (const rl::Group& group : data.replay)
      sample.parts.push_back({group.puzzle.puzzle.id, group.puzzle.prompt, group.lengths().completions});
  } else if (data.example) {
    for (int64_t i = 0; i < drawn; ++i) {
      rl::SupervisedExample example = data.example(i);
      sample.parts.push_back(
          {fmt::format("example {}", i), std::move(example.prompt), {static_cast<int64_t>(example.target.size())}});
    }
  } else {
    for (int64_t i = 0; i < drawn; ++i) {
      rl::EncodedPuzzle encoded = rl::draw_encoded(*data.mixture, processor, i, config.rollout.max_prompt_length);
      std::vector<int64_t> completions = full;
      if (data.supervised) {
        const std::string answer = tasks::answer_text(config.prompt.style, encoded.puzzle.answer);
        completions = {static_cast<int64_t>(processor.tokenizer().encode(answer).size()) + 1};
      }
      sample.parts.push_back({fmt::format("{} from {}: {} tokens, answer {}", encoded.puzzle.id, encoded.puzzle.source,
                                          encoded.prompt.length(), encoded.puzzle.answer),
                              std::move(encoded.prompt), std::move(completions)});
    }
  }
  std::stable_sort(sample.parts.begin(), sample.parts.end(),
                   [](const auto& a, const auto& b) { return a.prompt.length() > b.prompt.length(); });
  return sample;
}

MemoryQuestion memory_question(const RunConfig& config, const models::ModelConfig& model, const StepSample& sample,
                               const DataOfRun& data, int ranks) {
  const bool lora = config.model.lora.rank > 0;
  MemoryQuestion question{.micro_batch_tokens = config.train.micro_batch_tokens,
                          .samples = data.samples_completions() ? config.rollout.num_generations : 0,
                          .prompts = prompts_of_a_rank(config, ranks),
                          .recompute = config.model.gradient_checkpointing,
                          .moment_bytes = static_cast<int64_t>(c10::elementSize(config.train.optimizer_dtype)),
                          .offload_optimizer = config.train.offloads("optimizer"),
                          .offload_reference = config.train.offloads("reference"),
                          .adapters = lora,
                          .ranks = ranks,
                          .sharded = config.distributed.shard == train::DistributedConfig::Shard::kParameters};
  const auto frozen = config.model.frozen_parts();
  models::Weights none;
  std::map<models::Block, int64_t> blocks;
  for (const auto& parameter : models::parameter_table(model, none)) {
    const int64_t count = count_of(parameter.shape);
    const bool trained = !lora && !frozen.contains(parameter.part);
    question.values += count;
    if (trained) question.trained += count;
    if (parameter.block != models::Block{}) {
      question.block = std::max(question.block, blocks[parameter.block] += count);
    } else {
      question.outside += count;
      if (trained) question.outside_trained += count;
    }
  }
  if (lora) question.trained = models::adapter_values(model, config.model.lora);
  question.reference = !data.supervised && config.algorithm.beta > 0 && !lora;
  if (!data.supervised && config.algorithm.uses_critic() &&
      config.algorithm.critic == rl::AlgorithmConfig::CriticKind::kSeparate) {
    question.values *= 2;
    question.trained *= 2;
    question.outside *= 2;
    question.outside_trained *= 2;
  }
  const StepSample::Part& longest = sample.parts.front();
  question.prompt_tokens = longest.prompt.length();
  question.image_tokens = std::count(longest.prompt.ids.begin(), longest.prompt.ids.end(), model.ids.image);
  for (const auto& part : sample.parts)
    for (const int64_t length : part.completions)
      question.completion_tokens = std::max(question.completion_tokens, length);
  return question;
}

std::optional<int64_t> memory_of_rank(const Runtime& runtime, const train::Place& place) {
  auto left = nn::memory_left(runtime.device);
  if (left && runtime.device.is_cpu()) *left /= place.local_ranks;
  return left;
}

void check_memory(const MemoryEstimate& estimate, int64_t left, const Log& log) {
  const int64_t fixed = estimate.weights + estimate.gradients - std::min(estimate.let_go, estimate.gradients) +
                        estimate.optimizer + estimate.reference;
  if (fixed > left)
    fail(
        "model.path: weights, gradients and optimiser need {}, {} of memory are left; train adapters "
        "(model.lora.rank), "
        "freeze parts (model.freeze), or use a smaller model",
        gib(fixed), gib(left));
  if (estimate.peak() > left)
    log.warn(
        "the run is expected to need {}, {} of memory are left; lower train.micro_batch_tokens, "
        "rollout.num_generations or model.max_pixels, or set model.gradient_checkpointing",
        gib(estimate.peak()), gib(left));
}

std::optional<std::string> no_trial_because(const MemoryEstimate& estimate, const Runtime& runtime,
                                            const train::Place& place) {
  const auto left = memory_of_rank(runtime, place);
  if (!left) return {};
  const int64_t needed = estimate.peak() - estimate.optimizer - estimate.reference - estimate.collected;
  if (needed <= *left) return {};
  return fmt::format("it would need {}, {} of memory are left", gib(needed), gib(*left));
}

Trial try_sample(const RunConfig& config, models::Model& policy, const StepSample& sample, const DataOfRun& data,
                 int ranks, const InterruptGuard& interrupt) {
  const Pass pass = try_update(config, policy, sample);
  interrupt.check();
  const auto groups = lengths_of(sample, prompts_of_a_rank(config, ranks));
  const int64_t tokens = tokens_of(groups, rl::micro_batches(groups, config.train.micro_batch_tokens));
  const double batches = static_cast<double>(tokens) / static_cast<double>(std::max<int64_t>(1, pass.tokens));
  const double seconds = pass.forward + pass.backward;
  const int64_t cuts = config.train.prompts_per_step / config.train.update_prompts();
  Trial trial{.tokens = pass.tokens, .forward = pass.forward, .backward = pass.backward};
  trial.updates = cuts * (data.supervised ? 1 : config.algorithm.num_iterations);
  trial.update = seconds * batches * static_cast<double>(trial.updates) / static_cast<double>(cuts);
  trial.deaf = std::max(seconds, trial.update * (1 - 1 / static_cast<double>(trial.updates)));
  if (!data.supervised) trial.update += batches * pass.forward * ((trial.updates > 1) + (config.algorithm.beta > 0));
  if (data.samples_completions()) {
    const Rollouts rollouts = try_rollouts(config, policy, sample, ranks, interrupt);
    trial.rollouts = rollouts.prompts + rollouts.tokens;
    trial.deaf = std::max(trial.deaf, rollouts.prompts);
  }
  trial.memory = rl::peak_memory_gib(policy.device());
  return trial;
}

std::string trial_text(const Trial& trial, const StepSample& sample, int64_t steps_left) {
  const double step = trial.rollouts + trial.update, all = step * static_cast<double>(steps_left);
  std::string text = fmt::format(
      "sample     prompt of {} tokens, micro-batch of {}: {} forward, {} backward; memory {:.1f} GiB without "
      "optimiser\n",
      sample.parts.front().prompt.length(), trial.tokens, duration_text(trial.forward), duration_text(trial.backward),
      trial.memory);
  text += fmt::format("estimate   a step takes at most about {} (rollouts {}, updates {}), {} steps {}",
                      duration_text(step), duration_text(trial.rollouts), duration_text(trial.update), steps_left,
                      duration_text(all));
  constexpr double kDays = 86400.0 * 365 * 100;
  if (all < kDays) {
    const std::time_t end = std::time(nullptr) + static_cast<std::time_t>(all);
    text += fmt::format(", to {:%Y-%m-%d %H:%M} if started now", fmt::localtime(end));
  }
  return text + "; from this sample, with all completions as long as allowed; without evaluations and saving\n";
}

}  // namespace ssl4rl::cli
