#include "run_evaluation.h"

#include <algorithm>

#include "experiment.h"
#include "ssl4rl/base/error.h"
#include "ssl4rl/eval/bench.h"

namespace ssl4rl::cli {
namespace {

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

}  // namespace

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

}  // namespace ssl4rl::cli
