// ssl4rl train and ssl4rl sft.
#include <ATen/Context.h>

#include <algorithm>
#include <iostream>

#include "commands.h"
#include "experiment.h"
#include "ssl4rl/base/error.h"
#include "ssl4rl/base/progress.h"
#include "ssl4rl/rl/supervised.h"
#include "ssl4rl/rl/trainer.h"

namespace ssl4rl::cli {
namespace {

struct Options {
  ConfigOptions config;
  std::string resume = "never";
  bool dry_run = false;
};

enum class Kind { kRl, kSupervised };

RunConfig read_config(App& app, const Options& options) {
  RunConfig config;
  read_run_config(config, options.config.file, options.config.overrides);
  if (config.model.path.empty()) fail("{}: model.path: required", options.config.file.string());
  config.train.check();
  tasks::resolve_tasks(config.tasks);
  if (app.options().log_level.empty() && !app.options().quiet)
    app.log().set_level(Log::level_from_name(config.log.level));
  return config;
}

// The model that the policy starts from, for the KL divergence. Frozen parts are the policy's own tensors.
std::unique_ptr<models::Model> load_reference(App& app, const RunConfig& config, models::Model& policy,
                                              const Runtime& runtime) {
  app.log().info("loading the reference model for algorithm.beta");
  auto reference = load_model(app, config.model.path, policy.shared_processor(), runtime);
  const auto frozen = config.model.frozen_parts();
  auto own = reference->parameters();
  const auto shared = policy.parameters();
  for (size_t i = 0; i < own.size(); ++i)
    if (frozen.contains(own[i].part)) *own[i].tensor = *shared[i].tensor;
  if (reference->config().text.tie_embeddings) reference->weights().head = reference->weights().embedding;
  return reference;
}

rl::Evaluate make_evaluation(App& app, const RunConfig& config, const std::shared_ptr<const tasks::ImagePool>& held_out,
                             const InterruptGuard& interrupt) {
  if (config.train.eval_every == 0) return {};
  auto benches = std::make_shared<std::vector<eval::TaskBench>>();
  for (const std::string& name : config.eval.benches)
    if (std::none_of(config.tasks.begin(), config.tasks.end(), [&](const auto& task) { return task.name == name; }))
      fail("eval.benches: \"{}\" is not among the configured tasks", name);
  for (const auto& task : config.tasks)
    if (config.eval.benches.empty() ||
        std::count(config.eval.benches.begin(), config.eval.benches.end(), task.name) > 0)
      benches->push_back(make_task_bench(config, task, held_out, config.eval.samples));
  return [benches, &app, &interrupt](int64_t, models::Model& policy) {
    rl::EvalReport report;
    for (const eval::TaskBench& bench : *benches) {
      const eval::TaskResult result = eval::run_task_bench(bench, policy, app.log(), [&] { interrupt.check(); });
      report[bench.task + "/accuracy"] = result.accuracy;
      report[bench.task + "/unparsed"] = result.unparsed;
    }
    return report;
  };
}

// What a run would do, for --dry-run: everything is read and checked, one puzzle of each task is drawn, nothing is
// written.
void describe_run(const RunConfig& config, Kind kind, models::Model& policy, const train::AdamW& optimizer,
                  const tasks::SplitImages& images, const tasks::Mixture& mixture,
                  const train::RunDirectory& directory) {
  const auto count = [](int64_t n) { return count_text(static_cast<double>(n)); };
  int64_t values = 0;
  for (const auto& parameter : policy.parameters()) values += parameter.tensor->numel();
  std::cout << fmt::format(
      "run        {}{}\n", directory.folder().string(),
      directory.checkpoint() ? fmt::format(", going on after step {}", directory.checkpoint()->step) : "");
  std::cout << fmt::format("model      {} ({}), {} parameters, {} trained, on {}\n", config.model.path.string(),
                           policy.config().model_type, count(values), count(optimizer.trainable()),
                           policy.device().str());
  std::cout << fmt::format("images     {} for training, {} held out\n", images.training->size(),
                           images.held_out->size());
  const int64_t updates = config.train.prompts_per_step / config.train.update_prompts() *
                          (kind == Kind::kRl ? config.algorithm.num_iterations : 1);
  std::cout << fmt::format("steps      {} of {} puzzles{}, {} update{} each\n", config.train.total_steps(),
                           config.train.prompts_per_step,
                           kind == Kind::kRl ? fmt::format(" × {} samples", config.rollout.num_generations) : "",
                           updates, updates == 1 ? "" : "s");
  for (int64_t i = 0; i < 3; ++i) {
    const rl::EncodedPuzzle encoded =
        rl::draw_encoded(mixture, policy.processor(), i, config.rollout.max_prompt_length);
    std::cout << fmt::format("puzzle     {} from {}: {} tokens, answer {}\n", encoded.puzzle.id, encoded.puzzle.source,
                             encoded.prompt.length(), encoded.puzzle.answer);
  }
}

int run(App& app, const Options& options, Kind kind) {
  RunConfig config = read_config(app, options);
  const train::Resume resume = train::Resume::parse(options.resume);
  train::RunDirectory directory(config.run.folder(), resume, app.log());
  const auto& checkpoint = directory.checkpoint();
  if (checkpoint && checkpoint->step >= config.train.total_steps()) {
    app.log().info("{}: finished already ({} steps)", directory.folder().string(), checkpoint->step);
    return kDone;
  }
  const Runtime runtime = choose_runtime(app, config.model.device, config.model.dtype, config.run.threads);
  if (config.run.deterministic) at::globalContext().setDeterministicAlgorithms(true, /*warn_only=*/false);

  const auto processor =
      std::make_shared<const models::Processor>(config.model.path, config.model.min_pixels, config.model.max_pixels);
  const tasks::SplitImages images = tasks::split_images(config.data, static_cast<uint64_t>(config.run.seed));
  const auto mixture = make_mixture(config, images.training);
  const auto policy = load_model(app, checkpoint ? checkpoint->folder : config.model.path, processor, runtime);
  policy->set_recompute(config.model.gradient_checkpointing);
  train::AdamW optimizer(policy->parameters(), config.model.frozen_parts(), config.train);
  train::TrainerState state;
  if (checkpoint) state = train::load_checkpoint(checkpoint->folder, optimizer);
  const InterruptGuard interrupt;
  const rl::Evaluate evaluate = make_evaluation(app, config, images.held_out, interrupt);
  if (options.dry_run) {
    describe_run(config, kind, *policy, optimizer, images, *mixture, directory);
    return kDone;
  }
  const bool needs_reference = kind == Kind::kRl && config.algorithm.beta > 0;
  const auto reference = needs_reference ? load_reference(app, config, *policy, runtime) : nullptr;

  directory.open(config::to_yaml(config.describe()), config.log.tensorboard);
  app.begin_work();
  app.log().info("{} {}: step {} of {}", checkpoint ? "continuing" : "starting", directory.folder().string(),
                 state.step, config.train.total_steps());
  rl::Run job{.seed = static_cast<uint64_t>(config.run.seed),
              .train = config.train,
              .logging = config.log,
              .policy = *policy,
              .optimizer = optimizer,
              .mixture = mixture,
              .data_threads = data_threads(config.data.workers),
              .max_prompt_length = config.rollout.max_prompt_length,
              .directory = directory,
              .state = state,
              .log = app.log(),
              .interrupt = interrupt,
              .evaluate = evaluate};
  if (kind == Kind::kRl) {
    rl::Trainer(job, {config.algorithm, config.rollout, config.reward, config.prompt.style}, reference.get()).run();
  } else {
    rl::SupervisedTrainer(job, config.sft, config.prompt.style).run();
  }
  report_skipped(*images.training, app.log());
  return kDone;
}

Action add(CLI::App& command, Kind kind) {
  auto options = std::make_shared<Options>();
  command.add_option("--config", options->config.file, "run configuration (YAML)")->required()->type_name("FILE");
  command.add_option("--set", options->config.overrides, "overrides a configuration key; may be given several times")
      ->type_name("KEY=VALUE")
      ->allow_extra_args(false);
  command.add_option("--resume", options->resume, "auto, never, or the folder of a checkpoint or run")
      ->capture_default_str()
      ->type_name("WHAT");
  command.add_flag("--dry-run", options->dry_run, "check everything, say what would be done, and do nothing");
  command.footer(configuration_help);
  return [options, kind](App& app) { return run(app, *options, kind); };
}

}  // namespace

Action add_train(CLI::App& command) { return add(command, Kind::kRl); }

Action add_sft(CLI::App& command) { return add(command, Kind::kSupervised); }

}  // namespace ssl4rl::cli
