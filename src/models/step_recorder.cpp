#include "ssl4rl/models/step_recorder.h"

#include <ATen/ATen.h>

#include <algorithm>

namespace ssl4rl::models {

DecodeInputs StepRecorder::in_place(const DecodeInputs& given) {
  const int64_t rows = given.ids_n.size(0);
  const auto place = [rows](at::Tensor& all, const at::Tensor& values) {
    if (!all.defined() || all.size(0) < rows) {
      std::vector<int64_t> sizes = values.sizes().vec();
      if (all.defined()) sizes[0] = std::max(rows, 2 * all.size(0));
      all = at::empty(sizes, values.options());
    }
    return all.narrow(0, 0, rows).copy_(values);
  };
  if (inputs_.ids_n.defined() && inputs_.ids_n.size(0) < rows) kept_.clear();  // they read the old places
  return {place(inputs_.ids_n, given.ids_n),
          {place(inputs_.rope.cos_TR, given.rope.cos_TR), place(inputs_.rope.sin_TR, given.rope.sin_TR)}};
}

at::Tensor StepRecorder::decode(std::span<const nn::DecodeRow> rows, std::span<const int64_t> ids,
                                std::span<const int64_t> positions) {
  const auto count = static_cast<int64_t>(rows.size()), filled = nn::step_rows(count);
  const auto fill_up = [filled](std::span<const int64_t> values) {
    std::vector<int64_t> all(values.begin(), values.end());
    all.resize(static_cast<size_t>(filled), 0);
    return all;
  };
  const DecodeInputs inputs = in_place(model_.decode_inputs(fill_up(ids), fill_up(positions)));
  cache_.begin(rows, filled);
  const auto known = std::find_if(kept_.begin(), kept_.end(),
                                  [&](const Recording& recording) { return recording.layout == cache_.layout(); });
  if (known != kept_.end()) {
    std::rotate(kept_.begin(), known, known + 1);
    return kept_.front().graph->replay().narrow(0, 0, count);
  }
  const auto step = [this, inputs] { return model_.decode_step(inputs, cache_); };
  const at::Tensor logits_nV = step();
  if (std::unique_ptr<nn::Graph> graph = graphs_.record(step)) {
    kept_.insert(kept_.begin(), {cache_.layout(), std::move(graph)});
    if (kept_.size() > kKept) kept_.pop_back();
    ++recorded_;
  } else {
    kept_.clear();
  }
  return logits_nV.narrow(0, 0, count);
}

}  // namespace ssl4rl::models
