// ssl4rl bench: measures sampling and updates of given shapes beside the machine's limits.
#include <ATen/ATen.h>
#include <ATen/Parallel.h>
#include <stdlib.h>

#include <iostream>
#include <nlohmann/json.hpp>

#include "bench_measure.h"
#include "commands.h"
#include "memory_estimate.h"
#include "presets.h"
#include "runtime.h"
#include "ssl4rl/base/error.h"
#include "ssl4rl/base/memory.h"
#include "ssl4rl/base/progress.h"
#include "ssl4rl/nn/device_memory.h"

namespace ssl4rl::cli {
namespace {
namespace fs = std::filesystem;

using Json = nlohmann::ordered_json;

struct Options {
  fs::path model;
  std::string preset;
  std::vector<int64_t> prompts{4}, samples{8}, new_tokens{64}, image_sizes{252}, prompt_tokens;
  int64_t images = 2, micro_batch_tokens = 16384;
  int repeats = 3;
  bool gradient_checkpointing = false, cuda_graphs = false, json = false;
};

// A model of the preset's shape with random weights; nothing of it stays on the disk.
std::unique_ptr<models::Model> random_model(const Preset& preset, const Runtime& runtime) {
  std::string pattern = (fs::temp_directory_path() / "ssl4rl-bench-XXXXXX").string();
  if (!mkdtemp(pattern.data())) fail("{}: cannot make a folder", pattern);
  struct Folder {
    fs::path path;
    ~Folder() {
      std::error_code ignored;
      fs::remove_all(path, ignored);
    }
  } const folder{pattern};
  write_small_files(folder.path, preset);
  auto processor = std::make_shared<const models::Processor>(folder.path);
  models::Weights weights;
  const at::NoGradGuard no_grad;
  for (const models::Parameter& parameter : models::parameter_table(processor->config(), weights)) {
    *parameter.tensor = at::empty(parameter.shape, at::TensorOptions(runtime.device).dtype(runtime.dtype));
    if (parameter.shape.size() > 1) {
      parameter.tensor->normal_(0, preset.init_std);
    } else {
      parameter.tensor->fill_(parameter.name.ends_with(".bias") ? 0 : 1);
    }
  }
  if (processor->config().text.tie_embeddings) weights.head = weights.embedding;
  return std::make_unique<models::Model>(std::move(processor), std::move(weights));
}

std::vector<BenchShape> shapes_of(const Options& options) {
  std::vector<std::optional<int64_t>> prompt_tokens(options.prompt_tokens.begin(), options.prompt_tokens.end());
  if (prompt_tokens.empty()) prompt_tokens.emplace_back();
  std::vector<BenchShape> shapes;
  for (const int64_t size : options.image_sizes)
    for (const auto& tokens : prompt_tokens)
      for (const int64_t prompts : options.prompts)
        for (const int64_t length : options.new_tokens)
          for (const int64_t samples : options.samples)
            shapes.push_back({prompts, samples, length, options.images, size, tokens, options.cuda_graphs});
  return shapes;
}

// Four significant figures: more would be noise.
double rounded(double value) { return std::stod(fmt::format("{:.4g}", value)); }

Json measure(models::Model& model, const std::vector<models::Prompt>& prompts, const BenchShape& shape,
             const Options& options, const MachineLimits& machine) {
  nn::reset_memory_peak(model.device());
  const GenerationSpeed generation = measure_generation(model, prompts, shape, machine, options.repeats);
  const int64_t generation_peak = nn::memory_peak(model.device());
  nn::reset_memory_peak(model.device());
  const UpdateSpeed update = measure_update(model, prompts, shape, options.micro_batch_tokens, options.repeats);
  const int64_t update_peak = nn::memory_peak(model.device());

  int64_t prompt_tokens = 0, image_tokens = 0;
  for (const models::Prompt& prompt : prompts) {
    prompt_tokens = std::max(prompt_tokens, prompt.length());
    image_tokens =
        std::max<int64_t>(image_tokens, std::count(prompt.ids.begin(), prompt.ids.end(), model.config().ids.image));
  }
  const auto gib = [](int64_t bytes) { return rounded(static_cast<double>(bytes) / (1 << 30)); };
  const double decode_seconds = generation.seconds - generation.prefill_seconds;
  Json row{{"prompts", shape.prompts},
           {"num_generations", shape.samples},
           {"prompt_tokens", prompt_tokens},
           {"image_tokens", image_tokens},
           {"new_tokens", shape.new_tokens}};
  row["generation"] = {{"seconds", rounded(generation.seconds)},
                       {"tokens_per_second", rounded(static_cast<double>(generation.tokens) / generation.seconds)},
                       {"prefill_seconds", rounded(generation.prefill_seconds)},
                       {"decode_step_ms", rounded(1e3 * decode_seconds /
                                                  static_cast<double>(std::max<int64_t>(1, shape.new_tokens - 1)))},
                       {"gflop", rounded(generation.flop / 1e9)},
                       {"share_of_sgemm_peak", rounded(generation.flop / generation.seconds / machine.flops)},
                       {"share_of_limit", rounded(generation.floor_seconds / generation.seconds)}};
  row["update"] = {{"seconds", rounded(update.seconds)},
                   {"tokens_per_second", rounded(static_cast<double>(update.tokens) / update.seconds)},
                   {"gflop", rounded(update.flop / 1e9)},
                   {"share_of_sgemm_peak", rounded(update.flop / update.seconds / machine.flops)}};
  int64_t values = 0;
  for (const auto& parameter : model.parameters()) values += parameter.tensor->numel();
  const MemoryEstimate predicted = estimate_memory(model.config(),
                                                   {.values = values,
                                                    .trained = values,
                                                    .micro_batch_tokens = options.micro_batch_tokens,
                                                    .prompt_tokens = prompt_tokens,
                                                    .image_tokens = image_tokens,
                                                    .completion_tokens = shape.new_tokens,
                                                    .samples = shape.samples,
                                                    .prompts = shape.prompts,
                                                    .recompute = options.gradient_checkpointing},
                                                   model.dtype(), model.device().type());
  row["peak_memory_gib"] = {
      {"generation", gib(generation_peak)},
      {"update", gib(update_peak)},
      // A GPU's peaks are those of its tensors.
      {"update_predicted", gib(predicted.update() - (model.device().is_cpu() ? 0 : predicted.program))}};
  return row;
}

void print_table(const Json& result) {
  const Json& machine = result["machine"];
  std::cout << fmt::format(
      "{}: {} parameters, {} on {}, {} threads; matrix products {:.0f} GFLOP/s, memory {:.1f} GB/s\n\n",
      result["model"].get<std::string>(), count_text(result["parameters"].get<double>()),
      result["dtype"].get<std::string>(), result["device"].get<std::string>(), result["threads"].get<int>(),
      machine["sgemm_gflops"].get<double>(), machine["read_gb_per_s"].get<double>());
  std::cout << fmt::format("{:>7} {:>7} {:>7} {:>6} | {:>9} {:>9} {:>9} {:>8} | {:>9} {:>9} {:>8} | {:>8}\n", "prompts",
                           "samples", "prompt", "new", "gen tok/s", "prefill s", "ms/step", "of limit", "upd tok/s",
                           "update s", "of sgemm", "peak GiB");
  for (const Json& row : result["cases"]) {
    const Json &g = row["generation"], &u = row["update"];
    const auto memory = row.find("peak_memory_gib");
    std::cout << fmt::format(
        "{:>7} {:>7} {:>7} {:>6} | {:>9.0f} {:>9.3f} {:>9.2f} {:>7.0f}% | {:>9.0f} {:>9.3f} {:>7.0f}% | {:>8}\n",
        row["prompts"].get<int>(), row["num_generations"].get<int>(), row["prompt_tokens"].get<int>(),
        row["new_tokens"].get<int>(), g["tokens_per_second"].get<double>(), g["prefill_seconds"].get<double>(),
        g["decode_step_ms"].get<double>(), 100 * g["share_of_limit"].get<double>(),
        u["tokens_per_second"].get<double>(), u["seconds"].get<double>(), 100 * u["share_of_sgemm_peak"].get<double>(),
        memory == row.end() ? "-"
                            : fmt::format("{:.2f}", std::max((*memory)["generation"].get<double>(),
                                                             (*memory)["update"].get<double>())));
  }
}

int run(App& app, const Options& options) {
  if (options.model.empty() == options.preset.empty()) fail("bench: give either --model or --preset");
  const Runtime runtime = choose_runtime(app);
  const auto model =
      options.model.empty() ? random_model(preset(options.preset), runtime) : load_model(app, options.model, runtime);
  const std::vector<BenchShape> shapes = shapes_of(options);
  std::vector<std::vector<models::Prompt>> prompts;
  for (const BenchShape& shape : shapes) prompts.push_back(bench_prompts(model->processor(), shape));
  app.begin_work();
  model->set_recompute(options.gradient_checkpointing);
  int64_t values = 0;
  for (const auto& parameter : model->parameters()) values += parameter.tensor->numel();
  keep_freed_memory(false);  // what the machine is measured with is no part of the peaks
  const MachineLimits machine = measure_machine(runtime.device, runtime.dtype);
  keep_freed_memory(true);
  Json result{
      {"model", options.model.empty() ? options.preset : options.model.string()},
      {"parameters", values},
      {"dtype", type_name(runtime.dtype)},
      {"device", runtime.device.str()},
      {"threads", at::get_num_threads()},
      {"gradient_checkpointing", options.gradient_checkpointing},
      {"cuda_graphs", options.cuda_graphs},
      {"machine",
       {{"sgemm_gflops", rounded(machine.flops / 1e9)}, {"read_gb_per_s", rounded(machine.bytes_per_second / 1e9)}}}};
  Progress progress(app.log(), "measuring", std::ssize(shapes));
  for (size_t i = 0; i < shapes.size(); ++i) {
    result["cases"].push_back(measure(*model, prompts[i], shapes[i], options, machine));
    progress.update(static_cast<int64_t>(i) + 1);
  }
  if (options.json) {
    std::cout << result.dump() << "\n";
  } else {
    print_table(result);
  }
  return kDone;
}

}  // namespace

Action add_bench(CLI::App& command) {
  auto options = std::make_shared<Options>();
  std::vector<std::string> names;
  for (const auto& [name, what] : preset_names()) names.push_back(name);
  command.add_option("--model", options->model, "Hugging Face model directory")->type_name("DIR");
  command.add_option("--preset", options->preset, "a random model of a known shape (see init --help)")
      ->check(CLI::IsMember(names))
      ->type_name("NAME");
  const auto list = [&command](const char* name, std::vector<int64_t>& values, const char* help) {
    return command.add_option(name, values, help)
        ->delimiter(',')
        ->check(CLI::Validator(
            [](const std::string& text) {
              const bool whole = !text.empty() && text.find_first_not_of("0123456789") == std::string::npos;
              return whole && text.find_first_not_of('0') != std::string::npos && text.size() < 10
                         ? std::string()
                         : "\"" + text + "\": expected whole numbers of at least 1";
            },
            ""))
        ->allow_extra_args(false)
        ->type_name("N,…");
  };
  list("--prompts", options->prompts, "prompts at a time")->capture_default_str();
  list("--num-generations", options->samples, "samples per prompt")->capture_default_str();
  list("--new-tokens", options->new_tokens, "tokens of each sample")->capture_default_str();
  list("--prompt-tokens", options->prompt_tokens, "tokens of a prompt with its images [a short question]");
  list("--image-size", options->image_sizes, "pixels a side of each image")->capture_default_str();
  command.add_option("--images", options->images, "images in each prompt")
      ->check(CLI::NonNegativeNumber)
      ->capture_default_str()
      ->type_name("N");
  command.add_option("--micro-batch-tokens", options->micro_batch_tokens, "tokens in one forward of the update")
      ->check(CLI::PositiveNumber)
      ->capture_default_str()
      ->type_name("N");
  command.add_flag("--cuda-graphs", options->cuda_graphs, "on CUDA: record decoding steps (rollout.cuda_graphs)");
  command.add_flag("--gradient-checkpointing", options->gradient_checkpointing,
                   "keep only each layer's input for backward");
  command.add_option("--repeats", options->repeats, "measurements of each shape, after one that warms up")
      ->check(CLI::PositiveNumber)
      ->capture_default_str()
      ->type_name("N");
  command.add_flag("--json", options->json, "print one JSON object");
  command.footer(
      "Options with N,… take several values; every combination is measured. Ending tokens do not end a sample here.");
  return [options](App& app) { return run(app, *options); };
}

}  // namespace ssl4rl::cli
