#include "ssl4rl/rl/run.h"

#include <sys/resource.h>

#include <algorithm>
#include <nlohmann/json.hpp>

#include "ssl4rl/base/progress.h"
#include "ssl4rl/train/best.h"

namespace ssl4rl::rl {
namespace {

using Json = nlohmann::ordered_json;

void save(Run& run) {
  const auto folder = run.directory.checkpoint_folder(run.state.step);
  if (train::damage_of(folder) == std::nullopt) return;
  std::filesystem::remove_all(folder);
  train::save_checkpoint(folder, run.policy, run.optimizer, run.state, run.save_more);
  run.log.info("saved {}", folder.string());
  train::remove_old_checkpoints(run.directory.folder(), run.train, run.log);
}

// True: the step is among the keep_best best ones.
bool evaluate(Run& run, Json& metrics) {
  double sum = 0;
  int64_t accuracies = 0;
  for (const auto& [name, value] : run.evaluate(run.state.step, run.policy)) {
    metrics["eval/" + name] = value;
    run.log.info("step {}: {} {:.4g}", run.state.step, name, value);
    if (!name.ends_with("/accuracy")) continue;
    sum += value;
    ++accuracies;
  }
  if (!run.train.keep_best || accuracies == 0) return false;
  const auto best = train::note_score(run.directory.folder(), run.state.step, sum / static_cast<double>(accuracies),
                                      *run.train.keep_best);
  return std::find(best.begin(), best.end(), run.state.step) != best.end();
}

// The figures that a person watches, in one line.
std::string headline(const Json& metrics) {
  std::string text;
  const auto add = [&](const char* name, const char* label, const char* format) {
    if (const auto found = metrics.find(name); found != metrics.end() && found->is_number())
      text += fmt::format("{}{} {}", text.empty() ? "" : ", ", label,
                          fmt::format(fmt::runtime(format), found->get<double>()));
  };
  add("reward", "reward", "{:.3f}");
  add("loss", "loss", "{:.4f}");
  add("kl", "kl", "{:.4f}");
  add("frac_reward_zero_std", "equal groups", "{:.2f}");
  add("grad_norm", "grad norm", "{:.3f}");
  add("tokens/s", "tokens/s", "{:.0f}");
  return text;
}

}  // namespace

double peak_memory_gib() {
  rusage usage{};
  getrusage(RUSAGE_SELF, &usage);
  return static_cast<double>(usage.ru_maxrss) / (1 << 20);
}

void run_steps(Run& run, const std::function<Json(int64_t)>& step) {
  const int64_t total = run.train.total_steps();
  Progress progress(run.log, "step", total, run.state.step, /*interval=*/0);
  try {
    while (run.state.step < total) {
      run.interrupt.check();
      const int64_t number = run.state.step + 1;
      Json metrics = step(number);
      run.state.step = number;
      const bool last = number == total;
      bool keep = last || (run.train.save_every > 0 && number % run.train.save_every == 0);
      if (run.evaluate && run.train.eval_every > 0 && (number % run.train.eval_every == 0 || last))
        keep = evaluate(run, metrics) || keep;
      run.directory.log_metrics(number, metrics);
      progress.update(number, headline(metrics));
      if (!run.log.terminal())
        run.log.info("step {}/{}: {}, {} left", number, total, headline(metrics),
                     duration_text(progress.seconds_left()));
      if (keep) save(run);
    }
  } catch (const Interrupted&) {
    run.log.info("stopping: saving the state after step {}", run.state.step);
    save(run);
    throw;
  }
}

}  // namespace ssl4rl::rl
