#include "ssl4rl/models/weights.h"

#include <ATen/ATen.h>
#include <ATen/Context.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <limits>
#include <map>

#include "ssl4rl/base/error.h"
#include "ssl4rl/base/memory.h"
#include "ssl4rl/base/rng.h"

namespace ssl4rl::models {
namespace {

using at::Tensor;

// Builds the table: each call describes one of our tensors.
class TableBuilder {
 public:
  // What follows belongs to this block.
  void enter(Block block) { block_ = block; }
  // A tensor that stands alone, under its own name.
  void single(Tensor& tensor, Part part, const std::string& name, std::vector<int64_t> shape,
              std::vector<int64_t> file_shape = {}) {
    if (file_shape.empty()) file_shape = shape;
    table_.push_back({name, &tensor, shape, part, {{name, std::move(file_shape), 0, shape[0]}}, block_});
  }
  // Tensors of the file that lie one below the other in ours. `width` 0: vectors.
  struct Rows {
    std::string name;
    int64_t rows;
  };
  void stacked(Tensor& tensor, Part part, const std::string& name, const std::vector<Rows>& blocks, int64_t width) {
    Parameter parameter{name, &tensor, {}, part, {}, block_};
    int64_t rows = 0;
    for (const Rows& block : blocks) {
      parameter.pieces.push_back({block.name,
                                  width ? std::vector<int64_t>{block.rows, width} : std::vector<int64_t>{block.rows},
                                  rows, block.rows});
      rows += block.rows;
    }
    parameter.shape = width ? std::vector<int64_t>{rows, width} : std::vector<int64_t>{rows};
    table_.push_back(std::move(parameter));
  }
  // A product: weight and, if asked for, bias.
  void linear(Linear& linear, Part part, const std::string& name, int64_t out, int64_t in, bool bias) {
    single(linear.weight, part, name + ".weight", {out, in});
    if (bias) single(linear.bias, part, name + ".bias", {out});
  }
  void norm(Norm& norm, Part part, const std::string& name, int64_t width, NormKind kind) {
    single(norm.weight, part, name + ".weight", {width});
    if (kind == NormKind::kLayer) single(norm.bias, part, name + ".bias", {width});
  }
  void stacked_linear(Linear& linear, Part part, const std::string& name, std::vector<Rows> blocks, int64_t in,
                      bool bias) {
    const auto suffixed = [&blocks](const char* suffix) {
      std::vector<Rows> named = blocks;
      for (Rows& block : named) block.name += suffix;
      return named;
    };
    stacked(linear.weight, part, name + ".weight", suffixed(".weight"), in);
    if (bias) stacked(linear.bias, part, name + ".bias", suffixed(".bias"), 0);
  }

  std::vector<Parameter> take() { return std::move(table_); }

