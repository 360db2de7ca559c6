#include "preflight.h"

#include <ATen/ATen.h>

#include <algorithm>
#include <limits>

#include "ssl4rl/base/error.h"
#include "ssl4rl/base/memory.h"
#include "ssl4rl/base/progress.h"
#include "ssl4rl/base/stopwatch.h"
#include "ssl4rl/rl/run.h"

namespace ssl4rl::cli {
namespace fs = std::filesystem;
namespace {

constexpr int64_t kDrawn = 8;  // prompts that stand for all

std::string gib(int64_t bytes) { return fmt::format("{:.1f} GiB", static_cast<double>(bytes) / (1 << 30)); }

int64_t count_of(const std::vector<int64_t>& shape) {
  int64_t count = 1;
  for (const int64_t extent : shape) count *= extent;
  return count;
}

// Values of the adapters on the decoder's products.
int64_t adapter_values(const models::LoraConfig& lora, const models::TextConfig& c) {
  const int64_t query = c.heads * c.head_dim, key = c.key_heads * c.head_dim;
  const std::map<std::string, int64_t> sides{{"q_proj", c.hidden_size + query},
                                             {"k_proj", c.hidden_size + key},
                                             {"v_proj", c.hidden_size + key},
                                             {"o_proj", c.hidden_size + query},
                                             {"gate_proj", c.hidden_size + c.intermediate_size},
                                             {"up_proj", c.hidden_size + c.intermediate_size},
                                             {"down_proj", c.hidden_size + c.intermediate_size}};
  int64_t values = 0;
  for (const std::string& target : lora.targets)
    if (const auto found = sides.find(target); found != sides.end()) values += found->second;
  return values * lora.rank * c.layers;
}

// Of each new checkpoint that will lie there at once, the one being written included; and of one of them.
struct DiskNeed {
  int64_t checkpoint = 0, count = 0, free = 0;
};

DiskNeed disk_need(const RunConfig& config, const MemoryEstimate& estimate, int64_t steps_done) {
  const train::TrainConfig& t = config.train;
  DiskNeed need{.checkpoint =
                    (config.model.lora.rank > 0 ? estimate.gradients : estimate.weights) + estimate.optimizer};
  const int64_t left = t.total_steps() - steps_done;
  int64_t saves = 1;
  if (t.save_every > 0)
    saves = t.total_steps() / t.save_every - steps_done / t.save_every + (t.total_steps() % t.save_every != 0);
  if (t.keep_best) saves = std::max(saves, left / t.eval_every);
  need.count = saves;
  if (t.keep_last || t.keep_best)
    need.count = std::min(
        saves, t.keep_last.value_or(1) + t.keep_best.value_or(0) + 1 + (t.keep_every ? left / *t.keep_every : 0));
  fs::path nearest = fs::absolute(config.run.folder()).lexically_normal();
  while (!fs::exists(nearest) && nearest.has_relative_path()) nearest = nearest.parent_path();
  std::error_code error;
  const fs::space_info space = fs::space(nearest, error);
  need.free = error || space.available > static_cast<uintmax_t>(std::numeric_limits<int64_t>::max())
                  ? std::numeric_limits<int64_t>::max()
                  : static_cast<int64_t>(space.available);
  return need;
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
  loss.backward();
  for (const auto& parameter : models::trained_parameters(policy)) {
    if (parameter.tensor->grad().defined()) (void)parameter.tensor->grad().view(-1)[0].item<double>();
    parameter.tensor->mutable_grad() = at::Tensor();
  }
  pass.backward = clock.take();
  return pass;
}

// Seconds of a step's rollouts if every sample is as long as allowed, from a few prompts and tokens.
double try_rollouts(const RunConfig& config, const models::Model& policy, const StepSample& sample,
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
  const double share = static_cast<double>(config.train.prompts_per_step) / static_cast<double>(requests.size());
  return share * (first + more * static_cast<double>(longest - 1));
}

}  // namespace

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
                               const DataOfRun& data) {
  MemoryQuestion question{.micro_batch_tokens = config.train.micro_batch_tokens,
                          .samples = data.samples_completions() ? config.rollout.num_generations : 0,
                          .prompts = config.train.prompts_per_step,
                          .recompute = config.model.gradient_checkpointing,
                          .moment_bytes = static_cast<int64_t>(c10::elementSize(config.train.optimizer_dtype)),
                          .offload_optimizer = config.train.offloads("optimizer"),
                          .offload_reference = config.train.offloads("reference")};
  const bool lora = config.model.lora.rank > 0;
  const auto frozen = config.model.frozen_parts();
  models::Weights none;
  for (const auto& parameter : models::parameter_table(model, none)) {
    question.values += count_of(parameter.shape);
    if (!lora && !frozen.contains(parameter.part)) question.trained += count_of(parameter.shape);
  }
  if (lora) question.trained = adapter_values(config.model.lora, model.text);
  question.reference = !data.supervised && config.algorithm.beta > 0 && !lora;
  if (!data.supervised && config.algorithm.uses_critic() &&
      config.algorithm.critic == rl::AlgorithmConfig::CriticKind::kSeparate) {
    question.values *= 2;
    question.trained *= 2;
  }
  const StepSample::Part& longest = sample.parts.front();
  question.prompt_tokens = longest.prompt.length();
  question.image_tokens = std::count(longest.prompt.ids.begin(), longest.prompt.ids.end(), model.ids.image);
  for (const auto& part : sample.parts)
    for (const int64_t length : part.completions)
      question.completion_tokens = std::max(question.completion_tokens, length);
  return question;
}

