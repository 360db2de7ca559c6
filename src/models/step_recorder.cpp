#include "ssl4rl/models/step_recorder.h"

#include <ATen/ATen.h>

namespace ssl4rl::models {

at::Tensor StepRecorder::decode(std::span<const nn::DecodeRow> rows, std::span<const int64_t> ids,
                                std::span<const int64_t> positions) {
  const auto count = static_cast<int64_t>(rows.size()), filled = nn::step_rows(count);
  const auto fill_up = [filled](std::span<const int64_t> values) {
    std::vector<int64_t> all(values.begin(), values.end());
    all.resize(static_cast<size_t>(filled), 0);
    return all;
  };
  const DecodeInputs now = model_.decode_inputs(fill_up(ids), fill_up(positions));
  const auto [place, is_new] = inputs_.try_emplace(filled, now);
  DecodeInputs& inputs = place->second;
  if (!is_new) {
    inputs.ids_n.copy_(now.ids_n);
    inputs.rope.cos_TR.copy_(now.rope.cos_TR);
    inputs.rope.sin_TR.copy_(now.rope.sin_TR);
  }
  cache_.begin(rows, filled);
  std::unique_ptr<nn::Graph>& graph = graphs_[cache_.layout()];
  if (!graph) graph = nn::record(model_.device(), [this, &inputs] { return model_.decode_step(inputs, cache_); });
  return graph->replay().narrow(0, 0, count);
}

}  // namespace ssl4rl::models
