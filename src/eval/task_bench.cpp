#include "ssl4rl/eval/task_bench.h"

#include <cmath>
#include <nlohmann/json.hpp>

#include "ssl4rl/base/error.h"
#include "ssl4rl/base/pipeline.h"
#include "ssl4rl/base/progress.h"
#include "ssl4rl/eval/predictions.h"
#include "ssl4rl/io/file.h"
#include "ssl4rl/rollout/engine.h"

namespace ssl4rl::eval {
namespace fs = std::filesystem;
namespace {

using Json = nlohmann::ordered_json;

struct Question {
  tasks::Puzzle puzzle;
  models::Prompt prompt;
};

// One line of predictions.jsonl.
struct Prediction {
  std::string text;
  rewards::Score score;
  int64_t prompt_tokens = 0, tokens = 0;
};

Json to_json(int64_t index, const Question& question, const Prediction& p) {
  return {{"index", index},
          {"id", question.puzzle.id},
          {"source", question.puzzle.source},
          {"answer", question.puzzle.answer},
          {"prediction", p.text},
          {"extracted", p.score.extracted ? Json(*p.score.extracted) : Json()},
          {"hit", p.score.accuracy},
          {"unparsed", p.score.unparsed},
          {"prompt_tokens", p.prompt_tokens},
          {"tokens", p.tokens}};
}

TaskResult summarise(const TaskBench& bench, const std::vector<double>& hits, int64_t unparsed) {
  const tasks::TaskConfig& task = bench.mixture->tasks().front();
  TaskResult result{.samples = static_cast<int64_t>(hits.size()), .chance = task.task->chance(task.reward_function())};
  const double n = static_cast<double>(hits.size());
  double sum = 0, squares = 0, solved = 0;
  for (const double hit : hits) {
    sum += hit;
    squares += hit * hit;
    solved += hit == 1;
  }
  result.accuracy = sum / n;
  result.solved = solved / n;
  result.standard_error = std::sqrt(std::max(0.0, squares / n - result.accuracy * result.accuracy) / n);
  result.unparsed = static_cast<double>(unparsed) / n;
  return result;
}

// Asks the questions `indices` in batches; `answered` gets each prediction in order.
void ask(const TaskBench& bench, const models::Model& model, const std::vector<int64_t>& indices,
         const std::string& label, const Log& log, const std::function<void()>& poll,
         const std::function<void(int64_t, const Question&, const Prediction&)>& answered) {
  constexpr size_t kBatch = 64;
  const models::Processor& processor = model.processor();
  Pipeline<Question> questions(0, bench.threads, 2 * kBatch, [&](int64_t i) {
    if (i >= static_cast<int64_t>(indices.size())) return Question{};
    Question question{bench.mixture->draw(indices[static_cast<size_t>(i)]), {}};
    question.prompt = processor.encode(tasks::messages_of(question.puzzle), question.puzzle.images);
    question.puzzle.images.clear();
    return question;
  });
  const rollout::Engine engine(model);
  const rollout::SamplingPlan plan{{0, 1, 0}, bench.max_new_tokens, bench.stop, 0};
  Progress progress(log, label, static_cast<int64_t>(indices.size()));
  for (size_t begin = 0; begin < indices.size(); begin += kBatch) {
    std::vector<Question> batch;
    for (size_t i = begin; i < std::min(begin + kBatch, indices.size()); ++i) batch.push_back(questions.next());
    std::vector<rollout::Request> requests;
    for (const Question& question : batch) requests.push_back({&question.prompt, 1, 0, 0});
    const rollout::Generation generated = engine.generate(requests, plan, [&](int64_t finished) {
      poll();
      progress.update(static_cast<int64_t>(begin) + finished);
    });
    for (size_t i = 0; i < batch.size(); ++i) {
      const Question& question = batch[i];
      const rollout::Completion& completion = generated.completions[i][0];
      Prediction prediction{.text = processor.tokenizer().decode(completion.ids),
                            .prompt_tokens = question.prompt.length(),
                            .tokens = static_cast<int64_t>(completion.ids.size())};
      const tasks::TaskConfig& task = bench.mixture->task_of(question.puzzle);
      prediction.score = rewards::score(bench.reward, bench.style, rewards::expected_of(question.puzzle, task),
                                        prediction.text, prediction.tokens);
      answered(indices[begin + i], question, prediction);
    }
  }
}

std::vector<int64_t> first_indices(int64_t count) {
  std::vector<int64_t> indices;
  for (int64_t i = 0; i < count; ++i) indices.push_back(i);
  return indices;
}

}  // namespace

void EvalConfig::describe(config::Section& section) {
  section.add("benches", benches)
      .help("what train.eval_every evaluates: names of configured tasks and public benchmarks; empty: all tasks")
      .changeable();
  section.add("samples", samples)
      .at_least(1)
      .help("held-out puzzles of a task, rows of a benchmark in an evaluation")
      .changeable();
  section.add("data", data)
      .unset_means("$LMUData or ~/LMUData")
      .help("folder of the public benchmarks' TSV files")
      .changeable();
}

Json TaskBench::settings() const {
  const tasks::TaskConfig& config = mixture->tasks().front();
  config::Section section;
  tasks::TaskConfig described = config;
  described.describe(section);
  return {{"task", task},
          {"samples", samples},
          {"task_keys", config::to_yaml(section)},
          {"reward", config.reward_function()},
          {"style", tasks::style_name(style)},
          {"max_new_tokens", max_new_tokens},
          {"stop", stop},
          {"first_question", mixture->draw(0).question},
          {"first_source", mixture->draw(0).source},
          {"held_out_images", mixture->pool().size()}};
}

TaskResult run_task_bench(const TaskBench& bench, const models::Model& model, const Log& log,
                          const std::function<void()>& poll) {
  std::vector<double> hits;
  int64_t unparsed = 0;
  ask(bench, model, first_indices(bench.samples), "evaluating " + bench.task, log, poll,
      [&](int64_t, const Question&, const Prediction& prediction) {
        hits.push_back(prediction.score.accuracy);
        unparsed += prediction.score.unparsed;
      });
  return summarise(bench, hits, unparsed);
}

TaskResult run_task_bench(const TaskBench& bench, const models::Model& model, const std::string& model_fingerprint,
                          const fs::path& output, const Log& log, const std::function<void()>& poll) {
  const fs::path folder = output / bench.task;
  PredictionFile file(folder, {{"model", model_fingerprint}, {"settings", bench.settings()}}, {}, log);
  std::vector<int64_t> open;
  for (const int64_t i : first_indices(bench.samples))
    if (!file.lines().contains(std::to_string(i))) open.push_back(i);
  if (open.size() < static_cast<size_t>(bench.samples))
    log.info("{}: {} of {} questions are answered already", bench.task,
             bench.samples - static_cast<int64_t>(open.size()), bench.samples);
  ask(bench, model, open, bench.task, log, poll,
      [&](int64_t index, const Question& question, const Prediction& prediction) {
        file.append(to_json(index, question, prediction));
      });
  file.sync();
  std::vector<double> hits;
  int64_t unparsed = 0;
  for (const int64_t i : first_indices(bench.samples)) {
    const Json& line = file.lines().at(std::to_string(i));
    hits.push_back(line["hit"].get<double>());
    unparsed += line["unparsed"].get<bool>();
  }
  const TaskResult result = summarise(bench, hits, unparsed);
  const Json json{{"bench", bench.task},
                  {"dataset", "held-out images"},
                  {"profile", nullptr},
                  {"samples", result.samples},
                  {"overall", 100 * result.accuracy},
                  {"table", Json::array({{{"split", "held-out"},
                                          {"Overall", result.accuracy},
                                          {"solved", result.solved},
                                          {"standard_error", result.standard_error},
                                          {"unparsed", result.unparsed},
                                          {"chance", result.chance}}})},
                  {"settings", bench.settings()},
                  {"md5", nullptr},
                  {"md5_known", nullptr}};
  io::write_file(folder / "result.json", json.dump(2) + "\n");
  return result;
}

}  // namespace ssl4rl::eval
