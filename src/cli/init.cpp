// ssl4rl init: writes a small random model directory and drawn images, to try things with.
#include <ATen/ATen.h>
#include <ATen/CPUGeneratorImpl.h>
#include <ATen/core/grad_mode.h>

#include "commands.h"
#include "presets.h"
#include "runtime.h"
#include "ssl4rl/base/error.h"
#include "ssl4rl/base/pipeline.h"
#include "ssl4rl/base/progress.h"
#include "ssl4rl/base/rng.h"
#include "ssl4rl/image/codec.h"
#include "ssl4rl/image/scene.h"
#include "ssl4rl/io/file.h"
#include "ssl4rl/models/model.h"

namespace ssl4rl::cli {
namespace {
namespace fs = std::filesystem;

// Draws one parameter after the other and writes it, so that no more than one is in memory.
int64_t write_weights(const fs::path& folder, const Preset& preset, uint64_t seed, const Log& log) {
  const models::Processor processor(folder);
  const models::ModelConfig& config = processor.config();
  models::Weights weights;
  const std::vector<models::Parameter> table = models::parameter_table(config, weights);
  struct Place {
    size_t parameter;
    const models::Parameter::Piece* piece;
  };
  std::vector<Place> places;
  std::vector<io::TensorSpec> specs;
  int64_t values = 0, written = 0;
  for (size_t p = 0; p < table.size(); ++p) {
    int64_t count = 1;
    for (const int64_t extent : table[p].shape) count *= extent;
    values += count;
    for (const auto& piece : table[p].pieces) {
      places.push_back({p, &piece});
      specs.push_back({models::published_name(config.names, piece.name), preset.dtype, piece.shape});
    }
  }
  Progress progress(log, "drawing weights", values);
  size_t drawn = table.size();
  at::Tensor current;
  const auto draw = [&](size_t p) {
    current = at::empty(table[p].shape, at::kFloat);
    if (table[p].shape.size() > 1) {
      Rng stream(seed, Stream::kWeights, {p});
      current.normal_(0, preset.init_std, at::detail::createCPUGenerator(stream.next64()));
    } else {
      current.fill_(table[p].name.ends_with(".bias") ? 0 : 1);
    }
    drawn = p;
    progress.update(written += current.numel());
  };
  io::write_sharded_safetensors(folder, specs, [&](size_t i) {
    if (places[i].parameter != drawn) draw(places[i].parameter);
    return current.narrow(0, places[i].piece->first_row, places[i].piece->rows)
        .reshape(places[i].piece->shape)
        .to(preset.dtype);
  });
  processor.save(folder, preset.dtype == at::kBFloat16 ? "bfloat16" : "float32");
  return values;
}

void draw_images(const fs::path& folder, const Preset& preset, uint64_t seed, const Log& log) {
  Pipeline<std::string> pngs(0, data_threads(std::thread::hardware_concurrency()), 64, [seed, &preset](int64_t i) {
    if (i >= preset.images) return std::string();
    Rng rng(seed, Stream::kScene, {static_cast<uint64_t>(i)});
    return image::encode_png(image::draw_scene(preset.image_side, rng));
  });
  Progress progress(log, "drawing", preset.images);
  for (int i = 0; i < preset.images; ++i) {
    io::OutputFile file(folder / fmt::format("{:05}.png", i), io::OutputFile::Mode::kTruncate);
    file.write(pngs.next());
    file.close();
    progress.update(i + 1);
  }
}

int run(App& app, const std::string& name, const fs::path& output, uint64_t seed) {
  if (fs::exists(output / "config.json")) fail("{}: holds a model already; choose another --output", output.string());
  app.begin_work();
  const Preset chosen = preset(name);
  io::make_folder(output / "images");
  write_small_files(output, chosen);
  const int64_t values = write_weights(output, chosen, seed, app.log());
  draw_images(output / "images", chosen, seed, app.log());
  app.log().info("wrote a random model of {} parameters to {} and {} drawn images to {}",
                 count_text(static_cast<double>(values)), output.string(), chosen.images, (output / "images").string());
  return kDone;
}

}  // namespace

Action add_init(CLI::App& command) {
  struct Options {
    std::string preset;
    fs::path output;
    uint64_t seed = 0;
  };
  auto options = std::make_shared<Options>();
  std::string help = "what to write:";
  std::vector<std::string> names;
  for (const auto& [name, what] : preset_names()) {
    help += fmt::format("{} {}: {}", names.empty() ? "" : ";", name, what);
    names.push_back(name);
  }
  command.add_option("--preset", options->preset, help)->required()->check(CLI::IsMember(names))->type_name("NAME");
  command.add_option("--output", options->output, "model directory to write; the pictures go to its folder images")
      ->required()
      ->type_name("DIR");
  command.add_option("--seed", options->seed, "of the random numbers")->capture_default_str()->type_name("S");
  return [options](App& app) { return run(app, options->preset, options->output, options->seed); };
}

}  // namespace ssl4rl::cli
