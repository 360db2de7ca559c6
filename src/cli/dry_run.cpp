#include "dry_run.h"

#include <fmt/format.h>

#include <algorithm>
#include <iostream>
#include <sstream>

#include "disk_estimate.h"
#include "ssl4rl/base/error.h"
#include "ssl4rl/base/progress.h"
#include "trial.h"

namespace ssl4rl::cli {
namespace {

// What would end a run is a warning of a dry run: it may be meant for another machine.
void warn_of_limits(App& app, const RunConfig& config, const MemoryEstimate& estimate, const Runtime& runtime,
                    int64_t steps_done) {
  const auto warn = [&app](const auto& check) {
    try {
      check();
    } catch (const Error& e) {
      app.log().warn("{}", e.what());
    }
  };
  if (const auto left = memory_of_rank(runtime, app.communicator().place()))
    warn([&] { check_memory(estimate, *left, app.log()); });
  warn([&] { check_disk(config, estimate, steps_done, app.log()); });
}

}  // namespace

void describe_run(App& app, const RunInput& input, RunKind kind, RunParts& parts, const train::RunDirectory& directory,
                  const Runtime& runtime, const StepSample& sample, const InterruptGuard& interrupt) {
  const RunConfig& config = input.config;
  const DataOfRun data = data_of(input, kind, parts);
  const models::ModelConfig& model = input.processor->config();
  const train::Communicator& communicator = app.communicator();
  const int ranks = communicator.ranks();
  const MemoryQuestion question = memory_question(config, model, sample, data, ranks);
  std::ostringstream unheard;
  std::ostream& out = communicator.first() ? std::cout : unheard;
  const auto count = [](int64_t n) { return count_text(static_cast<double>(n)); };
  const auto& checkpoint = directory.checkpoint();
  out << fmt::format("run        {}{}\n", directory.folder().string(),
                     checkpoint ? fmt::format(", going on after step {}", checkpoint->step) : "");
  out << fmt::format("model      {} ({}), {} parameters, {} trained, on {}{}\n", config.model.path.string(),
                     model.model_type, count(question.values), count(question.trained), runtime.device.str(),
                     ranks > 1 ? fmt::format("; memory and times are those of one of {} ranks", ranks) : "");
  if (parts.images.training)
    out << fmt::format("images     {} for training, {} held out\n", parts.images.training->size(),
                       parts.images.held_out->size());
  const int64_t updates = config.train.prompts_per_step / config.train.update_prompts() *
                          (kind == RunKind::kRl ? config.algorithm.num_iterations : 1);
  const std::string samples =
      data.samples_completions() ? fmt::format(" × {} samples", config.rollout.num_generations) : "";
  out << fmt::format("steps      {} of {} {}{}, {} update{} each\n", config.train.total_steps(),
                     config.train.prompts_per_step, input.from_file ? "prompts" : "puzzles", samples, updates,
                     updates == 1 ? "" : "s");
  for (const rl::Group& group : input.replay)
    out << fmt::format("group      {}: {} tokens, {} samples\n", group.puzzle.puzzle.id, group.puzzle.prompt.length(),
                       group.samples.size());
  for (size_t i = 0; i < std::min<size_t>(3, sample.parts.size()) && !input.from_file; ++i)
    out << fmt::format("puzzle     {}\n", sample.parts[i].name);
  const MemoryEstimate estimate = estimate_memory(model, question, runtime.dtype, runtime.device.type());
  out << memory_text(model, question, runtime.dtype, runtime.device);
  out << disk_text(config, estimate, parts.state.step);
  if (communicator.first()) warn_of_limits(app, config, estimate, runtime, parts.state.step);
  if (const auto reason = no_trial_because(estimate, runtime, communicator.place())) {
    out << fmt::format("sample     not tried: {}\n", *reason) << std::flush;
    return;
  }
  out << std::flush;
  load_policy(app, parts, input, checkpoint, runtime);
  Runtime chosen = runtime;
  if (try_settings(app, config, chosen, *parts.policy)) load_policy(app, parts, input, checkpoint, chosen);
  const auto frozen = config.model.frozen_parts();
  for (auto& parameter : policy_parameters(config, *parts.policy))
    parameter.tensor->set_requires_grad(!frozen.contains(parameter.part));
  const Trial trial = try_sample(config, *parts.policy, sample, data, ranks, interrupt);
  out << trial_text(trial, sample, config.train.total_steps() - parts.state.step);
  if (communicator.first()) out << signal_text(config, estimate, trial.deaf);
}

}  // namespace ssl4rl::cli
