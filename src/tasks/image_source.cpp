#include "ssl4rl/tasks/image_source.h"

#include <algorithm>
#include <fstream>
#include <nlohmann/json.hpp>

#include "ssl4rl/base/error.h"
#include "ssl4rl/image/codec.h"
#include "ssl4rl/io/file.h"
#include "ssl4rl/io/hash.h"
#include "ssl4rl/io/jsonl.h"

namespace ssl4rl::tasks {
namespace fs = std::filesystem;
namespace {

void find_in_folder(const fs::path& folder, std::vector<ImageEntry>& entries) {
  std::error_code error;
  std::vector<ImageEntry> found;
  for (fs::recursive_directory_iterator it(folder, fs::directory_options::follow_directory_symlink, error), end;
       it != end && !error; it.increment(error)) {
    std::error_code ignored;
    if (image::is_image_name(it->path()) && it->is_regular_file(ignored))
      found.push_back({it->path(), it->path().lexically_relative(folder).generic_string()});
  }
  if (error) fail("data.images: {}: cannot be searched: {}", folder.string(), error.message());
  if (found.empty()) fail("data.images: {}: the folder holds no image", folder.string());
  std::sort(found.begin(), found.end(), [](const auto& a, const auto& b) { return a.name < b.name; });
  entries.insert(entries.end(), std::make_move_iterator(found.begin()), std::make_move_iterator(found.end()));
}

// One path a line; relative ones are taken from the list's folder.
void find_in_text_list(const fs::path& list, std::vector<ImageEntry>& entries) {
  std::ifstream in(list);
  if (!in) fail("data.images: {}: cannot be read: {}", list.string(), errno_text());
  for (std::string line; std::getline(in, line);) {
    if (line.ends_with('\r')) line.pop_back();
    if (!line.empty()) entries.push_back({list.parent_path() / line, line});
  }
}

void find_in_json_list(const fs::path& list, std::vector<ImageEntry>& entries) {
  io::for_each_json_line(list, [&](nlohmann::ordered_json&& line, int64_t) {
    if (!line.contains("image") || !line["image"].is_string()) fail("expected \"image\": a path");
    const auto name = line["image"].get<std::string>();
    entries.push_back({list.parent_path() / name, name});
  });
}

}  // namespace

void DataConfig::describe(config::Section& section) {
  section.add("images", images)
      .help(
          "folders of images, searched recursively, or lists of them (.txt: a path a line; .jsonl: {\"image\": path})");
  section.add("holdout_fraction", holdout_fraction)
      .at_least(0)
      .below(1)
      .help("share of the images that is kept for evaluation and never trained on");
  section.add("min_side", min_side).at_least(28).help("images with a shorter side are skipped, in pixels");
  section.add("workers", workers)
      .at_least(0)
      .unset_means("half of the processor's threads")
      .help("threads that draw puzzles ahead of the trainer; 0: none");
  section.add("balance_answers", balance_answers)
      .help("give every answer of a task equally often, in blocks, instead of by chance");
}

std::vector<ImageEntry> find_images(const std::vector<fs::path>& sources) {
  if (sources.empty()) fail("data.images: no folder or list of images is given");
  std::vector<ImageEntry> entries;
  for (const fs::path& source : sources) {
    if (fs::is_directory(source)) {
      find_in_folder(source, entries);
    } else if (!fs::exists(source)) {
      fail("data.images: {}: no such folder or list", source.string());
    } else if (const size_t before = entries.size(); source.extension() == ".txt" || source.extension() == ".jsonl") {
      source.extension() == ".txt" ? find_in_text_list(source, entries) : find_in_json_list(source, entries);
      if (entries.size() == before) fail("data.images: {}: the list is empty", source.string());
    } else {
      fail("data.images: {}: expected a folder, or a list (.txt or .jsonl)", source.string());
    }
  }
  return entries;
}

bool is_held_out(uint64_t seed, const std::string& name, double fraction) {
  const auto digest = io::sha256(std::to_string(seed) + "/" + name);
  uint64_t first = 0;
  for (size_t i = 0; i < 8; ++i) first = first << 8 | digest[i];
  return static_cast<double>(first) * 0x1p-64 < fraction;
}

std::shared_ptr<const image::Image> ImagePool::load(int64_t i, const std::string& task) const {
  try {
    auto picture = std::make_shared<const image::Image>(image::load(entries_[static_cast<size_t>(i)].file));
    if (std::min(picture->width, picture->height) >= min_side_) return picture;
    skip(i, task,
         fmt::format("{}x{} pixels: a side is below data.min_side {}", picture->width, picture->height, min_side_));
  } catch (const Error& e) {
    skip(i, task, e.what());
  }
  return nullptr;
}

void ImagePool::skip(int64_t i, const std::string& task, std::string reason) const {
  const std::lock_guard lock(mutex_);
  skipped_[task].emplace(name(i), std::move(reason));
}

std::map<std::string, std::map<std::string, std::string>> ImagePool::skipped() const {
  const std::lock_guard lock(mutex_);
  return skipped_;
}

SplitImages split_images(const DataConfig& config, uint64_t seed) {
  std::vector<ImageEntry> training, held_out;
  for (ImageEntry& entry : find_images(config.images))
    (is_held_out(seed, entry.name, config.holdout_fraction) ? held_out : training).push_back(std::move(entry));
  if (training.empty())
    fail("data.holdout_fraction: {} leaves none of the {} images for training", config.holdout_fraction,
         held_out.size());
  return {std::make_shared<const ImagePool>(std::move(training), config.min_side),
          std::make_shared<const ImagePool>(std::move(held_out), config.min_side)};
}

}  // namespace ssl4rl::tasks
