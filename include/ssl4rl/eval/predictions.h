// The file of predictions that a benchmark's run grows, for public benchmarks and self-supervised tasks alike.
//
//     {"fingerprint": {"model": …, "settings": …}}        the first line: what the predictions belong to
//     {"index": 17, "prediction": "B", "extracted": "B", "hit": 1, "prompt_tokens": 311, "tokens": 2}
//
// It is only appended to. A second run with the same fingerprint goes on where the first one stopped; a last line that
// a kill cut off is dropped. Shards write files of their own beside it, and whoever finishes last puts them together.
#pragma once

#include <filesystem>
#include <map>
#include <memory>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <vector>

#include "ssl4rl/base/log.h"
#include "ssl4rl/eval/dataset.h"
#include "ssl4rl/io/file.h"

namespace ssl4rl::eval {

struct Shard {
  int64_t index = 0, count = 1;
};

class PredictionFile {
 public:
  /// Opens FOLDER/predictions.jsonl (or the shard's file) for appending and reads what earlier calls left under the
  /// same fingerprint, in any shard. A file of another fingerprint is moved aside. Throws Error where another process
  /// writes it.
  PredictionFile(const std::filesystem::path& folder, nlohmann::ordered_json fingerprint, std::optional<Shard> shard,
                 const Log& log);

  /// Lines by index (numbers as text).
  [[nodiscard]] const std::map<std::string, nlohmann::ordered_json>& lines() const { return lines_; }
  void append(const nlohmann::ordered_json& line);
  /// Waits until the lines are on the disk.
  void sync();
  /// Whether every index has a line now. If so, and there are shards, all lines are put together in predictions.jsonl
  /// in this order.
  [[nodiscard]] bool complete(const std::vector<std::string>& order);

 private:
  void read_all();

  std::filesystem::path folder_, file_;
  nlohmann::ordered_json fingerprint_;
  const Log& log_;
  std::unique_ptr<io::FileLock> lock_;
  std::map<std::string, nlohmann::ordered_json> lines_;
  std::unique_ptr<io::OutputFile> out_;
};

/// Writes FOLDER/predictions.jsonl anew, from predictions that came from elsewhere. What a model's run left there is
/// moved aside.
void replace_predictions(const std::filesystem::path& folder, const nlohmann::ordered_json& fingerprint,
                         const std::string& lines, const Log& log);

/// An index as text, whether it was written as a number or a text.
[[nodiscard]] std::string index_text(const nlohmann::ordered_json& index);

/// The predictions of a .jsonl (index, prediction) or of the toolkit's .tsv, by row. Throws Error naming the row that
/// is missing, stands twice or is unknown.
[[nodiscard]] std::vector<io::Cell> read_predictions(const std::filesystem::path& file, const Dataset& dataset);

}  // namespace ssl4rl::eval
