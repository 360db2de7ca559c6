#include "ssl4rl/train/checkpoint.h"

#include <ATen/ATen.h>

#include <algorithm>
#include <charconv>
#include <nlohmann/json.hpp>

#include "ssl4rl/base/error.h"
#include "ssl4rl/io/file.h"
#include "ssl4rl/io/hash.h"
#include "ssl4rl/io/jsonl.h"

namespace ssl4rl::train {
namespace fs = std::filesystem;
namespace {

using Json = nlohmann::ordered_json;

constexpr const char* kManifest = "manifest.json";

std::vector<fs::path> files_below(const fs::path& folder) {
  std::vector<fs::path> files;
  for (const auto& entry : fs::recursive_directory_iterator(folder))
    if (entry.is_regular_file() && entry.path().filename() != kManifest)
      files.push_back(entry.path().lexically_relative(folder));
  std::sort(files.begin(), files.end());
  return files;
}

}  // namespace

std::string checkpoint_name(int64_t step) { return fmt::format("step-{:06}", step); }

Snapshot::Snapshot(models::Model& of_model, const AdamW& optimizer, TrainerState at, TensorFiles more)
    : model(&of_model), tensors(std::move(more)), state(std::move(at)) {
  tensors.emplace(tensors.begin(), "optimizer.safetensors", optimizer.state());
}

Snapshot::Snapshot(std::unique_ptr<models::Model> collected, const AdamW& optimizer, TrainerState at, TensorFiles more)
    : Snapshot(*collected, optimizer, std::move(at), std::move(more)) {
  copy = std::move(collected);
}

void Snapshot::make_copies() {
  if (!copy) copy = model->copy_on_host();
  model = copy.get();
  for (auto& [file, named] : tensors)
    for (auto& [name, tensor] : named)
      tensor = tensor.to(at::kCPU, tensor.scalar_type(), /*non_blocking=*/false, /*copy=*/true);
}

int64_t Snapshot::bytes_of_copies() const {
  int64_t bytes = 0;
  for (const auto& parameter : models::trained_parameters(*model))
    bytes += static_cast<int64_t>(parameter.tensor->nbytes());
  for (const auto& [file, named] : tensors)
    for (const auto& [name, tensor] : named) bytes += static_cast<int64_t>(tensor.nbytes());
  return bytes;
}

void write_checkpoint(const fs::path& folder, const Snapshot& snapshot) {
  const TrainerState& state = snapshot.state;
  io::make_folder(folder.parent_path());
  io::AtomicFolder target(folder);
  snapshot.model->save(target.folder());
  io::make_folder(target.folder() / "trainer");
  for (const auto& [file, named] : snapshot.tensors) io::write_safetensors(target.folder() / "trainer" / file, named);
  Json json{{"format", 1},
            {"step", state.step},
            {"skipped_in_row", state.skipped_in_row},
            {"skipped_updates", state.skipped_updates}};
  if (state.beta) json["beta"] = *state.beta;
  if (!state.curriculum.empty()) json["curriculum"] = Json::parse(state.curriculum);
  if (!state.unlogged.empty()) json["unlogged"] = Json::parse(state.unlogged);
  io::write_file(target.folder() / "trainer/state.json", json.dump(2) + "\n");
  Json manifest{{"step", state.step}, {"files", Json::object()}};
  for (const fs::path& file : files_below(target.folder()))
    manifest["files"][file.generic_string()] = {{"size", fs::file_size(target.folder() / file)},
                                                {"sha256", io::sha256_hex_of_file(target.folder() / file)}};
  io::write_file(target.folder() / kManifest, manifest.dump(2) + "\n");
  target.commit(io::AtomicFolder::IfThere::kReplace);
}

TrainerState read_state(const fs::path& folder) {
  const fs::path file = folder / "trainer/state.json";
  const Json json = io::read_json(file);
  TrainerState state;
  try {
    if (const auto format = json.at("format").get<int64_t>(); format != 1)
      fail("{}: format {} is not known to this version", file.string(), format);
    state = {.step = json.at("step"),
             .skipped_in_row = json.at("skipped_in_row"),
             .skipped_updates = json.at("skipped_updates")};
    if (json.contains("beta")) state.beta = json["beta"].get<double>();
    if (json.contains("curriculum")) state.curriculum = json["curriculum"].dump();
    if (json.contains("unlogged")) state.unlogged = json["unlogged"].dump();
  } catch (const Json::exception& e) {
    fail("{}: {}", file.string(), io::parse_error_text(e));
  }
  return state;
}

TrainerState load_checkpoint(const fs::path& folder, AdamW& optimizer) {
  optimizer.load_state(io::SafetensorsFile(folder / "trainer/optimizer.safetensors"));
  return read_state(folder);
}

std::optional<std::string> damage_of(const fs::path& folder) {
  const fs::path manifest = folder / kManifest;
  if (!fs::exists(manifest)) return "it has no manifest.json";
  try {
    const Json json = io::read_json(manifest);
    for (const auto& [name, entry] : json.at("files").items()) {
      const fs::path relative(name);
      if (relative.is_absolute() || name.find("..") != std::string::npos)
        return fmt::format("manifest.json names {}, which is not a file of the checkpoint", name);
      const fs::path file = folder / relative;
      if (!fs::is_regular_file(file)) return name + " is missing";
      const auto size = entry.at("size").get<uint64_t>();
      if (fs::file_size(file) != size)
        return fmt::format("{} has {} bytes instead of {}", name, fs::file_size(file), size);
      if (io::sha256_hex_of_file(file) != entry.at("sha256").get<std::string>())
        return name + " differs from its SHA-256";
    }
  } catch (const Json::exception& e) {
    return "manifest.json is damaged: " + io::parse_error_text(e);
  } catch (const Error& e) {
    return e.what();
  }
  return {};
}

std::vector<FoundCheckpoint> find_checkpoints(const fs::path& run_folder) {
  std::vector<FoundCheckpoint> found;
  std::error_code error;
  for (const auto& entry : fs::directory_iterator(run_folder / "checkpoints", error)) {
    const std::string name = entry.path().filename().string();
    if (!entry.is_directory() || !name.starts_with("step-")) continue;
    int64_t step = 0;
    const char* const end = name.data() + name.size();
    if (const auto [rest, failed] = std::from_chars(name.data() + 5, end, step); failed == std::errc() && rest == end)
      found.push_back({entry.path(), step});
  }
  std::sort(found.begin(), found.end(), [](const auto& a, const auto& b) { return a.step < b.step; });
  return found;
}

std::optional<FoundCheckpoint> newest_whole_checkpoint(const fs::path& run_folder, const Log& log) {
  auto found = find_checkpoints(run_folder);
  for (; !found.empty(); found.pop_back()) {
    const auto damage = damage_of(found.back().folder);
    if (!damage) return found.back();
    log.warn("passing over {}: {}", found.back().folder.string(), *damage);
  }
  return {};
}

void remove_old_checkpoints(const fs::path& run_folder, const TrainConfig& config, const std::vector<int64_t>& best,
                            const Log& log) {
  if (!config.keep_last && !config.keep_best) return;
  auto found = find_checkpoints(run_folder);
  const size_t keep = static_cast<size_t>(config.keep_last.value_or(1));
  for (size_t i = 0; i + keep < found.size(); ++i) {
    if (config.keep_every && found[i].step % *config.keep_every == 0) continue;
    if (std::count(best.begin(), best.end(), found[i].step) > 0) continue;
    std::error_code error;
    fs::remove(found[i].folder / kManifest, error);  // first: what is half removed is no checkpoint
    fs::remove_all(found[i].folder, error);
    if (error) log.warn("{}: cannot be removed: {}", found[i].folder.string(), error.message());
  }
}

}  // namespace ssl4rl::train