 private:
  std::vector<Parameter> table_;
  Block block_;
};

void describe_decoder(const TextConfig& c, Weights& w, TableBuilder& table) {
  const int64_t query_width = c.heads * c.head_dim, key_width = c.key_heads * c.head_dim;
  table.single(w.embedding, Part::kEmbeddings, "model.embed_tokens.weight", {c.vocab_size, c.hidden_size});
  w.layers.resize(static_cast<size_t>(c.layers));
  for (size_t i = 0; i < w.layers.size(); ++i) {
    DecoderLayer& layer = w.layers[i];
    table.enter({Block::Kind::kDecoder, static_cast<int64_t>(i)});
    const std::string at = fmt::format("model.layers.{}.", i), attention = at + "self_attn.", mlp = at + "mlp.";
    table.single(layer.input_norm, Part::kLanguage, at + "input_layernorm.weight", {c.hidden_size});
    table.stacked_linear(
        layer.qkv, Part::kLanguage, attention + "qkv_proj",
        {{attention + "q_proj", query_width}, {attention + "k_proj", key_width}, {attention + "v_proj", key_width}},
        c.hidden_size, c.qkv_bias);
    if (c.qk_norm) {
      table.single(layer.q_norm, Part::kLanguage, attention + "q_norm.weight", {c.head_dim});
      table.single(layer.k_norm, Part::kLanguage, attention + "k_norm.weight", {c.head_dim});
    }
    table.linear(layer.out, Part::kLanguage, attention + "o_proj", c.hidden_size, query_width, c.out_bias);
    table.single(layer.post_norm, Part::kLanguage, at + "post_attention_layernorm.weight", {c.hidden_size});
    table.stacked_linear(layer.gate_up, Part::kLanguage, mlp + "gate_up_proj",
                         {{mlp + "gate_proj", c.intermediate_size}, {mlp + "up_proj", c.intermediate_size}},
                         c.hidden_size, false);
    table.linear(layer.down, Part::kLanguage, mlp + "down_proj", c.hidden_size, c.intermediate_size, false);
  }
  table.enter({});
  table.single(w.norm, Part::kLanguage, "model.norm.weight", {c.hidden_size});
  if (!c.tie_embeddings) table.single(w.head, Part::kEmbeddings, "lm_head.weight", {c.vocab_size, c.hidden_size});
}

void describe_merger(const VisionConfig& c, const WeightNames& names, int64_t out_width, const std::string& at,
                     bool norm_merged, Merger& merger, TableBuilder& table) {
  const int64_t merged = c.hidden_size * c.merge_size * c.merge_size;
  table.norm(merger.norm, Part::kMerger, at + names.merger_norm, norm_merged ? merged : c.hidden_size, c.norm);
  table.linear(merger.up, Part::kMerger, at + names.merger_up, merged, merged, true);
  table.linear(merger.down, Part::kMerger, at + names.merger_down, out_width, merged, true);
}

void describe_vision(const VisionConfig& c, const WeightNames& names, int64_t out_width, VisionWeights& w,
                     TableBuilder& table) {
  table.single(w.patch_embed.weight, Part::kVision, "visual.patch_embed.proj.weight", {c.hidden_size, c.patch_values()},
               {c.hidden_size, c.in_channels, c.temporal_patch_size, c.patch_size, c.patch_size});
  if (c.patch_bias) table.single(w.patch_embed.bias, Part::kVision, "visual.patch_embed.proj.bias", {c.hidden_size});
  if (c.position_rows > 0)
    table.single(w.positions, Part::kVision, "visual.pos_embed.weight", {c.position_rows, c.hidden_size});
  w.blocks.resize(static_cast<size_t>(c.depth));
  for (size_t i = 0; i < w.blocks.size(); ++i) {
    VisionBlock& block = w.blocks[i];
    table.enter({Block::Kind::kVision, static_cast<int64_t>(i)});
    const std::string at = fmt::format("visual.blocks.{}.", i), mlp = at + "mlp.";
    table.norm(block.norm1, Part::kVision, at + "norm1", c.hidden_size, c.norm);
    table.linear(block.qkv, Part::kVision, at + "attn.qkv", 3 * c.hidden_size, c.hidden_size, true);
    table.linear(block.out, Part::kVision, at + "attn.proj", c.hidden_size, c.hidden_size, true);
    table.norm(block.norm2, Part::kVision, at + "norm2", c.hidden_size, c.norm);
    if (c.feed_forward == FeedForward::kSwiGlu) {
      table.stacked_linear(block.up, Part::kVision, mlp + "gate_up_proj",
                           {{mlp + "gate_proj", c.intermediate_size}, {mlp + "up_proj", c.intermediate_size}},
                           c.hidden_size, true);
      table.linear(block.down, Part::kVision, mlp + "down_proj", c.hidden_size, c.intermediate_size, true);
    } else {
      table.linear(block.up, Part::kVision, mlp + names.vision_up, c.intermediate_size, c.hidden_size, true);
      table.linear(block.down, Part::kVision, mlp + names.vision_down, c.hidden_size, c.intermediate_size, true);
    }
  }
  table.enter({});
  describe_merger(c, names, out_width, "visual.merger.", false, w.merger, table);
  w.deepstack.resize(c.deepstack.size());
  for (size_t i = 0; i < w.deepstack.size(); ++i)
    describe_merger(c, names, out_width, fmt::format("visual.deepstack_merger_list.{}.", i), true, w.deepstack[i],
                    table);
}

// Names of a list, the first few of them.
std::string some(const std::vector<std::string>& names) {
  constexpr size_t kShown = 16;
  const std::vector<std::string> first(names.begin(),
                                       names.begin() + static_cast<ptrdiff_t>(std::min(kShown, names.size())));
  return fmt::format("{}{}", fmt::join(first, ", "),
                     names.size() > kShown ? fmt::format(" and {} more", names.size() - kShown) : "");
}

// A mask of 0 and 1 / (1 − p) that depends on the key and the adapter's number alone.
Tensor dropout_mask(const Tensor& x, const AdapterDropout& dropout, uint64_t number) {
  at::Generator generator = at::globalContext().defaultGenerator(x.device()).clone();
  generator.set_current_seed(Rng(*dropout.key, Stream::kDropout, {number}).next64());
  return at::empty_like(x).bernoulli_(1 - dropout.probability, generator).div_(1 - dropout.probability);
}

// The adapters' part of a product's output, zero in rows without one.
Tensor adapter_output(const Linear& linear, const Tensor& x) {
  std::vector<Tensor> parts;
  int64_t row = 0;
  const auto zeros_until = [&](int64_t end, const at::TensorOptions& options) {
    if (end > row) parts.push_back(at::zeros({x.size(0), end - row}, options));
  };
  for (const Adapter& adapter : linear.adapters) {
    Tensor input = x.to(adapter.a.scalar_type());
    if (linear.dropout && linear.dropout->key && linear.dropout->probability > 0)
      input = input * dropout_mask(input, *linear.dropout, adapter.number);
    zeros_until(adapter.first_row, input.options());
    parts.push_back(at::linear(at::linear(input, adapter.a), adapter.b) * adapter.scale);
    row = adapter.first_row + adapter.rows;
  }
  zeros_until(linear.weight.size(0), parts.back().options());
  return parts.size() == 1 ? parts[0] : at::cat(parts, 1);
}

}  // namespace

Tensor Linear::operator()(const Tensor& x) const {
  const Tensor y = packed.defined() ? packed.multiply(x, bias)
                   : bias.defined() ? at::linear(x, weight, bias)
                                    : at::linear(x, weight);
  return adapters.empty() ? y : y + adapter_output(*this, x).to(y.scalar_type());
}

std::vector<Linear*> products(Weights& weights) {
  std::vector<Linear*> all;
  for (DecoderLayer& layer : weights.layers)
    for (Linear* linear : {&layer.qkv, &layer.out, &layer.gate_up, &layer.down}) all.push_back(linear);
  for (VisionBlock& block : weights.vision.blocks)
    for (Linear* linear : {&block.qkv, &block.out, &block.up, &block.down}) all.push_back(linear);
  if (!weights.vision.blocks.empty()) all.insert(all.end(), {&weights.vision.merger.up, &weights.vision.merger.down});
  for (Merger& merger : weights.vision.deepstack) all.insert(all.end(), {&merger.up, &merger.down});
  return all;
}

Weights pack_weights(Weights weights) {
  if (!nn::can_pack(weights.head)) return weights;
  std::vector<Linear*> all = products(weights);
  if (weights.vision.patch_embed.weight.defined()) all.push_back(&weights.vision.patch_embed);
  int64_t bytes = nn::PackedMatrix::panel_bytes(weights.head);
  for (const Linear* linear : all) bytes += nn::PackedMatrix::panel_bytes(linear->weight);
  const bool keep_panels = bytes < available_memory().value_or(std::numeric_limits<int64_t>::max()) / 2;
  for (Linear* linear : all) linear->packed = nn::PackedMatrix(linear->weight, keep_panels);
  weights.packed_head = nn::PackedMatrix(weights.head, keep_panels);
  return weights;
}

std::vector<Parameter> parameter_table(const ModelConfig& config, Weights& weights) {
  TableBuilder table;
  describe_decoder(config.text, weights, table);
  if (config.reads_images())
    describe_vision(config.vision, config.names, config.text.hidden_size, weights.vision, table);
  return table.take();
}

std::string table_name(std::string name) {
  const auto replace = [&name](std::string_view from, std::string_view to) {
    if (!name.starts_with(from)) return false;
    name.replace(0, from.size(), to);
    return true;
  };
  // Qwen3-VL's names, and what transformers 4.52 to 4.57 wrote for the others.
  if (!replace("model.visual.", "visual.") && !replace("model.language_model.", "model."))
    replace("language_model.model.", "model.");
  return name;
}

std::string published_name(const WeightNames& names, const std::string& table_name) {
  for (const auto& [own, published] :
       {std::pair<std::string_view, std::string_view>{"visual.", names.vision}, {"model.", names.decoder}})
    if (table_name.starts_with(own)) return std::string(published) + table_name.substr(own.size());
  return table_name;
}

namespace {

// The table's name → name in the file. Throws Error where the files do not hold the table's tensors.
std::map<std::string, std::string> match(const ModelConfig& config, const std::vector<Parameter>& table,
                                         const io::SafetensorsModel& files) {
  std::map<std::string, std::string> in_file;
  for (const std::string& name : files.names()) in_file[table_name(name)] = name;

  std::vector<std::string> missing, misshapen;
  std::set<std::string> wanted;
  for (const Parameter& parameter : table)
    for (const auto& piece : parameter.pieces) {
      wanted.insert(piece.name);
      const auto found = in_file.find(piece.name);
      if (found == in_file.end()) {
        missing.push_back(piece.name);
      } else if (const auto& shape = files.info(found->second).shape; shape != piece.shape) {
        misshapen.push_back(
            fmt::format("{} [{}] instead of [{}]", piece.name, fmt::join(shape, ", "), fmt::join(piece.shape, ", ")));
      }
    }
  if (config.text.tie_embeddings) wanted.insert("lm_head.weight");  // a raw state dictionary holds it a second time
  std::vector<std::string> unexpected;
  for (const auto& [name, original] : in_file)
    if (!wanted.contains(name) && !name.ends_with("rotary_emb.inv_freq")) unexpected.push_back(original);
  if (!missing.empty() || !misshapen.empty() || !unexpected.empty()) {
    std::vector<std::string> complaints;
    if (!missing.empty()) complaints.push_back("missing tensors: " + some(missing));
    if (!misshapen.empty()) complaints.push_back("tensors of another shape: " + some(misshapen));
    if (!unexpected.empty()) complaints.push_back("unexpected tensors: " + some(unexpected));
    fail("{}: the weights do not fit config.json; {}", files.files().front().path().parent_path().string(),
         fmt::join(complaints, "; "));
  }
  return in_file;
}

}  // namespace

void check_weights(const ModelConfig& config, const io::SafetensorsModel& files) {
  Weights weights;
  (void)match(config, parameter_table(config, weights), files);
}

void load_weights(const ModelConfig& config, const io::SafetensorsModel& files, const at::TensorOptions& options,
                  Weights& weights, const Loaded& loaded) {
  const auto table = parameter_table(config, weights);
  const auto in_file = match(config, table, files);
  const at::NoGradGuard no_grad;
  for (const Parameter& parameter : table) {
    *parameter.tensor = at::empty(parameter.shape, options);
    for (const auto& piece : parameter.pieces) {
      Tensor rows = parameter.tensor->narrow(0, piece.first_row, piece.rows);
      rows.copy_(files.tensor(in_file.at(piece.name)).reshape(rows.sizes()));
      files.release(in_file.at(piece.name));
    }
    if (loaded) loaded(parameter);
  }
  if (config.text.tie_embeddings) weights.head = weights.embedding;
}

io::NamedTensors hub_tensors(const ModelConfig& config, Weights& weights) {
  io::NamedTensors tensors;
  for (const Parameter& parameter : parameter_table(config, weights))
    for (const auto& piece : parameter.pieces)
      tensors.emplace_back(published_name(config.names, piece.name),
                           parameter.tensor->detach().narrow(0, piece.first_row, piece.rows).view(piece.shape));
  return tensors;
}

}  // namespace ssl4rl::models
