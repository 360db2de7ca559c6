// ssl4rl generate: samples completions of prompts from a JSONL file.
#include <nlohmann/json.hpp>

#include "commands.h"
#include "conversation.h"
#include "output_lines.h"
#include "runtime.h"
#include "ssl4rl/base/error.h"
#include "ssl4rl/base/pipeline.h"
#include "ssl4rl/base/progress.h"
#include "ssl4rl/io/hash.h"
#include "ssl4rl/rollout/engine.h"

namespace ssl4rl::cli {
namespace {

using Json = nlohmann::ordered_json;

// A batch ends with this many samples, or with so many tokens of prompts (a large picture's patches take some 300 MB).
constexpr int64_t kBatchSamples = 256, kBatchPromptTokens = 32768, kAhead = 8;

struct Options {
  std::filesystem::path model, input, output;
  rollout::SamplingPlan plan;
  int64_t num_generations = 1;
};

struct Prepared {
  const InputLine* line = nullptr;
  models::Prompt prompt;
};

// Samples for some lines, written in their order.
int64_t generate_batch(const models::Model& model, const Options& options, const std::vector<Prepared>& batch,
                       OutputLines& out, const rollout::Engine::Poll& poll) {
  std::vector<rollout::Request> requests;
  for (const Prepared& prepared : batch)
    requests.push_back({&prepared.prompt, options.num_generations, static_cast<uint64_t>(prepared.line->number), 0});
  const rollout::Generation drawn = rollout::Engine(model).generate(requests, options.plan, poll);
  for (size_t i = 0; i < batch.size(); ++i)
    for (size_t s = 0; s < drawn.completions[i].size(); ++s) {
      const rollout::Completion& completion = drawn.completions[i][s];
      Json json{{"id", batch[i].line->id},
                {"sample", s},
                {"text", model.processor().tokenizer().decode(completion.ids)},
                {"token_ids", completion.ids},
                {"logprobs", completion.logprobs},
                {"finish_reason", rollout::finish_name(completion.finish)},
                {"prompt_tokens", batch[i].prompt.length()}};
      for (const auto& [key, value] : batch[i].line->extra.items())
        if (!json.contains(key)) json[key] = value;
      out.write(json);
    }
  return drawn.tokens;
}

std::string fingerprint(const Options& options, const Runtime& runtime) {
  const auto& [temperature, top_p, top_k, min_p] = options.plan.sampling;
  return Json{{"command", "generate"},
              {"model", model_fingerprint(options.model)},
              {"input", io::sha256_hex_of_file(options.input)},
              {"temperature", temperature},
              {"top_p", top_p},
              {"top_k", top_k},
              {"min_p", min_p},
              {"max_new_tokens", options.plan.max_new_tokens},
              {"stop", options.plan.stop},
              {"num_generations", options.num_generations},
              {"seed", options.plan.seed},
              {"dtype", c10::toString(runtime.dtype)}}
      .dump();
}

int run_on_stream(App& app, const Options& options, const models::Model& model) {
  OutputLines out(options.output, "", 1, app.log());
  out.open();
  app.begin_work();
  const auto check = [&](const InputLine& line) { check_prompt(model.processor(), line); };
  for_each_available_batch(64, check, [&](std::vector<InputLine>&& lines) {
    std::vector<Prepared> batch;
    for (const InputLine& line : lines) batch.push_back({&line, encode(model.processor(), line)});
    generate_batch(model, options, batch, out, {});
  });
  out.finish();
  return kDone;
}

int run(App& app, const Options& options) {
  const Runtime runtime = choose_runtime(app);
  if (options.input == "-") return run_on_stream(app, options, *load_model(app, options.model, runtime));
  const std::vector<InputLine> lines = read_lines(options.input);
  const auto processor = std::make_shared<const models::Processor>(options.model);
  for (const InputLine& line : lines) check_prompt(*processor, line);
  OutputLines out(options.output, fingerprint(options, runtime), static_cast<size_t>(options.num_generations),
                  app.log());
  const auto model = load_model(app, options.model, processor, runtime);
  out.open();
  app.begin_work();

  const auto count = static_cast<int64_t>(lines.size());
  int64_t done = static_cast<int64_t>(out.done());
  Pipeline<Prepared> prepared(done, data_threads({}), kAhead, [&](int64_t i) {
    if (i >= count) return Prepared{};
    const InputLine& line = lines[static_cast<size_t>(i)];
    return Prepared{&line, encode(*processor, line)};
  });
  Progress progress(app.log(), "generating", count, done);
  while (done < count) {
    std::vector<Prepared> batch;
    for (int64_t samples = 0, tokens = 0;
         done + std::ssize(batch) < count && samples < kBatchSamples && tokens < kBatchPromptTokens;
         samples += options.num_generations) {
      batch.push_back(prepared.next());
      tokens += batch.back().prompt.length();
    }
    generate_batch(*model, options, batch, out,
                   [&](int64_t finished) { progress.update(done + finished / options.num_generations); });
    done += std::ssize(batch);
  }
  out.finish();
  return kDone;
}

}  // namespace

Action add_generate(CLI::App& command) {
  auto options = std::make_shared<Options>();
  command.add_option("--model", options->model, "Hugging Face model directory")->required()->type_name("DIR");
  command.add_option("--input", options->input, "JSONL of conversations; - is standard input")
      ->required()
      ->type_name("FILE");
  command.add_option("--output", options->output, "JSONL of completions; - is standard output")
      ->required()
      ->type_name("FILE");
  command.add_option("--max-new-tokens", options->plan.max_new_tokens, "longest completion")
      ->check(CLI::PositiveNumber)
      ->capture_default_str()
      ->type_name("N");
  command.add_option("--temperature", options->plan.sampling.temperature, "0 is greedy")
      ->check(CLI::NonNegativeNumber)
      ->capture_default_str()
      ->type_name("T");
  command
      .add_option("--top-p", options->plan.sampling.top_p,
                  "sample among the likeliest tokens that reach this probability")
      ->check(CLI::Range(1e-9, 1.0))
      ->capture_default_str()
      ->type_name("P");
  command.add_option("--top-k", options->plan.sampling.top_k, "sample among this many likeliest tokens; 0: all")
      ->check(CLI::NonNegativeNumber)
      ->capture_default_str()
      ->type_name("K");
  command
      .add_option("--min-p", options->plan.sampling.min_p,
                  "sample among tokens with at least this share of the likeliest one's probability; 0: all")
      ->check(CLI::Range(0.0, 1.0))
      ->capture_default_str()
      ->type_name("P");
  command.add_option("--num-generations", options->num_generations, "samples per prompt")
      ->check(CLI::PositiveNumber)
      ->capture_default_str()
      ->type_name("G");
  command.add_option("--stop", options->plan.stop, "text that ends a sample; may be given several times")
      ->type_name("TEXT")
      ->allow_extra_args(false);
  command.add_option("--seed", options->plan.seed, "of the random numbers")->capture_default_str()->type_name("S");
  return [options](App& app) { return run(app, *options); };
}

}  // namespace ssl4rl::cli
