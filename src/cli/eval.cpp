// ssl4rl eval: self-supervised tasks on held-out images.
#include <fmt/ranges.h>

#include <iostream>
#include <nlohmann/json.hpp>

#include "commands.h"
#include "experiment.h"
#include "ssl4rl/base/error.h"
#include "ssl4rl/base/interrupt.h"
#include "ssl4rl/io/file.h"

namespace ssl4rl::cli {
namespace {
namespace fs = std::filesystem;

struct Options {
  std::vector<std::string> benches;
  fs::path model;
  std::optional<fs::path> config, data, output;
  std::vector<std::string> overrides;
  std::optional<int64_t> limit;
};

// The run that a model directory is a checkpoint of (RUN/checkpoints/step-000050), if it is one.
std::optional<fs::path> run_of(const fs::path& model) {
  const fs::path folder = fs::absolute(model / "").lexically_normal().parent_path();
  if (folder.parent_path().filename() != "checkpoints") return {};
  const fs::path run = folder.parent_path().parent_path();
  return fs::exists(run / "config.yaml") ? std::optional(run) : std::nullopt;
}

// The configuration that gives images, hold-out, seed, prompt and the tasks' settings.
RunConfig read_config(const Options& options) {
  RunConfig config;
  const auto run = run_of(options.model);
  if (options.config) {
    read_run_config(config, *options.config, options.overrides);
  } else if (run) {
    read_run_config(config, *run / "config.yaml", options.overrides);
  } else {
    if (!options.data)
      fail("{}: is no checkpoint of a run; give --config FILE, or --data DIR for a folder of images",
           options.model.string());
    config.rollout.max_completion_length = 2048;
    read_run_config(config, options.overrides);
  }
  if (options.data) {  // a folder that is used whole
    config.data.images = {fs::absolute(*options.data)};
    config.data.holdout_fraction = 0;
  } else if (config.data.holdout_fraction == 0) {
    fail("data.holdout_fraction is 0: no image is held out; give --data DIR");
  }
  return config;
}

int run(App& app, const Options& options) {
  const auto known = tasks::task_names();
  for (const std::string& name : options.benches)
    if (std::find(known.begin(), known.end(), name) == known.end())
      fail("--bench {}: unknown benchmark; did you mean \"{}\"?", name, config::nearest(name, known));
  RunConfig config = read_config(options);
  const tasks::SplitImages images =
      options.data ? tasks::SplitImages{} : tasks::split_images(config.data, static_cast<uint64_t>(config.run.seed));
  const auto pool = options.data ? std::make_shared<const tasks::ImagePool>(tasks::find_images(config.data.images),
                                                                            config.data.min_side)
                                 : images.held_out;
  std::vector<eval::TaskBench> benches;
  for (const std::string& name : options.benches) {
    std::vector<tasks::TaskConfig> task;
    for (const auto& configured : config.tasks)
      if (configured.name == name) task = {configured};
    if (task.empty()) task = {tasks::make_task_config(name)};
    tasks::resolve_tasks(task);
    benches.push_back(make_task_bench(config, task[0], pool, options.limit.value_or(config.eval.samples)));
  }
  const Runtime runtime = choose_runtime(app, config.model.device, config.model.dtype, config.run.threads);
  const auto processor =
      std::make_shared<const models::Processor>(options.model, config.model.min_pixels, config.model.max_pixels);
  const auto model = load_model(app, options.model, processor, runtime);
  const auto run_folder = run_of(options.model);
  const fs::path output = options.output.value_or(run_folder ? *run_folder / "eval" : options.model / "eval");

  app.begin_work();
  const InterruptGuard interrupt;
  io::make_folder(output);
  const std::string fingerprint = model_fingerprint(options.model);
  nlohmann::ordered_json summary = nlohmann::ordered_json::object();
  std::string markdown =
      "| benchmark | questions | overall | standard error | chance | unparsed |\n|---|---|---|---|---|---|\n";
  for (const eval::TaskBench& bench : benches) {
    const eval::TaskResult result =
        eval::run_task_bench(bench, *model, fingerprint, output, app.log(), [&] { interrupt.check(); });
    summary[bench.task] = {{"samples", result.samples},
                           {"overall", 100 * result.accuracy},
                           {"standard_error", 100 * result.standard_error},
                           {"chance", 100 * result.chance},
                           {"unparsed", result.unparsed}};
    markdown +=
        fmt::format("| {} | {} | {:.1f} | {:.1f} | {:.1f} | {:.1f} % |\n", bench.task, result.samples,
                    100 * result.accuracy, 100 * result.standard_error, 100 * result.chance, 100 * result.unparsed);
  }
  io::write_file(output / "summary.json", summary.dump(2) + "\n");
  io::write_file(output / "summary.md", markdown);
  std::cout << markdown;
  report_skipped(*pool, app.log());
  return kDone;
}

}  // namespace

Action add_eval(CLI::App& command) {
  auto options = std::make_shared<Options>();
  command
      .add_option("--bench", options->benches,
                  fmt::format("self-supervised tasks: {}", fmt::join(tasks::task_names(), ", ")))
      ->required()
      ->type_name("TASK");
  command.add_option("--model", options->model, "Hugging Face model directory or checkpoint")
      ->required()
      ->type_name("DIR");
  command
      .add_option(
          "--config", options->config,
          "run configuration: images, hold-out, seed, prompt, the tasks' settings [config.yaml of the model's run]")
      ->type_name("FILE");
  command.add_option("--set", options->overrides, "overrides a configuration key; may be given several times")
      ->type_name("KEY=VALUE")
      ->allow_extra_args(false);
  command.add_option("--data", options->data, "folder of images to use whole, instead of the held-out ones")
      ->type_name("DIR");
  command.add_option("--output", options->output, "folder for predictions and results [eval/ of the run or the model]")
      ->type_name("DIR");
  command.add_option("--limit", options->limit, "puzzles of each task [eval.samples]")
      ->check(CLI::PositiveNumber)
      ->type_name("N");
  return [options](App& app) { return run(app, *options); };
}

}  // namespace ssl4rl::cli
