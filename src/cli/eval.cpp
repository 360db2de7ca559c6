// ssl4rl eval: public benchmarks, and self-supervised tasks on held-out images.
#include <fmt/ranges.h>

#include <cstdlib>
#include <iostream>
#include <nlohmann/json.hpp>

#include "commands.h"
#include "experiment.h"
#include "ssl4rl/base/error.h"
#include "ssl4rl/base/interrupt.h"
#include "ssl4rl/eval/bench.h"
#include "ssl4rl/io/file.h"

namespace ssl4rl::cli {
namespace {
namespace fs = std::filesystem;

struct Options {
  std::vector<std::string> benches;
  std::optional<fs::path> model, config, data, output, predictions, baseline;
  std::vector<std::string> overrides, compat;
  std::string profile = "2026-06", prompt = "toolkit", extract, shard;
  std::optional<int64_t> limit, min_pixels, max_pixels, max_new_tokens;
  bool dry_run = false, jpeg_roundtrip = false, xlsx = false;
};

// ---- self-supervised tasks ----

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
  const auto run = run_of(*options.model);
  if (options.config) {
    read_run_config(config, *options.config, options.overrides);
  } else if (run) {
    read_run_config(config, *run / "config.yaml", options.overrides);
  } else {
    if (!options.data)
      fail("{}: is no checkpoint of a run; give --config FILE, or --data DIR for a folder of images",
           options.model->string());
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

struct TaskWork {
  RunConfig config;
  std::shared_ptr<const tasks::ImagePool> pool;
  std::vector<eval::TaskBench> benches;
};

TaskWork prepare_tasks(const Options& options, const std::vector<std::string>& names) {
  TaskWork work{.config = read_config(options)};
  RunConfig& config = work.config;
  const tasks::SplitImages images =
      options.data ? tasks::SplitImages{} : tasks::split_images(config.data, static_cast<uint64_t>(config.run.seed));
  work.pool = options.data ? std::make_shared<const tasks::ImagePool>(tasks::find_images(config.data.images),
                                                                      config.data.min_side)
                           : images.held_out;
  for (const std::string& name : names) {
    std::vector<tasks::TaskConfig> task;
    for (const auto& configured : config.tasks)
      if (configured.name == name) task = {configured};
    if (task.empty()) task = {tasks::make_task_config(name)};
    tasks::resolve_tasks(task);
    work.benches.push_back(make_task_bench(config, task[0], work.pool, options.limit.value_or(config.eval.samples)));
  }
  return work;
}

eval::SummaryLine to_summary(const eval::TaskBench& bench, const eval::TaskResult& result) {
  return {bench.task,          result.samples, 100 * result.accuracy, 100 * result.standard_error,
          100 * result.chance, result.unparsed};
}

// ---- public benchmarks ----

eval::Profile parse_profile(const std::string& name) {
  for (const auto profile : {eval::Profile::k2025_07, eval::Profile::k2025_08, eval::Profile::k2026_06})
    if (name == eval::profile_name(profile)) return profile;
  fail("--profile {}: expected 2025-07, 2025-08 or 2026-06", name);
}

eval::Extract parse_extract(const std::string& name) {
  for (const auto extract : {eval::Extract::kNone, eval::Extract::kAnswerTag, eval::Extract::kBoxed})
    if (name == eval::extract_name(extract)) return extract;
  fail("--extract {}: expected none, answer_tag or boxed", name);
}

std::optional<int64_t> environment_number(const char* name) {
  const char* const text = std::getenv(name);
  if (!text || !*text) return {};
  char* end = nullptr;
  const int64_t value = std::strtoll(text, &end, 10);
  return *end == '\0' ? std::optional(value) : std::nullopt;
}

// I/N of --shard, else this process's place among SLURM's tasks.
std::optional<eval::Shard> find_shard(const std::string& text) {
  eval::Shard shard;
  if (text.empty()) {
    const auto rank = environment_number("SLURM_PROCID");
    const auto step = environment_number("SLURM_STEP_NUM_TASKS"),
               tasks = step ? step : environment_number("SLURM_NTASKS");
    if (!rank || !tasks || *tasks < 2) return {};
    shard = {*rank, *tasks};
  } else {
    char slash = 0;
    std::istringstream in(text);
    if (!(in >> shard.index >> slash >> shard.count) || slash != '/' || in.peek() != EOF)
      fail("--shard {}: expected I/N, counted from 0, like 0/4", text);
  }
  if (shard.count < 1 || shard.index < 0 || shard.index >= shard.count)
    fail("--shard {}/{}: expected I from 0 to N - 1", shard.index, shard.count);
  return shard;
}

eval::BenchSettings bench_settings(const Options& options, const eval::PromptStyle& style) {
  eval::BenchSettings settings;
  settings.scoring.matcher.profile = parse_profile(options.profile);
  settings.scoring.extract = !options.extract.empty() ? parse_extract(options.extract)
                             : style.is_ssl4rl()      ? eval::Extract::kAnswerTag
                                                      : eval::Extract::kNone;
  for (const std::string& name : options.compat) {
    if (name == "keep-none") settings.keep_none = true;
    if (name == "verbose") settings.scoring.matcher.verbose_guard = true;
  }
  settings.asking = {options.max_new_tokens.value_or(2048), options.jpeg_roundtrip, data_threads({})};
  settings.baseline = options.baseline;
  settings.xlsx = options.xlsx;
  const fs::path named = options.predictions ? options.predictions->stem() : options.model.value_or("");
  if (!named.empty())
    settings.model_name = fs::absolute(named / "").lexically_normal().parent_path().filename().string();
  settings.shard = find_shard(options.shard);
  return settings;
}

std::vector<eval::Dataset> load_datasets(App& app, const Options& options, const std::vector<std::string>& names,
                                         bool keep_none) {
  std::vector<eval::Dataset> datasets;
  for (const std::string& name : names) {
    datasets.push_back(eval::load_dataset(name, eval::data_folder(options.data), keep_none, app.log()));
    eval::Dataset& dataset = datasets.back();
    if (options.limit) dataset.limit_to(static_cast<size_t>(*options.limit));
    for (size_t i = 0; i + 1 < datasets.size(); ++i)
      if (datasets[i].benchmark.name == dataset.benchmark.name) fail("--bench {}: stands twice", name);
  }
  return datasets;
}

// A file that cannot be scored is named before any work, but for the sets whose answers are secret.
void require_answers(const std::vector<eval::Dataset>& datasets) {
  for (const eval::Dataset& dataset : datasets)
    if (!dataset.has_answers() && !dataset.benchmark.inference_only)
      fail("{}: the column \"answer\" is missing or empty: there is nothing to score against", dataset.file.string());
}

int report(const fs::path& output, const std::vector<eval::SummaryLine>& lines) {
  eval::write_summary(output, lines);
  std::cout << eval::summary_markdown(lines);
  return kDone;
}

int write_prompts(App& app, const Options& options, const std::vector<std::string>& names) {
  if (!options.output) fail("--dry-run needs --output DIR");
  const eval::PromptStyle style(options.prompt);
  const eval::BenchSettings settings = bench_settings(options, style);
  const auto datasets = load_datasets(app, options, names, settings.keep_none);
  app.begin_work();
  for (const eval::Dataset& dataset : datasets)
    eval::write_prompts(dataset, style, settings, *options.output, app.log());
  return kDone;
}

int score_predictions(App& app, const Options& options, const std::vector<std::string>& names) {
  if (names.size() != 1) fail("--predictions: give one --bench, found {}", names.size());
  if (!options.output) fail("--predictions needs --output DIR");
  const eval::PromptStyle style(options.prompt);
  const eval::BenchSettings settings = bench_settings(options, style);
  const auto datasets = load_datasets(app, options, names, settings.keep_none);
  require_answers(datasets);
  const eval::GivenPredictions predictions{*options.predictions,
                                           eval::read_predictions(*options.predictions, datasets[0])};
  eval::check_bench(datasets[0], settings, predictions);
  app.begin_work();
  return report(*options.output,
                {eval::score_bench(datasets[0], style, settings, predictions, *options.output, app.log())});
}

// Names that are tasks, and names of public benchmarks.
std::pair<std::vector<std::string>, std::vector<std::string>> sort_names(const std::vector<std::string>& benches) {
  const auto tasks = tasks::task_names();
  std::pair<std::vector<std::string>, std::vector<std::string>> sorted;
  for (const std::string& name : benches) {
    if (std::find(tasks.begin(), tasks.end(), name) != tasks.end()) {
      sorted.first.push_back(name);
    } else if (eval::is_dataset_name(name)) {
      sorted.second.push_back(name);
    } else {
      std::vector<std::string> known = tasks;
      for (const eval::Benchmark& benchmark : eval::benchmarks()) known.push_back(benchmark.name);
      fail("--bench {}: unknown benchmark; did you mean \"{}\"?", name, config::nearest(name, known));
    }
  }
  return sorted;
}

int run(App& app, const Options& options) {
  const auto [task_names, dataset_names] = sort_names(options.benches);
  if (options.dry_run || options.predictions) {
    const char* const option = options.dry_run ? "--dry-run" : "--predictions";
    if (!task_names.empty())
      fail("--bench {}: {} works on public benchmarks and TSV files, not on a self-supervised task", task_names[0],
           option);
    return options.dry_run ? write_prompts(app, options, dataset_names)
                           : score_predictions(app, options, dataset_names);
  }
  if (!options.model) fail("--model DIR is missing (or --predictions FILE, or --dry-run)");
  std::optional<TaskWork> task_work;
  if (!task_names.empty()) task_work = prepare_tasks(options, task_names);
  const eval::PromptStyle style(options.prompt);
  const eval::BenchSettings settings = bench_settings(options, style);
  const auto datasets = load_datasets(app, options, dataset_names, settings.keep_none);
  require_answers(datasets);
  if (options.baseline)
    for (const eval::Dataset& dataset : datasets) eval::check_baseline(dataset, *options.baseline);

  // Self-supervised tasks are not split: the first of several processes asks them.
  const bool asks_tasks = task_work && (!settings.shard || settings.shard->index == 0);
  if (task_work && !asks_tasks) app.log().info("the first process asks the self-supervised tasks");
  if (datasets.empty() && !asks_tasks) return kDone;

  const ModelSection section = task_work ? task_work->config.model : ModelSection{};
  const Runtime runtime =
      choose_runtime(app, section.device, section.dtype, task_work ? task_work->config.run.threads : std::nullopt);
  const auto processor = std::make_shared<const models::Processor>(
      *options.model, options.min_pixels ? options.min_pixels : section.min_pixels,
      options.max_pixels ? options.max_pixels : section.max_pixels);
  const auto model = load_model(app, *options.model, processor, runtime);
  const auto run_folder = run_of(*options.model);
  const fs::path output = options.output.value_or(run_folder ? *run_folder / "eval" : *options.model / "eval");

  app.begin_work();
  const InterruptGuard interrupt;
  io::make_folder(output);
  const std::string fingerprint = model_fingerprint(*options.model);
  std::vector<eval::SummaryLine> lines;
  if (asks_tasks) {
    for (const eval::TaskBench& bench : task_work->benches)
      lines.push_back(to_summary(
          bench, eval::run_task_bench(bench, *model, fingerprint, output, app.log(), [&] { interrupt.check(); })));
    report_skipped(*task_work->pool, app.log());
  }
  for (const eval::Dataset& dataset : datasets)
    if (const auto line = eval::run_bench(dataset, style, settings, *model, fingerprint, output, app.log(),
                                          [&] { interrupt.check(); }))
      lines.push_back(*line);
  return lines.empty() ? kDone : report(output, lines);
}

std::string list_benchmarks() {
  std::string text = "Benchmarks (name: the toolkit's name, the file in --data):\n";
  for (const eval::Benchmark& b : eval::benchmarks())
    text += fmt::format("  {}: {}\n", b.name,
                        b.folder_of_classes ? "a folder of pictures per class, in --data or imagenet/ in it"
                                            : fmt::format("{}, {}", b.dataset, b.file));
  return text;
}

}  // namespace

Action add_eval(CLI::App& command) {
  auto options = std::make_shared<Options>();
  command
      .add_option("--bench", options->benches,
                  fmt::format("public benchmarks, .tsv files, or self-supervised tasks: {}",
                              fmt::join(tasks::task_names(), ", ")))
      ->required()
      ->type_name("NAME");
  command.add_option("--model", options->model, "Hugging Face model directory or checkpoint")->type_name("DIR");
  command
      .add_option("--predictions", options->predictions,
                  "score these predictions (.jsonl with index and prediction, or the toolkit's .tsv); no model")
      ->type_name("FILE");
  command.add_flag("--dry-run", options->dry_run, "write the prompts that would be asked; no model");
  command
      .add_option("--data", options->data,
                  "folder of the TSV files [$LMUData or ~/LMUData]; for a task: folder of images to use whole")
      ->type_name("DIR");
  command.add_option("--output", options->output, "folder for predictions and results [eval/ of the run or the model]")
      ->type_name("DIR");
  command.add_option("--profile", options->profile, "the toolkit's behaviour at a date: 2025-07, 2025-08 or 2026-06")
      ->capture_default_str()
      ->type_name("DATE");
  command.add_option("--prompt", options->prompt, "toolkit, qwen, ssl4rl, or the file of a template")
      ->capture_default_str()
      ->type_name("STYLE");
  command
      .add_option("--extract", options->extract,
                  "what of a response is read: none, answer_tag or boxed [none; answer_tag with --prompt ssl4rl]")
      ->type_name("WHAT");
  command
      .add_option("--compat", options->compat,
                  "keep-none: options named None or NA count; verbose: the toolkit's VERBOSE guard")
      ->check(CLI::IsMember({"keep-none", "verbose"}))
      ->type_name("NAME")
      ->allow_extra_args(false);
  command
      .add_option("--min-pixels", options->min_pixels,
                  "pictures are resized to at least this many pixels [the model's own]")
      ->check(CLI::PositiveNumber)
      ->type_name("N");
  command
      .add_option("--max-pixels", options->max_pixels,
                  "pictures are resized to at most this many pixels [the model's own]")
      ->check(CLI::PositiveNumber)
      ->type_name("N");
  command.add_flag("--jpeg-roundtrip", options->jpeg_roundtrip,
                   "single pictures go through JPEG of quality 75, as in the toolkit before February 2026");
  command.add_option("--max-new-tokens", options->max_new_tokens, "longest answer [2048]")
      ->check(CLI::PositiveNumber)
      ->type_name("N");
  command
      .add_option("--limit", options->limit, "ask the first N rows of each benchmark; puzzles of a task [eval.samples]")
      ->check(CLI::PositiveNumber)
      ->type_name("N");
  command
      .add_option("--shard", options->shard, "ask part I of N, counted from 0 [SLURM's task]; who finishes last scores")
      ->type_name("I/N");
  command
      .add_option("--baseline", options->baseline,
                  "output folder of another run to compare with: questions gained and lost, McNemar's test")
      ->type_name("DIR");
  command.add_flag("--xlsx", options->xlsx, "write the predictions as a spreadsheet too");
  command
      .add_option(
          "--config", options->config,
          "tasks: run configuration with images, hold-out, seed, prompt, settings [config.yaml of the model's run]")
      ->type_name("FILE");
  command.add_option("--set", options->overrides, "tasks: overrides a configuration key; may be given several times")
      ->type_name("KEY=VALUE")
      ->allow_extra_args(false);
  command.footer(list_benchmarks);
  return [options](App& app) { return run(app, *options); };
}

}  // namespace ssl4rl::cli
