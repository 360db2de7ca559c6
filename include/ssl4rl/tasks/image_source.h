// The user's images: found once, split into training and held-out, decoded when drawn. A broken image is skipped,
// counted and named, never fatal. Of an image that isn't being drawn only its name (and its place in a tar file) is
// kept, so the order of an epoch is an exact permutation even of millions, without a shuffle buffer.
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
#include "ssl4rl/tasks/task.h"

namespace ssl4rl::tasks {

struct DataConfig {
  std::vector<std::filesystem::path> images;  ///< folders, searched recursively, tar files, or .txt and .jsonl lists
  double holdout_fraction = 0.02;
  int64_t min_side = 56;
  std::optional<int64_t> workers;
  bool balance_answers = false;

  void describe(config::Section& section);
};

/// An image: a file, or a member of a tar file.
struct ImageEntry {
  uint32_t source = 0;              ///< index of the folder or tar file that it lies in
  std::string name;                 ///< relative to its folder, '/'-separated; of a tar's member: TAR/MEMBER
  std::string label;                ///< from a list's "label" or a tar's .cls member; "" if there is none
  uint64_t offset = 0, length = 0;  ///< of a tar's member
};

struct ImageList {
  struct Source {
    std::filesystem::path path;  ///< the folder that names are relative to, or the tar file
    bool tar = false;
  };
  std::vector<Source> sources;
  std::vector<ImageEntry> entries;

  /// The file that holds an entry.
  [[nodiscard]] std::filesystem::path file_of(const ImageEntry& entry) const;
};

/// All images of the configuration: of folders in sorted order, of lists in theirs. Throws Error where a source is
/// missing, broken or empty.
[[nodiscard]] ImageList find_images(const std::vector<std::filesystem::path>& sources);

/// Whether an image is held out: the first 8 bytes of SHA-256("SEED/NAME"), as a fraction of 2^64, lie below
/// `fraction`.
[[nodiscard]] bool is_held_out(uint64_t seed, const std::string& name, double fraction);

/// The images of one side of the split.
class ImagePool {
 public:
  ImagePool(ImageList images, int64_t min_side) : images_(std::move(images)), min_side_(min_side) {}

  [[nodiscard]] int64_t size() const { return static_cast<int64_t>(images_.entries.size()); }
  [[nodiscard]] const std::string& name(int64_t i) const { return entry(i).name; }
  [[nodiscard]] const std::string& label(int64_t i) const { return entry(i).label; }
  /// The decoded image, or null where it cannot be used; why is noted under the task's name. Safe from several threads.
  [[nodiscard]] std::shared_ptr<const image::Image> load(int64_t i, const std::string& task) const;
  /// Notes that a task cannot use an image.
  void skip(int64_t i, const std::string& task, std::string reason) const;
  /// The frames that an image stands among: the images of its folder whose names differ in their last number alone, by
  /// that number. Throws Unusable if its name holds none.
  [[nodiscard]] Material::Sequence sequence(int64_t i, const std::string& task) const;

  /// task → image → reason, of all images skipped so far.
  [[nodiscard]] std::map<std::string, std::map<std::string, std::string>> skipped() const;

 private:
  [[nodiscard]] const ImageEntry& entry(int64_t i) const { return images_.entries[static_cast<size_t>(i)]; }

  ImageList images_;
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
