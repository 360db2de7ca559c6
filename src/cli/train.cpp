// ssl4rl train and ssl4rl sft.
#include <ATen/Context.h>
#include <ATen/Parallel.h>

#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <iostream>
#include <nlohmann/json.hpp>
#include <sstream>

#include "advice.h"
#include "commands.h"
#include "disk_estimate.h"
#include "experiment.h"
#include "launch.h"
#include "preflight.h"
#include "resume_check.h"
#include "ssl4rl/base/error.h"
#include "ssl4rl/base/progress.h"
#include "ssl4rl/eval/bench.h"
#include "ssl4rl/io/file.h"
#include "ssl4rl/rl/supervised.h"
#include "ssl4rl/rl/trainer.h"
#include "training_data.h"
#include "trial.h"

namespace ssl4rl::cli {
namespace {

struct Options {
  ConfigOptions config;
  std::string resume = "never";
  bool dry_run = false;
  int64_t nproc = 1, patience = 300;  // seconds
};

enum class Kind { kRl, kSupervised };

// Reads the configuration and, where it names one, the file of rollouts, and checks both.
struct Input {
  RunConfig config;
  std::shared_ptr<const models::Processor> processor;
  std::vector<rl::Group> replay;
  std::optional<Conversations> conversations;
  bool from_file = false;  // the data, instead of puzzles
};

void check_lora(const ModelSection& model) {
  if (model.lora.rank == 0) return;
  if (!model.freeze.empty()) fail("model.freeze: with model.lora only the adapters are trained; leave it out");
  if (models::is_adapter_directory(model.path))
    fail("model.path: {}: holds adapters; fold them into their model first (ssl4rl merge)", model.path.string());
}

Input read_input(App& app, const Options& options, Kind kind) {
  Input input;
  RunConfig& config = input.config;
  const config::Section keys = read_run_config(config, options.config.file, options.config.overrides);
  if (config.model.path.empty()) fail("{}: model.path: required", options.config.file.string());
  if (app.options().log_level.empty() && !app.options().quiet)
    app.log().set_level(Log::level_from_name(config.log.level));
  if (config.algorithm.kl_in_reward && !keys.given("algorithm.kl_estimator"))
    config.algorithm.kl_estimator = rl::AlgorithmConfig::KlEstimator::kK1;
  input.processor =
      std::make_shared<const models::Processor>(config.model.path, config.model.min_pixels, config.model.max_pixels);
  if (kind == Kind::kRl) {
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
  if (kind == Kind::kSupervised && config.sft.data)
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
  for (const std::string& advice : settings_without_effect(config, keys, kind == Kind::kSupervised))
    app.log().warn("{}", advice);
  if (!input.from_file || !config.tasks.empty())
    tasks::resolve_tasks(config.tasks, config.curriculum.mode != tasks::CurriculumConfig::Mode::kNone);
  return input;
}

// Who splits a model's weights over the ranks, or null where they stay whole.
std::shared_ptr<train::ShardedWeights> make_sharded(const App& app, const RunConfig& config) {
  const bool sharded = config.distributed.shard == train::DistributedConfig::Shard::kParameters;
  if (!sharded || app.communicator().ranks() == 1) return nullptr;
  return std::make_shared<train::ShardedWeights>(app.communicator());
}

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

// The model that the policy starts from, for the KL divergence. Frozen parts are the policy's own tensors.
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

// What is evaluated while training: configured tasks on held-out images, and public benchmarks.
struct Evaluations {
  std::vector<eval::TaskBench> tasks;
  std::vector<eval::Dataset> datasets;
  eval::AskSettings asking;
};

Evaluations find_evaluations(App& app, const RunConfig& config,
                             const std::shared_ptr<const tasks::ImagePool>& held_out) {
  Evaluations found;
  found.asking = {config.rollout.max_completion_length, false, data_threads(config.data.workers)};
  const auto add_task = [&](const tasks::TaskConfig& task) {
    found.tasks.push_back(make_task_bench(config, task, held_out, config.eval.samples));
  };
  if (config.eval.benches.empty())
    for (const auto& task : config.tasks) add_task(task);
  for (const std::string& name : config.eval.benches) {
    const auto task =
        std::find_if(config.tasks.begin(), config.tasks.end(), [&](const auto& t) { return t.name == name; });
    if (task != config.tasks.end()) {
      add_task(*task);
    } else if (eval::is_dataset_name(name)) {
      found.datasets.push_back(eval::load_dataset(name, eval::data_folder(config.eval.data), false, app.log()));
      found.datasets.back().limit_to(static_cast<size_t>(config.eval.samples));
      if (!found.datasets.back().has_answers()) fail("eval.benches: {} has no answers to score against", name);
    } else {
      fail("eval.benches: \"{}\" is neither a configured task nor a public benchmark", name);
    }
  }
  return found;
}

rl::Evaluate make_evaluation(App& app, const RunConfig& config, const std::shared_ptr<const tasks::ImagePool>& held_out,
                             const InterruptGuard& interrupt) {
  if (config.train.eval_every == 0) return {};
  const auto found = std::make_shared<const Evaluations>(find_evaluations(app, config, held_out));
  return [found, &app, &interrupt](int64_t, models::Model& policy) {
    rl::EvalReport report;
    const auto poll = [&] { interrupt.check(); };
    for (const eval::TaskBench& bench : found->tasks) {
      const eval::TaskResult result = eval::run_task_bench(bench, policy, app.log(), poll);
      report[bench.task + "/accuracy"] = result.accuracy;
      report[bench.task + "/unparsed"] = result.unparsed;
    }
    for (const eval::Dataset& dataset : found->datasets) {
      const eval::Scores scores = eval::ask_and_score(dataset, policy, found->asking, app.log(), poll);
      report[dataset.benchmark.name + "/accuracy"] = eval::share_of_best(dataset.benchmark.kind, scores.overall);
    }
    return report;
  };
}

// What a run is made of.
struct Parts {
  tasks::SplitImages images;  // none where the data comes from a file
  std::shared_ptr<const tasks::Mixture> mixture;
  std::unique_ptr<models::Model> policy;
  std::shared_ptr<train::ShardedWeights> sharded;  // the policy's; null: whole on each rank
  std::unique_ptr<rl::Critic> critic;
  std::unique_ptr<train::AdamW> optimizer;
  train::TrainerState state;
};

train::Decay decay_of(const RunConfig& config, Kind kind) {
  if (kind == Kind::kSupervised) return train::Decay::kMatrices;
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

// The images and what is drawn from them, at the level that a curriculum has reached.
void find_data(Parts& parts, const Input& input, const std::optional<train::FoundCheckpoint>& checkpoint) {
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

void load_policy(App& app, Parts& parts, const Input& input, const std::optional<train::FoundCheckpoint>& checkpoint,
                 const Runtime& runtime) {
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

const char* type_name(at::ScalarType type) { return type == at::kBFloat16 ? "bfloat16" : "float32"; }

// What a run's own file says by now about threads and type (check_resume), in place of what choose_runtime took.
void take_over(const App& app, const RunConfig& config, Runtime& runtime) {
  if (config.run.threads && !app.options().threads) at::set_num_threads(static_cast<int>(*config.run.threads));
  if (config.model.dtype != "auto" && !app.options().dtype)
    runtime.dtype = config.model.dtype == "bfloat16" ? at::kBFloat16 : at::kFloat;
}

// Chooses by trial what nobody has said. Returns whether the policy must be loaded anew, in another type.
bool try_settings(App& app, const RunConfig& config, Runtime& runtime, const models::Model& policy) {
  if (!runtime.device.is_cpu() || config.run.deterministic || app.communicator().ranks() > 1) return false;
  const bool threads_open = !config.run.threads && !app.options().threads && !std::getenv("OMP_NUM_THREADS");
  const bool type_open = config.model.dtype == "auto" && !app.options().dtype && !config.rollout.replay;
  std::vector<Setting> settings = possible_settings(at::get_num_threads(), type_open);
  if (!threads_open)
    std::erase_if(settings, [](const Setting& setting) { return setting.threads != at::get_num_threads(); });
  if (settings.size() == 1) return false;
  std::string trials;
  const Setting chosen = choose_setting(settings, [&](const Setting& setting) {
    const double seconds = trial_seconds(policy, setting);
    trials += fmt::format("{}{} × {} {:.1f} ms", trials.empty() ? "" : ", ", setting.threads, type_name(setting.dtype),
                          1e3 * seconds);
    return seconds;
  });
  at::set_num_threads(chosen.threads);
  app.log().info("computing with {} thread{} in {}, by trial of a layer ({})", chosen.threads,
                 chosen.threads == 1 ? "" : "s", type_name(chosen.dtype), trials);
  return std::exchange(runtime.dtype, chosen.dtype) != chosen.dtype;
}

// From here on they are the run's: a resume computes in the same way.
void note_settings(const App& app, RunConfig& config, const Runtime& runtime) {
  config.model.dtype = type_name(runtime.dtype);
  if (runtime.device.is_cpu() && app.communicator().ranks() == 1) config.run.threads = at::get_num_threads();
}

std::vector<models::Parameter> policy_parameters(const RunConfig& config, models::Model& policy) {
  return config.model.lora.rank > 0 ? models::adapter_parameters(policy) : policy.parameters();
}

void make_optimizer(App& app, Parts& parts, const RunConfig& config, Kind kind,
                    const std::optional<train::FoundCheckpoint>& checkpoint, const Runtime& runtime) {
  std::vector<models::Parameter> parameters = policy_parameters(config, *parts.policy);
  if (kind == Kind::kRl && config.algorithm.uses_critic()) {
    parts.critic = make_critic(app, config, *parts.policy, runtime);
    for (auto& parameter : parts.critic->shared_parameters()) parameters.push_back(std::move(parameter));
  }
  parts.optimizer = std::make_unique<train::AdamW>(std::move(parameters), config.model.frozen_parts(), config.train,
                                                   decay_of(config, kind), app.communicator(), parts.sharded);
  if (!checkpoint) return;
  (void)train::load_checkpoint(checkpoint->folder, *parts.optimizer);
  if (parts.critic) parts.critic->load(checkpoint->folder / "trainer");
}

DataOfRun data_of(const Input& input, Kind kind, const Parts& parts) {
  DataOfRun data{.replay = input.replay, .mixture = parts.mixture, .supervised = kind == Kind::kSupervised};
  if (input.conversations) data.example = [&input](int64_t index) { return (*input.conversations)(index); };
  return data;
}

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
  if (const auto left = memory_left(runtime))
    warn([&] { check_memory(estimate, *left, app.communicator().place(), app.log()); });
  warn([&] { check_disk(config, estimate, steps_done, app.log()); });
}

// --dry-run: says what a run would do and need, and tries one step's largest part; nothing is written or changed. Each
// rank tries it, so that they share the machine as they will; rank 0 speaks.
void describe_run(App& app, const Input& input, Kind kind, Parts& parts, const train::RunDirectory& directory,
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
                          (kind == Kind::kRl ? config.algorithm.num_iterations : 1);
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
  const MemoryEstimate estimate = estimate_memory(model, question, runtime.dtype);
  out << memory_text(model, question, runtime.dtype, runtime.device.str());
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

int run(App& app, const Options& options, Kind kind) {
  const train::Place place = train::find_place(train::process_environment());
  if (options.nproc > 1 && place.ranks == 1) return launch_ranks(static_cast<int>(options.nproc));
  if (options.nproc > 1 && place.ranks != options.nproc)
    fail("--nproc: {}, but {} processes were started already", options.nproc, place.ranks);
  app.join(place, std::chrono::seconds(options.patience));
  train::Communicator& communicator = app.communicator();
  const InterruptGuard interrupt;
  Input input = read_input(app, options, kind);
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
  if (config.run.deterministic) at::globalContext().setDeterministicAlgorithms(true, /*warn_only=*/false);
  Parts parts;
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
    const MemoryEstimate estimate =
        estimate_memory(model, memory_question(config, model, sample, data, place.ranks), runtime.dtype);
    if (const auto left = memory_left(runtime)) check_memory(estimate, *left, place, app.log());
    if (communicator.first()) check_disk(config, estimate, parts.state.step, app.log());
  }
  communicator.agree(interrupt);
  parts.sharded = make_sharded(app, config);
  load_policy(app, parts, input, checkpoint, runtime);
  if (try_settings(app, config, runtime, *parts.policy)) load_policy(app, parts, input, checkpoint, runtime);
  note_settings(app, input.config, runtime);
  make_optimizer(app, parts, config, kind, checkpoint, runtime);
  communicator.agree(interrupt);
  const bool needs_reference = kind == Kind::kRl && config.algorithm.beta > 0;
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
  if (kind == Kind::kRl) {
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

Action add_train(CLI::App& command) { return add(command, Kind::kRl); }

Action add_sft(CLI::App& command) { return add(command, Kind::kSupervised); }

}  // namespace ssl4rl::cli
