// Decoding steps that are recorded and repeated (nn/graph.h). Steps are filled up to numbers of rows and positions that
// change seldom, so that most of them repeat one that was recorded.
//
// Recordings are of one cache, and so of one rollout: they hold the addresses of its tensors, and to keep those until
// the next rollout would take the memory that the update needs in between.
#pragma once

#include <span>
#include <vector>

#include "ssl4rl/models/model.h"
#include "ssl4rl/nn/graph.h"

namespace ssl4rl::models {

class StepRecorder {
 public:
  static constexpr size_t kKept = 16;  ///< recordings, of which the one that was used longest ago goes first

  /// For a cache that tells its steps apart (KvCache::layout); all three must outlive the recorder.
  StepRecorder(const Model& model, nn::KvCache& cache, nn::GraphRecorder& graphs)
      : model_(model), cache_(cache), graphs_(graphs) {}

  /// Model::decode; the logits hold until the next call.
  [[nodiscard]] at::Tensor decode(std::span<const nn::DecodeRow> rows, std::span<const int64_t> ids,
                                  std::span<const int64_t> positions);

  [[nodiscard]] size_t recorded() const { return recorded_; }  ///< until now
  [[nodiscard]] size_t kept() const { return kept_.size(); }

 private:
  struct Recording {
    std::vector<int64_t> layout;
    std::unique_ptr<nn::Graph> graph;
  };
  /// Puts what a step reads in its place, where it stays until a step has more rows than any before.
  [[nodiscard]] DecodeInputs in_place(const DecodeInputs& given);

  const Model& model_;
  nn::KvCache& cache_;
  nn::GraphRecorder& graphs_;
  DecodeInputs inputs_;
  std::vector<Recording> kept_;  // the last used first
  size_t recorded_ = 0;
};

}  // namespace ssl4rl::models
