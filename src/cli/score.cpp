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
constexpr size_t kLinesOfAPrompt = 64;  // that are prepared together
constexpr int64_t kAhead = 8;           // prepared before they are needed; a large picture's patches take some 300 MB

struct Options {
  std::filesystem::path model, input, output;
  double temperature = 1;
};

// Successive lines that ask the same.
struct Prepared {
  std::shared_ptr<const models::Prompt> prompt;
  std::span<const InputLine> lines;
  std::vector<std::vector<int64_t>> completions;
};

// A line needs one of the two, and ids must exist.
void check(const models::Processor& processor, const InputLine& line) {
  if (!line.completion && !line.completion_ids) fail("{}: expected \"completion\" or \"completion_ids\"", line.where);
  if (line.completion && line.completion_ids)
    fail("{}: \"completion\" and \"completion_ids\" exclude each other", line.where);
  if (line.completion_ids)
    for (const int64_t id : *line.completion_ids)
      if (id < 0 || id >= processor.config().text.vocab_size)
        fail("{}: completion_ids: {} is no token of the model", line.where, id);
  check_prompt(processor, line);
}

std::vector<std::span<const InputLine>> by_prompt(std::span<const InputLine> lines) {
  std::vector<std::span<const InputLine>> groups;
  for (size_t i = 0; i < lines.size(); ++i) {
    if (groups.empty() || groups.back().size() == kLinesOfAPrompt || !same_prompt(groups.back().front(), lines[i])) {
      groups.push_back(lines.subspan(i, 1));
    } else {
      groups.back() = {groups.back().data(), groups.back().size() + 1};
    }
  }
  return groups;
}

Prepared prepare(const models::Processor& processor, std::span<const InputLine> lines) {
  Prepared prepared{std::make_shared<const models::Prompt>(encode(processor, lines.front())), lines, {}};
  for (const InputLine& line : lines)
    prepared.completions.push_back(line.completion ? processor.tokenizer().encode(*line.completion)
                                                   : *line.completion_ids);
  return prepared;
}

// Collects completions up to the token budget, scores them in one forward and writes them in their order.
class Scorer {
 public:
  Scorer(const models::Model& model, double temperature, OutputLines& out)
      : model_(model), temperature_(temperature), out_(out) {}

  void add(Prepared&& prepared) {
    bool begun = false;  // whether the prompt stands in the batch
    for (size_t i = 0; i < prepared.completions.size(); ++i) {
      const auto own = static_cast<int64_t>(prepared.completions[i].size());
      if (!samples_.empty() && tokens_ + own + (begun ? 0 : prepared.prompt->length()) > kBatchTokens) {
        flush();
        begun = false;
      }
      tokens_ += own + (begun ? 0 : prepared.prompt->length());
      samples_.push_back({&prepared.lines[i], prepared.prompt, std::move(prepared.completions[i])});
      begun = true;
    }
  }

  void flush() {
    std::vector<models::PackedGroup> groups;
    for (const Sample& sample : samples_) {
      if (sample.completion.empty()) continue;
      if (groups.empty() || groups.back().prompt != sample.prompt.get()) groups.push_back({sample.prompt.get(), {}});
      groups.back().completions.emplace_back(sample.completion);
    }
    std::vector<double> values;
    if (!groups.empty()) {
      const at::NoGradGuard no_grad;
      const at::Tensor logprobs =
          model_.completion_logprobs(models::pack(groups, model_.config().ids.image, model_.device()), temperature_)
              .logprob_T.to(at::kDouble)
              .cpu()
              .contiguous();
      values.assign(logprobs.const_data_ptr<double>(), logprobs.const_data_ptr<double>() + logprobs.numel());
    }
    auto at = values.begin();
    for (const Sample& sample : samples_) {
      const std::vector<double> own(at, at + static_cast<ptrdiff_t>(sample.completion.size()));
      at += static_cast<ptrdiff_t>(own.size());
      write(sample, own);
    }
    samples_.clear();
    tokens_ = 0;
  }

 private:
  struct Sample {
    const InputLine* line;
    std::shared_ptr<const models::Prompt> prompt;
    std::vector<int64_t> completion;
  };

  void write(const Sample& sample, const std::vector<double>& logprobs) {
    Json json{{"id", sample.line->id},
              {"prompt_ids", sample.prompt->ids},
              {"token_ids", sample.completion},
              {"logprobs", logprobs},
              {"sum", std::accumulate(logprobs.begin(), logprobs.end(), 0.0)}};
    for (const auto& [key, value] : sample.line->extra.items())
      if (!json.contains(key)) json[key] = value;
    out_.write(json);
  }

  const models::Model& model_;
  double temperature_;
  OutputLines& out_;
  std::vector<Sample> samples_;
  int64_t tokens_ = 0;
};

int run_on_stream(App& app, const Options& options, const models::Model& model) {
  OutputLines out(options.output, "", 1, app.log());
  out.open();
  app.begin_work();
  const auto check_line = [&](const InputLine& line) { check(model.processor(), line); };
  for_each_available_batch(kLinesOfAPrompt, check_line, [&](std::vector<InputLine>&& lines) {
    Scorer scorer(model, options.temperature, out);
    for (const auto group : by_prompt(lines)) scorer.add(prepare(model.processor(), group));
    scorer.flush();
  });
  out.finish();
  return kDone;
}

int run(App& app, const Options& options) {
  const Runtime runtime = choose_runtime(app);
  if (options.input == "-") return run_on_stream(app, options, *load_model(app, options.model, runtime));
  const std::vector<InputLine> lines = read_lines(options.input);
  const auto processor = std::make_shared<const models::Processor>(options.model);
  for (const InputLine& line : lines) check(*processor, line);
  const std::string fingerprint = Json{
      {"command", "score"},
      {"model", model_fingerprint(options.model)},
      {"input", io::sha256_hex_of_file(options.input)},
      {"temperature", options.temperature},
      {"dtype",
       c10::toString(runtime.dtype)}}.dump();
  OutputLines out(options.output, fingerprint, 1, app.log());
  const auto model = load_model(app, options.model, processor, runtime);
  out.open();
  app.begin_work();

  const auto groups = by_prompt(std::span(lines).subspan(out.done()));
  const auto count = static_cast<int64_t>(groups.size());
  Pipeline<Prepared> prepared(0, data_threads({}), kAhead, [&](int64_t i) {
    return i < count ? prepare(*processor, groups[static_cast<size_t>(i)]) : Prepared{};
  });
  Progress progress(app.log(), "scoring", static_cast<int64_t>(lines.size()), static_cast<int64_t>(out.done()));
  Scorer scorer(*model, options.temperature, out);
  for (int64_t i = 0; i < count; ++i) {
    progress.update(groups[static_cast<size_t>(i)].data() - lines.data());
    scorer.add(prepared.next());
  }
  scorer.flush();
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
