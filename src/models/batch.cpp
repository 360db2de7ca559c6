#include "ssl4rl/models/batch.h"

#include <ATen/ATen.h>

#include "ssl4rl/base/error.h"
#include "ssl4rl/nn/on_device.h"

namespace ssl4rl::models {

namespace {

// Of all prompts' images, if they are known.
std::optional<VisionFeatures> known_features(std::span<const PackedGroup> groups, at::Device device) {
  std::vector<at::Tensor> tokens;
  std::vector<std::vector<at::Tensor>> deepstack;
  for (const PackedGroup& group : groups) {
    const Prompt& prompt = *group.prompt;
    if (prompt.images.empty()) continue;
    if (!prompt.features) return {};
    tokens.push_back(prompt.features->tokens_MD.to(device));
    deepstack.resize(prompt.features->deepstack_MD.size());
    for (size_t i = 0; i < deepstack.size(); ++i) deepstack[i].push_back(prompt.features->deepstack_MD[i].to(device));
  }
  if (tokens.empty()) return {};
  VisionFeatures features{at::cat(tokens), {}};
  for (const auto& of_layer : deepstack) features.deepstack_MD.push_back(at::cat(of_layer));
  return features;
}

}  // namespace

PackedBatch pack(std::span<const PackedGroup> groups, int64_t image_id, at::Device device) {
  PackedBatch batch;
  std::vector<int64_t> prompt_lengths;
  std::vector<std::vector<int64_t>> completion_lengths;
  for (const PackedGroup& group : groups) {
    prompt_lengths.push_back(group.prompt->length());
    auto& lengths = completion_lengths.emplace_back();
    for (const auto completion : group.completions) lengths.push_back(static_cast<int64_t>(completion.size()));
  }
  batch.layout = nn::Layout::from_lengths(prompt_lengths, completion_lengths);

  std::vector<int64_t> ids, image_rows, logit_rows, targets;
  std::array<std::vector<int64_t>, 3> positions;
  std::vector<at::Tensor> patches;
  for (const PackedGroup& group : groups) {
    const auto first = static_cast<int64_t>(ids.size());
    for (int64_t i = 0; i < group.prompt->length(); ++i)
      if (group.prompt->ids[static_cast<size_t>(i)] == image_id) image_rows.push_back(first + i);
    ids.insert(ids.end(), group.prompt->ids.begin(), group.prompt->ids.end());
    for (size_t axis = 0; axis < 3; ++axis)
      positions[axis].insert(positions[axis].end(), group.prompt->positions[axis].begin(),
                             group.prompt->positions[axis].end());
    for (const ImagePatches& image : group.prompt->images) {
      patches.push_back(image.values);
      batch.grids.push_back(image.grid);
    }
  }
  for (size_t g = 0; g < groups.size(); ++g) {
    const nn::GroupSpans& spans = batch.layout.groups[g];
    for (const auto completion : groups[g].completions) {
      const auto first = static_cast<int64_t>(ids.size());
      for (size_t i = 0; i < completion.size(); ++i) {
        logit_rows.push_back(i == 0 ? spans.prompt.end() - 1 : first + static_cast<int64_t>(i) - 1);
        targets.push_back(completion[i]);
        for (auto& axis : positions) axis.push_back(groups[g].prompt->next_position + static_cast<int64_t>(i));
      }
      ids.insert(ids.end(), completion.begin(), completion.end());
    }
  }
  batch.ids_T = nn::on_device(ids, device);
  batch.positions_AT =
      nn::on_device(at::stack({at::tensor(positions[0]), at::tensor(positions[1]), at::tensor(positions[2])}), device);
  batch.image_rows_M = nn::on_device(image_rows, device);
  batch.features = known_features(groups, device);
  if (!patches.empty() && !batch.features) batch.patches = nn::on_device(at::cat(patches), device);
  batch.logit_rows_n = nn::on_device(logit_rows, device);
  batch.targets_n = nn::on_device(targets, device);
  return batch;
}

}  // namespace ssl4rl::models
