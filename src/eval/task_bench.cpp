#include "ssl4rl/eval/task_bench.h"

#include <cmath>
#include <map>
#include <nlohmann/json.hpp>

#include "ssl4rl/base/error.h"
#include "ssl4rl/base/pipeline.h"
#include "ssl4rl/base/progress.h"
#include "ssl4rl/io/file.h"
#include "ssl4rl/io/jsonl.h"
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

// Predictions that an earlier call wrote under the same fingerprint; an incomplete last line is cut off.
std::map<int64_t, Json> read_earlier(const fs::path& file, const Json& fingerprint, const Log& log) {
  if (!fs::exists(file)) return {};
  const std::string text = io::read_file(file);
  const size_t whole = text.rfind('\n');
  const std::string complete = whole == std::string::npos ? "" : text.substr(0, whole + 1);
  std::map<int64_t, Json> earlier;
  bool same = false;
  size_t line_number = 0;
  for (size_t begin = 0; begin < complete.size(); ++line_number) {
    const size_t end = complete.find('\n', begin);
    const Json line = Json::parse(complete.substr(begin, end - begin), nullptr, false);
    begin = end + 1;
    if (line_number == 0) {
      same = line.is_object() && line.contains("fingerprint") && line["fingerprint"] == fingerprint;
      if (!same) {
        log.warn("{}: belongs to another model or other settings; starting anew", file.string());
        return {};
      }
    } else if (line.is_object() && line.contains("index")) {
      earlier[line["index"].get<int64_t>()] = line;
    }
  }
  if (complete.size() != text.size()) io::write_file(file, complete);
  return same ? earlier : std::map<int64_t, Json>{};
}

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
      .help("what train.eval_every evaluates: names of configured tasks; empty: all of them");
  section.add("samples", samples).at_least(1).help("held-out puzzles of a task in an evaluation");
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
  const fs::path folder = output / bench.task, file = folder / "predictions.jsonl";
  io::make_folder(folder);
  const Json fingerprint{{"model", model_fingerprint}, {"settings", bench.settings()}};
  std::map<int64_t, Json> predictions = read_earlier(file, fingerprint, log);
  if (predictions.empty()) io::write_file(file, io::to_line({{"fingerprint", fingerprint}}) + "\n");
  std::vector<int64_t> open;
  for (const int64_t i : first_indices(bench.samples))
    if (!predictions.contains(i)) open.push_back(i);
  if (open.size() < static_cast<size_t>(bench.samples))
    log.info("{}: {} of {} questions are answered already", bench.task,
             bench.samples - static_cast<int64_t>(open.size()), bench.samples);
  io::OutputFile out(file, io::OutputFile::Mode::kAppend);
  ask(bench, model, open, bench.task, log, poll,
      [&](int64_t index, const Question& question, const Prediction& prediction) {
        const Json line = to_json(index, question, prediction);
        out.write(io::to_line(line) + "\n");
        predictions[index] = line;
      });
  out.sync();
  std::vector<double> hits;
  int64_t unparsed = 0;
  for (const auto& [index, line] : predictions) {
    if (index >= bench.samples) continue;
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
