// ssl4rl inspect: what is in a model directory, a checkpoint or a safetensors file; verifies its hashes.
#include <ATen/ATen.h>
#include <fmt/ranges.h>

#include <iostream>
#include <map>
#include <nlohmann/json.hpp>

#include "commands.h"
#include "ssl4rl/base/error.h"
#include "ssl4rl/base/progress.h"
#include "ssl4rl/io/jsonl.h"
#include "ssl4rl/io/safetensors.h"
#include "ssl4rl/models/processor.h"
#include "ssl4rl/models/weights.h"
#include "ssl4rl/train/checkpoint.h"

namespace ssl4rl::cli {
namespace {
namespace fs = std::filesystem;

std::string byte_text(double bytes) {
  return bytes < 1 << 20   ? fmt::format("{:.1f} KiB", bytes / 1024)
         : bytes < 1 << 30 ? fmt::format("{:.1f} MiB", bytes / (1 << 20))
                           : fmt::format("{:.2f} GiB", bytes / (1 << 30));
}

void print_tensors(const io::SafetensorsModel& model) {
  for (const std::string& name : model.names()) {
    const io::TensorInfo& info = model.info(name);
    std::cout << fmt::format("  {:<60} {:<5} [{}]\n", name, info.dtype, fmt::join(info.shape, ", "));
  }
}

int64_t values_of(const io::TensorInfo& info) {
  int64_t count = 1;
  for (const int64_t extent : info.shape) count *= extent;
  return count;
}

void print_parts(const io::SafetensorsModel& model) {
  const auto part_of = [](const std::string& file_name) -> std::string {
    const std::string name = models::table_name(file_name);
    if (name.starts_with("visual.merger.") || name.starts_with("visual.deepstack_merger_list.")) return "merger";
    if (name.starts_with("visual.")) return "vision";
    if (name.starts_with("model.embed_tokens.") || name.starts_with("lm_head.")) return "embeddings";
    return name.starts_with("model.") ? "language" : "other";
  };
  std::map<std::string, int64_t> parts;
  std::map<std::string, int64_t> types;
  int64_t total = 0, bytes = 0;
  for (const std::string& name : model.names()) {
    const io::TensorInfo& info = model.info(name);
    parts[part_of(name)] += values_of(info);
    types[info.dtype] += values_of(info);
    total += values_of(info);
    bytes += info.end - info.begin;
  }
  std::cout << fmt::format("parameters  {} in {} tensors, {}\n", total, model.names().size(),
                           byte_text(static_cast<double>(bytes)));
  for (const auto& [part, count] : parts)
    std::cout << fmt::format("  {:<12} {:>15}  {:5.1f} %\n", part, count,
                             100.0 * static_cast<double>(count) / static_cast<double>(total));
  for (const auto& [type, count] : types) std::cout << fmt::format("  {:<12} {:>15} values\n", type, count);
  for (const auto& file : model.files())
    if (model.files().size() > 1)
      std::cout << fmt::format("  {} ({} tensors)\n", file.path().filename().string(), file.tensors().size());
}

std::string rope_text(const models::RopeConfig& rope) {
  std::string text = fmt::format("theta {}", rope.theta);
  if (rope.sections.size() > 1)
    text += fmt::format(", {}sections [{}]", rope.interleaved ? "interleaved " : "", fmt::join(rope.sections, ", "));
  switch (rope.scaling) {
    case models::RopeConfig::Scaling::kNone:
      break;
    case models::RopeConfig::Scaling::kLinear:
      text += fmt::format(", linear × {}", rope.factor);
      break;
    case models::RopeConfig::Scaling::kYarn:
      text += fmt::format(", YaRN × {} of {} positions", rope.factor, rope.original_positions);
      break;
  }
  return text;
}

void print_vision(const models::VisionConfig& v, const models::ImageSettings& image) {
  std::string attention = v.window_size > 0 ? fmt::format("windows of {} px, whole image in blocks [{}]", v.window_size,
                                                          fmt::join(v.full_blocks, ", "))
                                            : "whole images";
  if (v.position_rows > 0) attention += fmt::format(", {} learned positions", v.position_rows);
  if (!v.deepstack.empty()) attention += fmt::format(", DeepStack from blocks [{}]", fmt::join(v.deepstack, ", "));
  std::cout << fmt::format("vision      {} blocks, width {}, {} heads, feed-forward {}, {}\n", v.depth, v.hidden_size,
                           v.heads, v.intermediate_size, attention);
  std::cout << fmt::format("images      {} to {} pixels, one token for {}×{}\n", image.min_pixels, image.max_pixels,
                           v.token_pixels(), v.token_pixels());
}

void print_config(const models::Processor& processor) {
  const models::ModelConfig& c = processor.config();
  std::cout << fmt::format("model       {}\n", c.model_type);
  std::cout << fmt::format(
      "decoder     {} layers, width {}, {} heads over {} key heads of {}{}, feed-forward {}, {} rows{}\n",
      c.text.layers, c.text.hidden_size, c.text.heads, c.text.key_heads, c.text.head_dim,
      c.text.qk_norm ? " (queries and keys normalised)" : "", c.text.intermediate_size, c.text.vocab_size,
      c.text.tie_embeddings ? ", tied output layer" : "");
  std::cout << fmt::format("RoPE        {}\n", rope_text(c.text.rope));
  if (c.reads_images()) print_vision(c.vision, c.image);
  std::cout << fmt::format("tokenizer   {} ids; a sample ends at [{}]; {} ids are never sampled\n",
                           processor.tokenizer().size(), fmt::join(processor.end_of_sequence(), ", "),
                           processor.forbidden().ids.size());
}

int run(App& app, const fs::path& path, bool tensors) {
  if (!fs::exists(path)) fail("{}: no such file or folder", path.string());
  if (!fs::is_directory(path)) {
    const io::SafetensorsModel file(path);
    print_parts(file);
    for (const auto& [key, value] : file.files().front().metadata())
      std::cout << fmt::format("metadata    {} = {}\n", key, value);
    print_tensors(file);
    return kDone;
  }
  app.begin_work();
  const io::SafetensorsModel model(path);
  if (fs::exists(path / "config.json")) {
    const models::Processor processor(path);
    print_config(processor);
    models::check_weights(processor.config(), model);
  }
  print_parts(model);
  if (tensors) print_tensors(model);
  if (fs::exists(path / "trainer/state.json")) {
    const auto state = io::read_json(path / "trainer/state.json");
    std::cout << fmt::format("checkpoint  of step {}\n", state.value("step", int64_t{0}));
  }
  if (!fs::exists(path / "manifest.json")) {
    std::cout << "hashes      none (no manifest.json)\n";
    return kDone;
  }
  if (const auto damage = train::damage_of(path)) fail("{}: damaged: {}", path.string(), *damage);
  std::cout << "hashes      all files match manifest.json\n";
  return kDone;
}

}  // namespace

Action add_inspect(CLI::App& command) {
  auto path = std::make_shared<fs::path>();
  auto tensors = std::make_shared<bool>(false);
  command.add_option("path", *path, "model directory, checkpoint or safetensors file")->required()->type_name("PATH");
  command.add_flag("--tensors", *tensors, "list every tensor");
  return [path, tensors](App& app) { return run(app, *path, *tensors); };
}

}  // namespace ssl4rl::cli
