#include "ssl4rl/train/run_directory.h"

#include <unistd.h>

#include <charconv>
#include <nlohmann/json.hpp>

#include "ssl4rl/base/error.h"
#include "ssl4rl/io/jsonl.h"

namespace ssl4rl::train {
namespace fs = std::filesystem;
namespace {

using Json = nlohmann::ordered_json;

// The step of a line of metrics; nothing where it is broken. A long run's file is large, so the line is parsed only
// where it does not look as this program writes it.
std::optional<int64_t> step_of(std::string_view line) {
  constexpr std::string_view kBegin = "{\"step\":";
  int64_t step = 0;
  if (line.starts_with(kBegin) && line.ends_with('}')) {
    const auto [end, error] = std::from_chars(line.data() + kBegin.size(), line.data() + line.size(), step);
    if (error == std::errc() && (*end == ',' || *end == '}')) return step;
  }
  const Json json = Json::parse(line, nullptr, /*allow_exceptions=*/false);
  if (!json.is_object() || !json.contains("step") || !json["step"].is_number_integer()) return {};
  return json["step"].get<int64_t>();
}

// Keeps the lines of steps up to `step`; a last line that was cut off goes too.
void cut_metrics(const fs::path& file, int64_t step) {
  if (!fs::exists(file)) return;
  const std::string text = io::read_file(file);
  std::string kept;
  for (size_t begin = 0; begin < text.size();) {
    const size_t end = text.find('\n', begin);
    if (end == std::string::npos) break;
    const std::string_view line = std::string_view(text).substr(begin, end - begin);
    if (const auto of_line = step_of(line); of_line && *of_line <= step) kept.append(line).append("\n");
    begin = end + 1;
  }
  if (kept != text) io::write_file(file, kept);
}

// Throws Error where the folder cannot be written or made, before a model is loaded for nothing.
void check_writable(const fs::path& folder) {
  fs::path nearest = fs::absolute(folder).lexically_normal();
  while (!fs::exists(nearest) && nearest.has_relative_path()) nearest = nearest.parent_path();
  if (!fs::is_directory(nearest)) fail("{}: expected a folder, found a file", nearest.string());
  if (access(nearest.c_str(), W_OK | X_OK) != 0)
    fail("{}: the folder cannot be written: {}", nearest.string(), errno_text());
}

// What a killed process left half written. Called under the run's lock.
void remove_leftovers(const fs::path& folder) {
  std::error_code error;
  std::vector<fs::path> leftovers;
  for (const auto& entry : fs::directory_iterator(folder, error))
    if (entry.path().filename().string().find(".tmp-") != std::string::npos) leftovers.push_back(entry.path());
  for (const fs::path& path : leftovers) fs::remove_all(path, error);
}

void cut_completions(const fs::path& folder, int64_t step) {
  std::error_code error;
  std::vector<fs::path> later;
  for (const auto& entry : fs::directory_iterator(folder, error)) {
    const std::string name = entry.path().filename().string();
    if (name.starts_with("step-") && std::atoll(name.c_str() + 5) > step) later.push_back(entry.path());
  }
  for (const fs::path& file : later) fs::remove(file, error);
}

}  // namespace

Resume Resume::parse(const std::string& text) {
  if (text == "never") return {};
  if (text == "auto") return {Mode::kAuto, {}};
  if (!fs::is_directory(text)) fail("--resume {}: expected auto, never, or the folder of a checkpoint or run", text);
  return {Mode::kFrom, text};
}

RunDirectory::RunDirectory(fs::path folder, const Resume& resume, const Log& log, Purpose purpose)
    : folder_(std::move(folder)) {
  check_writable(folder_);
  if (purpose == Purpose::kRun && fs::exists(folder_ / ".lock")) {
    lock_ = std::make_unique<io::FileLock>(folder_ / ".lock", folder_.string());
    if (resume.mode != Resume::Mode::kNever) lock_->sign();
  }
  switch (resume.mode) {
    case Resume::Mode::kNever:
      if (fs::exists(folder_ / "metrics.jsonl") || !find_checkpoints(folder_).empty())
        fail("{}: holds a run already; continue it with --resume auto, or choose another run.name", folder_.string());
      break;
    case Resume::Mode::kAuto:
      checkpoint_ = newest_whole_checkpoint(folder_, log);
      break;
    case Resume::Mode::kFrom:
      if (fs::is_directory(resume.from / "checkpoints")) {
        checkpoint_ = newest_whole_checkpoint(resume.from, log);
        if (!checkpoint_) fail("--resume {}: the run has no whole checkpoint", resume.from.string());
      } else {
        if (const auto damage = damage_of(resume.from))
          fail("--resume {}: not a whole checkpoint: {}", resume.from.string(), *damage);
        checkpoint_ = FoundCheckpoint{resume.from, 0};
      }
      break;
  }
  if (!checkpoint_) return;
  const TrainerState state = read_state(checkpoint_->folder);
  checkpoint_->step = state.step;
  logged_step_ = state.step - (state.unlogged.empty() ? 0 : 1);
}

void RunDirectory::open(const std::string& config_yaml, bool tensorboard) {
  io::make_folder(folder_);
  if (!lock_) lock_ = std::make_unique<io::FileLock>(folder_ / ".lock", folder_.string());
  lock_->sign();
  io::make_folder(folder_ / "completions");
  for (const fs::path& folder : {folder_, folder_ / "completions", folder_ / "checkpoints"}) remove_leftovers(folder);
  io::write_file(folder_ / "config.yaml", config_yaml);
  const int64_t step = checkpoint_ ? checkpoint_->step : 0;
  cut_metrics(folder_ / "metrics.jsonl", logged_step_);
  cut_completions(folder_ / "completions", step);
  metrics_ = std::make_unique<io::OutputFile>(folder_ / "metrics.jsonl", io::OutputFile::Mode::kAppend);
  if (tensorboard) events_ = std::make_unique<io::EventWriter>(folder_, logged_step_ + 1);
}

void RunDirectory::log_metrics(int64_t step, const Json& metrics) {
  metrics_->write(io::to_line(metrics) + "\n");
  if (!events_) return;
  for (const auto& [name, value] : metrics.items())
    if (value.is_number() && name != "step") events_->scalar(name, step, value.get<double>());
  events_->flush();
}

void RunDirectory::log_scalar(const std::string& tag, int64_t step, double value) {
  if (!events_) return;
  events_->scalar(tag, step, value);
  events_->flush();
}

void RunDirectory::write_completions(int64_t step, const std::string& lines) {
  io::write_file(folder_ / "completions" / (checkpoint_name(step) + ".jsonl"), lines);
}

}  // namespace ssl4rl::train
