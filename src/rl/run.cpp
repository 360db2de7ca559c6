#include "ssl4rl/rl/run.h"

#include <algorithm>
#include <nlohmann/json.hpp>

#include "ssl4rl/base/progress.h"
#include "ssl4rl/base/rng.h"
#include "ssl4rl/io/jsonl.h"
#include "ssl4rl/nn/device_memory.h"
#include "ssl4rl/train/best.h"

namespace ssl4rl::rl {
namespace {

using Json = nlohmann::ordered_json;

// True: the step is among the keep_best best ones.
bool evaluate_here(Run& run, Json& metrics) {
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

// Rank 0 evaluates, and all know whether its checkpoint stays.
bool evaluate(Run& run, Json& metrics) {
  const train::WholeWeights whole(run.policy, run.communicator, run.interrupt);
  const bool best = run.communicator.first() && evaluate_here(run, metrics);
  run.communicator.agree(run.interrupt);
  return run.communicator.sum(best) > 0;
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

// One run of the loop, with what it must remember.
class Steps {
 public:
  explicit Steps(Run& run)
      : run_(run),
        writer_(run.directory, run.train, run.log),
        progress_(run.log, "step", run.train.total_steps(), run.state.step, /*interval=*/0) {}

  void run(const std::function<Json(int64_t)>& step) {
    if (!run_.state.unlogged.empty()) finish(Json::parse(run_.state.unlogged));
    while (run_.state.step < run_.train.total_steps()) {
      run_.communicator.agree(run_.interrupt);
      writer_.check();
      Json metrics = step(run_.state.step + 1);
      ++run_.state.step;
      run_.state.unlogged = io::to_line(metrics);
      remember();
      finish(std::move(metrics));
    }
    writer_.wait();
  }

  // After an exception: saves the last finished step, where there is one and its weights are still the run's.
  void save_what_is_done() {
    if (weights_changed()) {
      run_.log.warn("step {} was cut off in the middle; the last checkpoint stands before it", before_.step + 1);
      return;
    }
    run_.state = before_;
    run_.log.info("stopping: saving the state after step {}", run_.state.step);
    save(When::kNow);
  }
  [[nodiscard]] bool has_done_steps() const { return run_.state.step > first_; }

 private:
  using When = train::CheckpointWriter::When;

  [[nodiscard]] bool weights_changed() const { return run_.optimizer.updates() != updates_before_; }

  void remember() {
    before_ = run_.state;
    updates_before_ = run_.optimizer.updates();
  }

  // What follows a step: its evaluation, its line of metrics, a checkpoint.
  void finish(Json metrics) {
    const int64_t number = run_.state.step, total = run_.train.total_steps();
    const bool last = number == total;
    bool keep = last || (run_.train.save_every > 0 && number % run_.train.save_every == 0);
    if (run_.evaluate && run_.train.eval_every > 0 && (number % run_.train.eval_every == 0 || last))
      keep = evaluate(run_, metrics) || keep;
    if (run_.communicator.first()) run_.directory.log_metrics(number, metrics);
    run_.state.unlogged.clear();
    remember();
    progress_.update(number, headline(metrics));
    if (!run_.log.terminal())
      run_.log.info("step {}/{}: {}, {} left", number, total, headline(metrics),
                    duration_text(progress_.seconds_left()));
    if (keep) save(last ? When::kNow : When::kInBackground);
  }

  // All ranks give rank 0 their parts of the state, which it writes.
  void save(When when) {
    run_.optimizer.collect();
    if (run_.collect_more) run_.collect_more();
    std::unique_ptr<models::Model> weights;
    if (run_.sharded) weights = run_.sharded->collect(run_.policy);
    if (!run_.communicator.first()) return;
    train::TensorFiles more = run_.more_files ? run_.more_files() : train::TensorFiles{};
    if (weights)
      writer_.save({std::move(weights), run_.optimizer, run_.state, std::move(more)}, when);
    else
      writer_.save({run_.policy, run_.optimizer, run_.state, std::move(more)}, when);
  }

  Run& run_;
  train::CheckpointWriter writer_;
  Progress progress_;
  const int64_t first_ = run_.state.step;
  train::TrainerState before_ = run_.state;  // of the last moment at which everything belonged together
  int64_t updates_before_ = run_.optimizer.updates();
};

}  // namespace

uint64_t dropout_key(const Run& run, int64_t step, uint64_t micro_batch) {
  return Rng(run.seed, Stream::kDropout,
             {static_cast<uint64_t>(step), static_cast<uint64_t>(run.communicator.rank()) << 32 | micro_batch})
      .next64();
}

double peak_memory_gib(at::Device device) { return static_cast<double>(nn::memory_peak(device)) / (1 << 30); }

void run_steps(Run& run, const std::function<Json(int64_t)>& step) {
  Steps steps(run);
  try {
    steps.run(step);
  } catch (const Interrupted&) {
    run.communicator.stop_together();
    steps.save_what_is_done();
    throw;
  } catch (...) {
    const std::exception_ptr failure = std::current_exception();
    try {
      // Of several ranks the others may not be there to give their parts.
      if (run.communicator.ranks() == 1 && steps.has_done_steps()) steps.save_what_is_done();
    } catch (const std::exception& e) {
      run.log.warn("the state could not be saved: {}", e.what());
    }
    std::rethrow_exception(failure);
  }
}

}  // namespace ssl4rl::rl
