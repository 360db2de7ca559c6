// ssl4rl train and ssl4rl sft.
#include <ATen/Context.h>

#include <algorithm>
#include <cmath>
#include <nlohmann/json.hpp>
#include <sstream>

#include "advice.h"
#include "commands.h"
#include "disk_estimate.h"
#include "dry_run.h"
#include "experiment.h"
#include "launch.h"
#include "preflight.h"
#include "resume_check.h"
#include "run_evaluation.h"
#include "run_parts.h"
#include "ssl4rl/base/error.h"
#include "ssl4rl/base/memory.h"
#include "ssl4rl/io/file.h"
#include "ssl4rl/rl/supervised.h"
#include "ssl4rl/rl/trainer.h"
#include "trial.h"

namespace ssl4rl::cli {
namespace {

struct Options {
  ConfigOptions config;
  std::string resume = "never";
  bool dry_run = false;
  int64_t nproc = 1, patience = 300;  // seconds
};

void check_lora(const ModelSection& model) {
  if (model.lora.rank == 0) return;
  if (!model.freeze.empty()) fail("model.freeze: with model.lora only the adapters are trained; leave it out");
  if (models::is_adapter_directory(model.path))
    fail("model.path: {}: holds adapters; fold them into their model first (ssl4rl merge)", model.path.string());
}

// Reads the configuration and, where it names one, the file of rollouts, and checks both.
RunInput read_input(App& app, const Options& options, RunKind kind) {
  RunInput input;
  RunConfig& config = input.config;
  const config::Section keys = read_run_config(config, options.config.file, options.config.overrides);
  if (config.model.path.empty()) fail("{}: model.path: required", options.config.file.string());
  if (app.options().log_level.empty() && !app.options().quiet)
    app.log().set_level(Log::level_from_name(config.log.level));
  if (config.algorithm.kl_in_reward && !keys.given("algorithm.kl_estimator"))
    config.algorithm.kl_estimator = rl::AlgorithmConfig::KlEstimator::kK1;
  input.processor =
      std::make_shared<const models::Processor>(config.model.path, config.model.min_pixels, config.model.max_pixels);
  if (kind == RunKind::kRl) {
    config.algorithm.check();
    if (config.rollout.replay) {
      input.replay = read_replay(*config.rollout.replay, *input.processor, config.algorithm);
      const auto groups = static_cast<int64_t>(input.replay.size());
      if (keys.given("train.prompts_per_step") && config.train.prompts_per_step != groups)
        fail("train.prompts_per_step: {}, but {} holds {} groups", config.train.prompts_per_step,
             config.rollout.replay->string(), groups);
      config.train.prompts_per_step = groups;
    } else if (config.algorithm.compares_groups() && config.rollout.num_generations < 2) {
      fail("rollout.num_generations: algorithm.name compares the samples of a group, so it needs at least 2");
    }
  }
  if (kind == RunKind::kSupervised && config.sft.data)
    input.conversations.emplace(*config.sft.data, input.processor, static_cast<uint64_t>(config.run.seed));
  input.from_file = !input.replay.empty() || input.conversations;
  config.train.check();
  check_lora(config.model);
  if (config.distributed.shard == train::DistributedConfig::Shard::kParameters) {
    if (keys.given("model.gradient_checkpointing") && !config.model.gradient_checkpointing)
      fail(
          "model.gradient_checkpointing: false, but distributed.shard parameters computes each block again in "
          "backward, "
          "where its weights come a second time; leave it out");
    if (config.train.offloads("reference"))
      fail(
          "train.offload: reference, but distributed.shard parameters splits the reference over the processes; leave "
          "it out");
    config.model.gradient_checkpointing = true;
  }
  for (const std::string& advice : settings_without_effect(config, keys, kind == RunKind::kSupervised))
    app.log().warn("{}", advice);
  if (!input.from_file || !config.tasks.empty())
    tasks::resolve_tasks(config.tasks, config.curriculum.mode != tasks::CurriculumConfig::Mode::kNone);
  return input;
}

void check_backend(const train::DistributedConfig& config, at::Device device) {
  using Backend = train::DistributedConfig::Backend;
  if (config.backend == Backend::kNccl && !device.is_cuda())
    fail("distributed.backend: nccl carries tensors between GPUs; this run is on the CPU");
  if (config.backend == Backend::kGloo && device.is_cuda())
    fail("distributed.backend: gloo carries tensors between CPUs; this run is on {}", device.str());
}

// The first lines in which two texts differ.
std::pair<std::string, std::string> first_difference(const std::string& a, const std::string& b) {
  std::istringstream left(a), right(b);
  std::string x, y;
  do {
    x.clear(), y.clear();
    std::getline(left, x), std::getline(right, y);
  } while (x == y && (left || right));
  const auto trimmed = [](const std::string& line) {
    return line.substr(std::min(line.find_first_not_of(" -"), line.size()));
  };
  return {trimmed(x), trimmed(y)};
}

// Connects the run's processes, which must have been given the same to do.
void connect(App& app, RunConfig& config, at::Device device) {
  train::Communicator& communicator = app.communicator();
  check_backend(config.distributed, device);
  communicator.connect(device, std::chrono::seconds(static_cast<int64_t>(std::ceil(config.distributed.timeout))));
  const auto configurations = communicator.gather(config::to_yaml(config.describe()));
  for (size_t rank = 0; rank < configurations.size(); ++rank) {
    if (configurations[rank] == configurations.front()) continue;
    const auto [own, other] = first_difference(configurations.front(), configurations[rank]);
    fail("the ranks have different configurations: rank 0 has \"{}\" where rank {} has \"{}\"", own, rank, other);
  }
}

// Rank 0 looks at the folder; the others go on from what it found.
train::RunDirectory find_directory(App& app, const std::filesystem::path& folder, const Options& options) {
  using Purpose = train::RunDirectory::Purpose;
  train::Communicator& communicator = app.communicator();
  const auto wanted = train::Resume::parse(options.resume);
  std::optional<train::RunDirectory> own;
  nlohmann::json found;
  if (communicator.first()) {
    own.emplace(folder, wanted, app.log(), options.dry_run ? Purpose::kLook : Purpose::kRun);
    if (const auto& checkpoint = own->checkpoint())
      found = {checkpoint->folder.string(), checkpoint->step, own->logged_step()};
  }
  found = nlohmann::json::parse(communicator.gather(found.dump()).front());
  if (own) return std::move(*own);
  if (found.is_null()) return {folder, std::nullopt, 0};
  return {folder, train::FoundCheckpoint{found[0].get<std::string>(), found[1].get<int64_t>()},
          found[2].get<int64_t>()};
}

// The run is ready to begin: rank 0 makes the folder, and each rank its log.
void open_directory(App& app, train::RunDirectory& directory, RunConfig& config, const InterruptGuard& interrupt) {
  train::Communicator& communicator = app.communicator();
  if (communicator.first()) directory.open(config::to_yaml(config.describe()), config.log.tensorboard);
  communicator.agree(interrupt);
  if (communicator.ranks() == 1) return;
  io::make_folder(directory.folder() / "logs");
  app.log().open_file(directory.folder() / "logs" / fmt::format("rank-{}.log", communicator.rank()));
}

int run(App& app, const Options& options, RunKind kind) {
  const train::Place place = train::find_place(train::process_environment());
  if (options.nproc > 1 && place.ranks == 1) return launch_ranks(static_cast<int>(options.nproc));
  if (options.nproc > 1 && place.ranks != options.nproc)
    fail("--nproc: {}, but {} processes were started already", options.nproc, place.ranks);
  app.join(place, std::chrono::seconds(options.patience));
  train::Communicator& communicator = app.communicator();
  const InterruptGuard interrupt;
  RunInput input = read_input(app, options, kind);
  const RunConfig& config = input.config;
  Runtime runtime = choose_runtime(app, config.model.device, config.model.dtype, config.run.threads);
  if (runtime.device.is_cpu() && !config.train.offload.empty())
    app.log().warn("train.offload has no effect: the run is on the CPU");
  connect(app, input.config, runtime.device);
  train::RunDirectory directory = find_directory(app, config.run.folder(), options);
  const auto& checkpoint = directory.checkpoint();
  if (checkpoint) check_resume(input.config, checkpoint->folder, communicator.ranks(), app.log());
  take_over(app, config, runtime);
  if (directory.logged_step() >= config.train.total_steps()) {
    app.log().info("{}: finished already ({} steps)", directory.folder().string(), checkpoint->step);
    return kDone;
  }
  if (config.run.deterministic) {
    at::globalContext().setDeterministicAlgorithms(true, /*warn_only=*/false);
    at::globalContext().setDeterministicFillUninitializedMemory(false);  // nothing is read before it is written
  }
  RunParts parts;
  find_data(parts, input, checkpoint);
  const rl::Evaluate evaluate = make_evaluation(app, config, parts.images.held_out, interrupt);
  {
    const DataOfRun data = data_of(input, kind, parts);
    const StepSample sample = draw_sample(config, *input.processor, data);
    if (options.dry_run) {
      describe_run(app, input, kind, parts, directory, runtime, sample, interrupt);
      return kDone;
    }
    const models::ModelConfig& model = input.processor->config();
    const MemoryEstimate estimate = estimate_memory(model, memory_question(config, model, sample, data, place.ranks),
                                                    runtime.dtype, runtime.device.type());
    if (const auto left = memory_of_rank(runtime, place)) check_memory(estimate, *left, app.log());
    if (communicator.first()) check_disk(config, estimate, parts.state.step, app.log());
  }
  communicator.agree(interrupt);
  parts.sharded = make_sharded(app, config);
  if (parts.sharded) keep_freed_memory(false);  // a block's weights come and go
  load_policy(app, parts, input, checkpoint, runtime);
  if (try_settings(app, config, runtime, *parts.policy)) load_policy(app, parts, input, checkpoint, runtime);
  note_settings(app, input.config, runtime);
  make_optimizer(app, parts, config, kind, checkpoint, runtime);
  communicator.agree(interrupt);
  const bool needs_reference = kind == RunKind::kRl && config.algorithm.beta > 0;
  const auto reference = needs_reference ? load_reference(app, config, *parts.policy, parts.sharded, runtime) : nullptr;

  open_directory(app, directory, input.config, interrupt);
  app.begin_work();
  app.log().info("{} {}: step {} of {}", checkpoint ? "continuing" : "starting", directory.folder().string(),
                 parts.state.step, config.train.total_steps());
  rl::Run job{.seed = static_cast<uint64_t>(config.run.seed),
              .train = config.train,
              .logging = config.log,
              .communicator = communicator,
              .policy = *parts.policy,
              .optimizer = *parts.optimizer,
              .sharded = parts.sharded,
              .mixture = parts.mixture,
              .data_threads = std::max(1, data_threads(config.data.workers) / place.local_ranks),
              .max_prompt_length = config.rollout.max_prompt_length,
              .directory = directory,
              .state = parts.state,
              .log = app.log(),
              .interrupt = interrupt,
              .evaluate = evaluate};
  if (parts.critic) job.collect_more = [&] { parts.critic->collect(); };
  if (parts.critic) job.more_files = [&] { return parts.critic->files(); };
  if (kind == RunKind::kRl) {
    rl::Trainer(job, {config.algorithm, config.rollout, config.reward, config.prompt.style}, reference.get(),
                parts.critic.get(), std::move(input.replay))
        .run();
  } else if (input.conversations) {
    rl::SupervisedTrainer(job, [&](int64_t index) { return (*input.conversations)(index); }).run();
  } else {
    rl::SupervisedTrainer(job, config.sft, config.prompt.style).run();
  }
  if (parts.images.training) report_skipped(*parts.images.training, app.log());
  return kDone;
}

Action add(CLI::App& command, RunKind kind) {
  auto options = std::make_shared<Options>();
  command.add_option("--config", options->config.file, "run configuration (YAML)")->required()->type_name("FILE");
  command.add_option("--set", options->config.overrides, "overrides a configuration key; may be given several times")
      ->type_name("KEY=VALUE")
      ->allow_extra_args(false);
  command.add_option("--resume", options->resume, "auto, never, or the folder of a checkpoint or run")
      ->capture_default_str()
      ->type_name("WHAT");
  command.add_flag("--dry-run", options->dry_run, "check everything, say what would be done, and do nothing");
  command.add_option("--nproc", options->nproc, "start so many processes on this machine, which train together")
      ->check(CLI::Range(1, 1024))
      ->capture_default_str()
      ->type_name("N");
  command
      .add_option("--rendezvous-timeout", options->patience,
                  "seconds to wait for the other processes (of --nproc, torchrun or SLURM)")
      ->check(CLI::PositiveNumber)
      ->capture_default_str()
      ->type_name("S");
  command.footer(configuration_help);
  return [options, kind](App& app) { return run(app, *options, kind); };
}

}  // namespace

Action add_train(CLI::App& command) { return add(command, RunKind::kRl); }

Action add_sft(CLI::App& command) { return add(command, RunKind::kSupervised); }

}  // namespace ssl4rl::cli
