// Running and scoring a public benchmark, with its files (docs/evaluation.md).
#pragma once

#include <filesystem>
#include <functional>
#include <nlohmann/json_fwd.hpp>
#include <optional>

#include "ssl4rl/eval/ask.h"
#include "ssl4rl/eval/outputs.h"
#include "ssl4rl/eval/predictions.h"
#include "ssl4rl/eval/scoring.h"

namespace ssl4rl::eval {

struct BenchSettings {
  ScoreSettings scoring;
  AskSettings asking;
  std::optional<std::filesystem::path> baseline;  ///< another run's output folder
  bool xlsx = false;
  std::string model_name;  ///< stands in the spreadsheet's name, as in the toolkit
  bool keep_none = false;
  std::optional<Shard> shard;
};

/// Asks what is not answered yet, then scores and writes everything. With shards, only the last one to finish scores;
/// the others return nothing.
[[nodiscard]] std::optional<SummaryLine> run_bench(const Dataset& dataset, const PromptStyle& style,
                                                   const BenchSettings& settings, const models::Model& model,
                                                   const std::string& model_fingerprint,
                                                   const std::filesystem::path& output, const Log& log,
                                                   const std::function<void()>& poll);

/// Asks and scores without files, with the toolkit's prompts and newest rules: for evaluations while training.
[[nodiscard]] Scores ask_and_score(const Dataset& dataset, const models::Model& model, const AskSettings& settings,
                                   const Log& log, const std::function<void()>& poll);
/// A benchmark's `overall` as a share of the best that can be reached, from 0 to 1.
[[nodiscard]] double share_of_best(Kind kind, double overall);

/// Scores predictions that exist already.
struct GivenPredictions {
  std::filesystem::path file;
  std::vector<io::Cell> by_row;
};
/// Throws Error where another run's folder holds no predictions for this benchmark.
void check_baseline(const Dataset& dataset, const std::filesystem::path& baseline);

/// Without files: reads, scores and checks everything, so that an error comes before work begins.
void check_bench(const Dataset& dataset, const BenchSettings& settings, const GivenPredictions& predictions);
[[nodiscard]] SummaryLine score_bench(const Dataset& dataset, const PromptStyle& style, const BenchSettings& settings,
                                      const GivenPredictions& predictions, const std::filesystem::path& output,
                                      const Log& log);

/// BENCH/prompts.jsonl: what would be asked.
void write_prompts(const Dataset& dataset, const PromptStyle& style, const BenchSettings& settings,
                   const std::filesystem::path& output, const Log& log);

}  // namespace ssl4rl::eval
