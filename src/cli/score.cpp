// ssl4rl score: log-probabilities of given completions.
#include <ATen/ATen.h>
#include <ATen/core/grad_mode.h>

#include <nlohmann/json.hpp>
#include <numeric>

#include "commands.h"
#include "conversation.h"
#include "output_lines.h"
#include "runtime.h"
#include "ssl4rl/base/error.h"
#include "ssl4rl/base/pipeline.h"
#include "ssl4rl/base/progress.h"
#include "ssl4rl/io/hash.h"

namespace ssl4rl::cli {
namespace {

using Json = nlohmann::ordered_json;

constexpr int64_t kBatchTokens = 16384;

struct Options {
  std::filesystem::path model, input, output;
  double temperature = 1;
};

struct Prepared {
  const InputLine* line = nullptr;
  models::Prompt prompt;
  std::vector<int64_t> completion;

  [[nodiscard]] int64_t tokens() const { return prompt.length() + static_cast<int64_t>(completion.size()); }
};

// A line needs one of the two, and ids must exist.
void check(const InputLine& line) {
  if (!line.completion && !line.completion_ids) fail("{}: expected \"completion\" or \"completion_ids\"", line.where);
  if (line.completion && line.completion_ids)
    fail("{}: \"completion\" and \"completion_ids\" exclude each other", line.where);
}

Prepared prepare(const models::Processor& processor, const InputLine& line) {
  Prepared prepared{&line, encode(processor, line),
                    line.completion ? processor.tokenizer().encode(*line.completion) : *line.completion_ids};
  for (const int64_t id : prepared.completion)
    if (id < 0 || id >= processor.config().text.vocab_size)
      fail("{}: completion_ids: {} is no token of the model", line.where, id);
  return prepared;
}

void score_batch(const models::Model& model, double temperature, const std::vector<Prepared>& batch, OutputLines& out) {
  std::vector<models::PackedGroup> groups;
  for (const Prepared& prepared : batch)
    if (!prepared.completion.empty()) groups.push_back({&prepared.prompt, {prepared.completion}});
  std::vector<double> values;
  if (!groups.empty()) {
    const at::NoGradGuard no_grad;
    const at::Tensor logprobs =
        model.completion_logprobs(models::pack(groups, model.config().ids.image, model.device()), temperature)
            .logprob_T.to(at::kDouble)
            .cpu()
            .contiguous();
    values.assign(logprobs.const_data_ptr<double>(), logprobs.const_data_ptr<double>() + logprobs.numel());
  }
  auto at = values.begin();
  for (const Prepared& prepared : batch) {
    const std::vector<double> own(at, at + static_cast<ptrdiff_t>(prepared.completion.size()));
    at += static_cast<ptrdiff_t>(own.size());
    Json json{{"id", prepared.line->id},
              {"prompt_ids", prepared.prompt.ids},
              {"token_ids", prepared.completion},
              {"logprobs", own},
              {"sum", std::accumulate(own.begin(), own.end(), 0.0)}};
    for (const auto& [key, value] : prepared.line->extra.items())
      if (!json.contains(key)) json[key] = value;
    out.write(json);
  }
}

int run_on_stream(App& app, const Options& options, const models::Model& model) {
  OutputLines out(options.output, "", 1, app.log());
  out.open();
  app.begin_work();
  for_each_available_batch(16, [&](std::vector<InputLine>&& lines) {
    std::vector<Prepared> batch;
    for (const InputLine& line : lines) {
      check(line);
      batch.push_back(prepare(model.processor(), line));
    }
    score_batch(model, options.temperature, batch, out);
  });
  out.finish();
  return kDone;
}

int run(App& app, const Options& options) {
  const Runtime runtime = choose_runtime(app);
  if (options.input == "-") return run_on_stream(app, options, *load_model(app, options.model, runtime));
  const std::vector<InputLine> lines = read_lines(options.input);
  for (const InputLine& line : lines) check(line);
  const auto model = load_model(app, options.model, runtime);
  const std::string fingerprint = Json{
      {"command", "score"},
      {"model", model_fingerprint(options.model)},
      {"input", io::sha256_hex_of_file(options.input)},
      {"temperature", options.temperature},
      {"dtype",
       c10::toString(runtime.dtype)}}.dump();
  OutputLines out(options.output, fingerprint, 1, app.log());
  out.open();
  app.begin_work();

  const auto first = static_cast<int64_t>(out.done()), count = static_cast<int64_t>(lines.size());
  Pipeline<Prepared> prepared(first, data_threads({}), 64, [&](int64_t i) {
    return i < count ? prepare(model->processor(), lines[static_cast<size_t>(i)]) : Prepared{};
  });
  Progress progress(app.log(), "scoring", count, first);
  std::vector<Prepared> batch;
  int64_t tokens = 0;
  for (int64_t i = first; i < count; ++i) {
    Prepared next = prepared.next();
    if (!batch.empty() && tokens + next.tokens() > kBatchTokens) {
      score_batch(*model, options.temperature, batch, out);
      progress.update(i);
      batch.clear();
      tokens = 0;
    }
    tokens += next.tokens();
    batch.push_back(std::move(next));
  }
  if (!batch.empty()) score_batch(*model, options.temperature, batch, out);
  out.finish();
  return kDone;
}

}  // namespace

Action add_score(CLI::App& command) {
  auto options = std::make_shared<Options>();
  command.add_option("--model", options->model, "Hugging Face model directory")->required()->type_name("DIR");
  command.add_option("--input", options->input, "JSONL of conversations with completions; - is standard input")
      ->required()
      ->type_name("FILE");
  command.add_option("--output", options->output, "JSONL of log-probabilities; - is standard output")
      ->required()
      ->type_name("FILE");
  command.add_option("--temperature", options->temperature, "the logits are divided by it")
      ->check(CLI::PositiveNumber)
      ->capture_default_str()
      ->type_name("T");
  return [options](App& app) { return run(app, *options); };
}

}  // namespace ssl4rl::cli
