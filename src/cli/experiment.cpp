#include "experiment.h"

#include "ssl4rl/base/error.h"

namespace ssl4rl::cli {

std::shared_ptr<const tasks::Mixture> make_mixture(const RunConfig& config,
                                                   std::shared_ptr<const tasks::ImagePool> pool) {
  const bool has_curriculum = config.curriculum.mode != tasks::CurriculumConfig::Mode::kNone;
  auto curriculum = has_curriculum ? std::make_shared<tasks::Curriculum>(config.curriculum, config.tasks,
                                                                         config.train.prompts_per_step)
                                   : nullptr;
  return std::make_shared<const tasks::Mixture>(config.tasks, tasks::Wording(config.prompt, config.tasks),
                                                std::move(pool), static_cast<uint64_t>(config.run.seed),
                                                config.data.balance_answers, std::move(curriculum));
}

eval::TaskBench make_task_bench(const RunConfig& config, const tasks::TaskConfig& task,
                                std::shared_ptr<const tasks::ImagePool> held_out, int64_t samples) {
  if (held_out->size() == 0)
    fail("no image is held out for the evaluation of {}: raise data.holdout_fraction, or give --data", task.name);
  RunConfig alone = config;
  alone.tasks = {task};
  alone.curriculum = {};  // a benchmark stays the same while training goes on: each task at its own level
  return {.task = task.name,
          .mixture = make_mixture(alone, std::move(held_out)),
          .reward = config.reward,
          .style = config.prompt.style,
          .samples = samples,
          .max_new_tokens = config.rollout.max_completion_length,
          .stop = config.rollout.stop,
          .threads = data_threads(config.data.workers)};
}

void report_skipped(const tasks::ImagePool& pool, const Log& log) {
  constexpr size_t kNamed = 5;
  for (const auto& [task, images] : pool.skipped()) {
    log.warn("{}: {} of {} images were skipped", task, images.size(), pool.size());
    size_t named = 0;
    for (const auto& [name, reason] : images) {
      if (named++ == kNamed) break;
      log.warn("  {}: {}", name, reason);
    }
    if (images.size() > kNamed) log.warn("  and {} more", images.size() - kNamed);
  }
}

}  // namespace ssl4rl::cli
