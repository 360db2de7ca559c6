// ssl4rl merge: folds a LoRA adapter into a full model directory.
#include "commands.h"
#include "runtime.h"
#include "ssl4rl/base/error.h"
#include "ssl4rl/io/file.h"
#include "ssl4rl/io/safetensors.h"
#include "ssl4rl/models/lora.h"

namespace ssl4rl::cli {
namespace {
namespace fs = std::filesystem;

struct Options {
  fs::path model, adapter, output;
};

// The type that the weights have in the files, so that the result is stored alike.
at::ScalarType stored_type(const fs::path& folder) {
  const io::SafetensorsModel files(folder);
  return files.tensor(files.names().front()).scalar_type();
}

int run(App& app, const Options& options) {
  if (!fs::exists(options.adapter / "adapter_config.json"))
    fail("{}: has no adapter_config.json", options.adapter.string());
  if (fs::exists(options.output)) fail("{}: exists already", options.output.string());
  const auto processor = std::make_shared<const models::Processor>(options.model);
  Runtime runtime = choose_runtime(app);
  if (!app.options().dtype) runtime.dtype = stored_type(options.model);
  const auto model = load_model(app, options.model, processor, runtime);
  models::load_adapters(*model, options.adapter);
  models::merge_adapters(*model);
  app.begin_work();
  io::make_folder(fs::absolute(options.output).lexically_normal().parent_path());
  io::AtomicFolder target(options.output);
  model->save(target.folder());
  target.commit();
  app.log().info("wrote {}", options.output.string());
  return kDone;
}

}  // namespace

Action add_merge(CLI::App& command) {
  auto options = std::make_shared<Options>();
  command.add_option("--model", options->model, "the model directory that the adapter belongs to")
      ->required()
      ->type_name("DIR");
  command
      .add_option("--adapter", options->adapter,
                  "PEFT directory of a LoRA adapter, or a checkpoint of a run with model.lora")
      ->required()
      ->type_name("DIR");
  command.add_option("--output", options->output, "model directory to write")->required()->type_name("DIR");
  return [options](App& app) { return run(app, *options); };
}

}  // namespace ssl4rl::cli
