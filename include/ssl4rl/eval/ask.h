// Putting a benchmark's questions to a model: pictures decoded ahead on threads, questions about one picture together,
// batches by their number of tokens.
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "ssl4rl/base/log.h"
#include "ssl4rl/eval/dataset.h"
#include "ssl4rl/eval/prompt.h"
#include "ssl4rl/models/model.h"

namespace ssl4rl::eval {

struct AskSettings {
  int64_t max_new_tokens = 2048;
  bool jpeg_roundtrip = false;  ///< see Picture::decode
  int threads = 1;              ///< that decode and encode
};

struct Response {
  size_t row = 0;
  std::string text;
  int64_t prompt_tokens = 0, tokens = 0;
};

/// Greedy answers to some rows. `answered` gets each as soon as it is finished; `poll` is called between decode steps
/// and may throw to stop. An undecodable picture is an Error that names its row; answers that were handed over before
/// are not lost.
void ask(const Dataset& dataset, const PromptStyle& style, const std::vector<size_t>& rows, const models::Model& model,
         const AskSettings& settings, const Log& log, const std::function<void()>& poll,
         const std::function<void(const Response&)>& answered);

/// Rows in groups that show the same pictures, each group where its first row stands.
[[nodiscard]] std::vector<std::vector<size_t>> rows_by_pictures(const Dataset& dataset,
                                                                const std::vector<size_t>& rows);

}  // namespace ssl4rl::eval
