#include "ssl4rl/models/lora.h"

#include <ATen/ATen.h>
#include <ATen/core/grad_mode.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <cmath>
#include <map>
#include <regex>

#include "json_reader.h"
#include "ssl4rl/base/error.h"
#include "ssl4rl/base/rng.h"
#include "ssl4rl/io/file.h"
#include "ssl4rl/io/jsonl.h"

namespace ssl4rl::models {
namespace fs = std::filesystem;
namespace {

using at::Tensor;
using Json = nlohmann::ordered_json;

constexpr const char* kConfig = "adapter_config.json";
constexpr const char* kTensors = "adapter_model.safetensors";
constexpr std::string_view kPrefix = "base_model.model.";

// A product of the files: some rows of one of ours.
struct Module {
  std::string name;  // on the hub, without ".weight"
  Linear* linear;
  int64_t first_row, rows, columns;
  Part part;
  Block block;
};

// The tensors need not exist: the table makes room for them.
std::vector<Module> modules_of(const ModelConfig& config, Weights& weights) {
  const std::vector<Parameter> table = parameter_table(config, weights);
  std::map<const Tensor*, Linear*> linear_of;
  for (Linear* linear : products(weights)) linear_of[&linear->weight] = linear;
  std::vector<Module> modules;
  for (const Parameter& parameter : table)
    if (const auto found = linear_of.find(parameter.tensor); found != linear_of.end())
      for (const auto& piece : parameter.pieces)
        modules.push_back({piece.name.substr(0, piece.name.size() - std::string_view(".weight").size()), found->second,
                           piece.first_row, piece.rows, parameter.shape[1], parameter.part, parameter.block});
  return modules;
}

std::vector<Module> modules_of(Model& model) { return modules_of(model.config(), model.weights()); }

// As PEFT: a plain name stands for every module whose name ends with it; anything else is a regular expression for the
// whole name.
bool matches(const std::string& module, const std::string& target) {
  if (target == "all-linear") return true;
  if (target.find_first_of("*+?()[]{}|^$\\") != std::string::npos) {
    try {
      return std::regex_match(module, std::regex(target));
    } catch (const std::regex_error&) {
      fail("model.lora.targets: \"{}\": not a regular expression", target);
    }
  }
  return module == target || module.ends_with("." + target);
}

// The modules that get an adapter. Throws Error where a target names no product.
std::vector<Module> targets_of(std::vector<Module> modules, const LoraConfig& config) {
  std::vector<bool> used(config.targets.size(), false);
  std::erase_if(modules, [&](const Module& module) {
    if (!config.vision && (module.part == Part::kVision || module.part == Part::kMerger)) return true;
    bool wanted = false;
    for (size_t t = 0; t < config.targets.size(); ++t)
      if (matches(module.name, config.targets[t])) wanted = used[t] = true;
    return !wanted;
  });
  for (size_t t = 0; t < used.size(); ++t)
    if (!used[t])
      fail("model.lora.targets: \"{}\" is the name of no product of the model{}", config.targets[t],
           config.vision ? "" : " (those of the vision tower need model.lora.vision: true)");
  return modules;
}

// The module's path in transformers' model, which PEFT's names are made of.
std::string module_path(const ModelConfig& config, const std::string& module) {
  if (config.model_type.find("vl") == std::string::npos) return module;
  if (module.starts_with("visual.")) return "model." + module;
  return "model.language_model." + module.substr(std::string_view("model.").size());
}

Adapter& add_adapter(Model& model, const Module& module, int64_t rank, double scale, uint64_t number) {
  const auto options = module.linear->weight.options().dtype(model.dtype() == at::kDouble ? at::kDouble : at::kFloat);
  Adapter adapter{.module = module.name,
                  .number = number,
                  .first_row = module.first_row,
                  .rows = module.rows,
                  .a = at::zeros({rank, module.linear->weight.size(1)}, options),
                  .b = at::zeros({module.rows, rank}, options),
                  .scale = scale};
  auto& adapters = module.linear->adapters;
  const auto place = std::find_if(adapters.begin(), adapters.end(),
                                  [&](const Adapter& other) { return other.first_row > adapter.first_row; });
  return *adapters.insert(place, std::move(adapter));
}

void enter(Model& model, int64_t rank, double alpha, double dropout, const fs::path& base) {
  auto shared = std::make_shared<AdapterDropout>(AdapterDropout{dropout, {}});
  for (Linear* linear : products(model.weights())) linear->dropout = shared;
  model.weights().lora = Weights::Lora{rank, alpha, shared, base};
}

JsonReader read_config(const fs::path& folder) {
  const JsonReader json(io::read_json(folder / kConfig), (folder / kConfig).string());
  json.expect("peft_type", "LORA");
  json.expect("bias", "none");
  for (const char* key : {"use_dora", "fan_in_fan_out"})
    if (json.get<bool>(key, false)) fail("{}: \"{}\": not supported", json.file(), key);
  for (const char* key : {"rank_pattern", "alpha_pattern", "modules_to_save"})
    if (json.has(key) && !json.json()[key].empty()) fail("{}: \"{}\": not supported", json.file(), key);
  return json;
}

// "base_model.model.model.layers.0.mlp.up_proj.lora_A.weight" → module "model.layers.0.mlp.up_proj" and "A".
std::pair<std::string, std::string> parse_name(const std::string& name, const std::string& file) {
  if (name.starts_with(kPrefix))
    for (const std::string which : {"A", "B"})
      for (const std::string& end : {".lora_" + which + ".weight", ".lora_" + which + ".default.weight"})
        if (name.ends_with(end) && name.size() > kPrefix.size() + end.size())
          return {table_name(name.substr(kPrefix.size(), name.size() - kPrefix.size() - end.size())), which};
  fail("{}: {}: not the name of a LoRA tensor", file, name);
}

}  // namespace

void LoraConfig::describe(config::Section& s) {
  s.add("rank", rank).alias("r").at_least(0).help("rank of the adapters; 0: the weights themselves are trained");
  s.add("alpha", alpha)
      .alias("lora_alpha")
      .above(0)
      .unset_means("2 × rank")
      .help("the adapters are scaled by alpha / rank");
  s.add("dropout", dropout)
      .alias("lora_dropout")
      .at_least(0)
      .below(1)
      .help("share of the adapters' inputs that is dropped");
  s.add("targets", targets)
      .alias("target_modules")
      .help("products that get an adapter: ends of their names, regular expressions for whole names, or all-linear");
  s.add("vision", vision).help("look for targets in the vision tower and the merger too");
}

void add_adapters(Model& model, const LoraConfig& config, uint64_t seed, const fs::path& base) {
  const double alpha = config.alpha.value_or(2.0 * static_cast<double>(config.rank));
  enter(model, config.rank, alpha, config.dropout, fs::absolute(base));
  uint64_t number = 0;
  for (const Module& module : targets_of(modules_of(model), config)) {
    Adapter& adapter = add_adapter(model, module, config.rank, alpha / static_cast<double>(config.rank), number);
    Rng rng(seed, Stream::kWeights, {number++});
    const double bound = 1 / std::sqrt(static_cast<double>(adapter.a.size(1)));  // kaiming_uniform with a = √5
    std::vector<double> values(static_cast<size_t>(adapter.a.numel()));
    for (double& value : values) value = rng.uniform(-bound, bound);
    adapter.a.copy_(at::tensor(values, at::kDouble).view(adapter.a.sizes()));
  }
}

int64_t adapter_values(const ModelConfig& model, const LoraConfig& config) {
  Weights none;
  int64_t values = 0;
  for (const Module& module : targets_of(modules_of(model, none), config))
    values += config.rank * (module.columns + module.rows);
  return values;
}

void load_adapters(Model& model, const fs::path& folder) {
  const at::NoGradGuard no_grad;
  const JsonReader json = read_config(folder);
  const int64_t rank = json.count("r");
  const auto alpha = json.get<double>("lora_alpha");
  const double divisor =
      json.get<bool>("use_rslora", false) ? std::sqrt(static_cast<double>(rank)) : static_cast<double>(rank);
  enter(model, rank, alpha, json.get<double>("lora_dropout", 0), json.get<std::string>("base_model_name_or_path", ""));
  std::map<std::string, Module> by_name;
  for (const Module& module : modules_of(model)) by_name.emplace(module.name, module);

  const io::SafetensorsFile file(folder / kTensors);
  std::map<std::string, std::map<std::string, std::string>> names;  // module → A or B → the tensor's name
  for (const auto& [name, info] : file.tensors()) {
    const auto [module, which] = parse_name(name, file.path().string());
    names[module][which] = name;
  }
  uint64_t number = 0;
  for (const Module& module : modules_of(model)) {  // in the model's order, as add_adapters
    const auto found = names.find(module.name);
    if (found == names.end()) continue;
    Adapter& adapter = add_adapter(model, module, rank, alpha / divisor, number++);
    for (const auto& [which, tensor] : {std::pair{"A", &adapter.a}, std::pair{"B", &adapter.b}}) {
      if (!found->second.contains(which)) fail("{}: {} has no lora_{}", file.path().string(), module.name, which);
      const std::string& name = found->second[which];
      const auto& shape = file.tensors().at(name).shape;
      if (shape != tensor->sizes().vec())
        fail("{}: {} [{}]: expected [{}]", file.path().string(), name, fmt::join(shape, ", "),
             fmt::join(tensor->sizes(), ", "));
      tensor->copy_(file.tensor(name));
    }
    names.erase(found);
  }
  if (!names.empty()) fail("{}: {}: the model has no such product", file.path().string(), names.begin()->first);
}

void save_adapters(Model& model, const fs::path& folder) {
  const Weights::Lora& lora = model.weights().lora.value();
  io::NamedTensors tensors;
  std::vector<std::string> targets;
  for (const Parameter& parameter : adapter_parameters(model)) {
    tensors.emplace_back(parameter.name, parameter.tensor->detach().contiguous());
    if (parameter.name.ends_with(".lora_A.weight"))
      targets.push_back(parameter.name.substr(kPrefix.size(), parameter.name.rfind(".lora_A") - kPrefix.size()));
  }
  io::write_safetensors(folder / kTensors, tensors);
  const Json json{{"peft_type", "LORA"},
                  {"auto_mapping", nullptr},
                  {"base_model_name_or_path", lora.base.string()},
                  {"bias", "none"},
                  {"fan_in_fan_out", false},
                  {"inference_mode", true},
                  {"init_lora_weights", true},
                  {"lora_alpha", lora.alpha},
                  {"lora_dropout", lora.dropout->probability},
                  {"modules_to_save", nullptr},
                  {"r", lora.rank},
                  {"target_modules", targets},
                  {"task_type", "CAUSAL_LM"}};
  io::write_file(folder / kConfig, json.dump(2) + "\n");
}

void merge_adapters(Model& model) {
  const at::NoGradGuard no_grad;
  for (Linear* linear : products(model.weights())) {
    for (const Adapter& adapter : linear->adapters) {
      Tensor rows = linear->weight.detach().narrow(0, adapter.first_row, adapter.rows);
      rows.copy_(rows.to(adapter.a.scalar_type()) + at::mm(adapter.b, adapter.a) * adapter.scale);
    }
  }
  model.weights() = without_adapters(std::move(model.weights()));
}

std::vector<Parameter> adapter_parameters(Model& model) {
  std::vector<Parameter> parameters;
  for (const Module& module : modules_of(model))
    for (Adapter& adapter : module.linear->adapters) {
      if (adapter.module != module.name) continue;
      const std::string name = std::string(kPrefix) + module_path(model.config(), module.name);
      for (const auto& [which, tensor] :
           {std::pair{".lora_A.weight", &adapter.a}, std::pair{".lora_B.weight", &adapter.b}}) {
        const std::vector<int64_t> shape = tensor->sizes().vec();
        parameters.push_back(
            {name + which, tensor, shape, module.part, {{name + which, shape, 0, shape[0]}}, module.block});
      }
    }
  return parameters;
}

Weights without_adapters(Weights weights) {
  for (Linear* linear : products(weights)) {
    linear->adapters.clear();
    linear->dropout.reset();
  }
  weights.lora.reset();
  return weights;
}

AdapterDropoutScope::AdapterDropoutScope(Model& model, uint64_t key) {
  if (!model.weights().lora) return;
  dropout_ = model.weights().lora->dropout;
  dropout_->key = key;
}

AdapterDropoutScope::~AdapterDropoutScope() {
  if (dropout_) dropout_->key.reset();
}

bool is_adapter_directory(const fs::path& folder) {
  return fs::exists(folder / kConfig) && !fs::exists(folder / "model.safetensors") &&
         !fs::exists(folder / "model.safetensors.index.json");
}

fs::path base_of_adapters(const fs::path& folder) {
  const JsonReader json = read_config(folder);
  const fs::path base = json.get<std::string>("base_model_name_or_path");
  if (!fs::is_directory(base)) fail("{}: \"base_model_name_or_path\": {}: no such folder", json.file(), base.string());
  return base;
}

}  // namespace ssl4rl::models