void check_memory(const MemoryEstimate& estimate, const Runtime& runtime, const train::Place& place, const Log& log) {
  auto left = available_memory();
  if (!runtime.device.is_cpu() || !left) return;
  *left /= place.local_ranks;
  const int64_t elsewhere = estimate.optimizer - estimate.optimizer / place.ranks;  // the other ranks' shards
  const int64_t fixed = estimate.weights + estimate.gradients + estimate.optimizer + estimate.reference - elsewhere;
  if (fixed > *left)
    fail(
        "model.path: weights, gradients and optimiser need {}, {} of memory are left; train adapters "
        "(model.lora.rank), "
        "freeze parts (model.freeze), or use a smaller model",
        gib(fixed), gib(*left));
  if (estimate.peak() - elsewhere > *left)
    log.warn(
        "the run is expected to need {}, {} of memory are left; lower train.micro_batch_tokens, "
        "rollout.num_generations or model.max_pixels, or set model.gradient_checkpointing",
        gib(estimate.peak() - elsewhere), gib(*left));
}

void check_disk(const RunConfig& config, const MemoryEstimate& estimate, int64_t steps_done, const Log& log) {
  const DiskNeed need = disk_need(config, estimate, steps_done);
  if (need.checkpoint > need.free)
    fail("{}: a checkpoint takes about {}, {} are free", config.run.folder().string(), gib(need.checkpoint),
         gib(need.free));
  if (need.count > need.free / std::max<int64_t>(1, need.checkpoint))
    log.warn("{}: {} checkpoints of about {} will not fit, {} are free; set train.keep_last",
             config.run.folder().string(), need.count, gib(need.checkpoint), gib(need.free));
}

std::string disk_text(const RunConfig& config, const MemoryEstimate& estimate, int64_t steps_done) {
  const DiskNeed need = disk_need(config, estimate, steps_done);
  return fmt::format("disk       {} checkpoint{} of about {}, {} free\n", need.count,
                     need.count == 1 ? "" : "s at once", gib(need.checkpoint), gib(need.free));
}

std::optional<std::string> no_trial_because(const MemoryEstimate& estimate, const Runtime& runtime) {
  const auto left = available_memory();
  const int64_t needed = estimate.peak() - estimate.optimizer - estimate.reference;
  if (!runtime.device.is_cpu() || !left || needed <= *left) return {};
  return fmt::format("it would need {}, {} of memory are left", gib(needed), gib(*left));
}

std::string trial_text(const RunConfig& config, models::Model& policy, const StepSample& sample, const DataOfRun& data,
                       int64_t steps_done, const InterruptGuard& interrupt) {
  const Pass pass = try_update(config, policy, sample);
  interrupt.check();
  const double seconds = pass.forward + pass.backward;
  std::string text = fmt::format(
      "sample     prompt of {} tokens, micro-batch of {}: {} forward, {} backward; memory {:.1f} GiB without "
      "optimiser\n",
      sample.parts.front().prompt.length(), pass.tokens, duration_text(pass.forward), duration_text(pass.backward),
      rl::peak_memory_gib());
  const auto groups = lengths_of(sample, config.train.prompts_per_step);
  const int64_t tokens = tokens_of(groups, rl::micro_batches(groups, config.train.micro_batch_tokens));
  const double batches = static_cast<double>(tokens) / static_cast<double>(std::max<int64_t>(1, pass.tokens));
  double update = seconds * batches, rollouts = 0;
  if (!data.supervised) {
    update *= static_cast<double>(config.algorithm.num_iterations);
    const bool old =
        config.algorithm.num_iterations > 1 || config.train.update_prompts() < config.train.prompts_per_step;
    update += batches * pass.forward * (old + (config.algorithm.beta > 0));
  }
  if (data.samples_completions()) rollouts = try_rollouts(config, policy, sample, interrupt);
  const double step = update + rollouts;
  const int64_t left = config.train.total_steps() - steps_done;
  return text + fmt::format(
                    "estimate   a step takes at most about {} (rollouts {}, updates {}), {} steps {}; without "
                    "evaluations and saving\n",
                    duration_text(step), duration_text(rollouts), duration_text(update), left,
                    duration_text(step * static_cast<double>(left)));
}

}  // namespace ssl4rl::cli
