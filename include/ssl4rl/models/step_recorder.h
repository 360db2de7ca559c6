// Decoding steps that are recorded and repeated (nn/graph.h). Steps are filled up to numbers of rows and positions that
// change seldom, so that most of them repeat one that was recorded.
#pragma once

#include <map>
#include <memory>
#include <span>
#include <vector>

#include "ssl4rl/models/model.h"
#include "ssl4rl/nn/graph.h"

namespace ssl4rl::models {

class StepRecorder {
 public:
  /// For a cache that tells its steps apart (KvCache::layout); both must outlive the recorder.
  StepRecorder(const Model& model, nn::KvCache& cache) : model_(model), cache_(cache) {}

  /// Model::decode; the logits hold until the next call.
  [[nodiscard]] at::Tensor decode(std::span<const nn::DecodeRow> rows, std::span<const int64_t> ids,
                                  std::span<const int64_t> positions);

  [[nodiscard]] size_t recorded() const { return graphs_.size(); }

 private:
  const Model& model_;
  nn::KvCache& cache_;
  std::map<int64_t, DecodeInputs> inputs_;  // by number of rows
  std::map<std::vector<int64_t>, std::unique_ptr<nn::Graph>> graphs_;
};

}  // namespace ssl4rl::models
