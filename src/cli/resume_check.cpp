#include "resume_check.h"

#include "ssl4rl/base/error.h"

namespace ssl4rl::cli {
namespace fs = std::filesystem;

void check_resume(RunConfig& config, const fs::path& checkpoint, int ranks, const Log& log) {
  const fs::path file = fs::weakly_canonical(checkpoint).parent_path().parent_path() / "config.yaml";
  if (!fs::exists(file)) {
    log.warn("{}: not found, so whether the configuration is the run's cannot be checked", file.string());
    return;
  }
  RunConfig before;
  config::Section keys = before.describe();
  config::read_file(keys, file);
  if (!before.tasks.empty())
    tasks::resolve_tasks(before.tasks, before.curriculum.mode != tasks::CurriculumConfig::Mode::kNone);
  if (!config.run.threads && ranks == 1) config.run.threads = before.run.threads;
  if (config.model.dtype == "auto") config.model.dtype = before.model.dtype;
  std::string refused;
  for (const config::Difference& key : config::differences(before.describe(), config.describe())) {
    const auto shown = [](const std::string& value) { return value.empty() ? "not there" : value; };
    const std::string change = fmt::format("{} is {} (was {})", key.path, shown(key.is), shown(key.was));
    if (key.changeable || config.run.accept_changes) {
      log.info("continuing with a change: {}{}", change, key.note.empty() ? "" : "; " + key.note);
    } else {
      refused += (refused.empty() ? "" : ", ") + change;
    }
  }
  if (!refused.empty())
    fail("{}: continued like this it would be another run: {}; choose another run.name, or set run.accept_changes",
         file.parent_path().string(), refused);
}

}  // namespace ssl4rl::cli
