// The user's images: found once, split into training and held-out, decoded when drawn. A broken image is skipped,
// counted and named, never fatal.
#pragma once

#include <cstdint>
#include <filesystem>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "ssl4rl/base/config.h"
#include "ssl4rl/image/image.h"

namespace ssl4rl::tasks {

struct DataConfig {
  std::vector<std::filesystem::path> images;  ///< folders, searched recursively, or .txt and .jsonl lists
  double holdout_fraction = 0.02;
  int64_t min_side = 56;
  std::optional<int64_t> workers;
  bool balance_answers = false;

  void describe(config::Section& section);
};

struct ImageEntry {
  std::filesystem::path file;
  std::string name;  ///< relative to its folder, '/'-separated
};

/// All images of the configuration, in sorted order. Throws Error where a folder or list is missing or holds no image.
[[nodiscard]] std::vector<ImageEntry> find_images(const std::vector<std::filesystem::path>& sources);

/// Whether an image is held out: the first 8 bytes of SHA-256("SEED/NAME"), as a fraction of 2^64, lie below
/// `fraction`.
[[nodiscard]] bool is_held_out(uint64_t seed, const std::string& name, double fraction);

/// The images of one side of the split.
class ImagePool {
 public:
  ImagePool(std::vector<ImageEntry> entries, int64_t min_side) : entries_(std::move(entries)), min_side_(min_side) {}

  [[nodiscard]] int64_t size() const { return static_cast<int64_t>(entries_.size()); }
  [[nodiscard]] const std::string& name(int64_t i) const { return entries_[static_cast<size_t>(i)].name; }
  /// The decoded image, or null where it cannot be used; why is noted under the task's name. Safe from several threads.
  [[nodiscard]] std::shared_ptr<const image::Image> load(int64_t i, const std::string& task) const;
  /// Notes that a task cannot use an image.
  void skip(int64_t i, const std::string& task, std::string reason) const;

  /// task → image → reason, of all images skipped so far.
  [[nodiscard]] std::map<std::string, std::map<std::string, std::string>> skipped() const;

 private:
  std::vector<ImageEntry> entries_;
  int64_t min_side_;
  mutable std::mutex mutex_;
  mutable std::map<std::string, std::map<std::string, std::string>> skipped_;
};

struct SplitImages {
  std::shared_ptr<const ImagePool> training, held_out;
};
/// Finds and splits. Throws Error if nothing is left for training.
[[nodiscard]] SplitImages split_images(const DataConfig& config, uint64_t seed);

}  // namespace ssl4rl::tasks
