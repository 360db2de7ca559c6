#include "ssl4rl/tasks/image_source.h"

#include <algorithm>
#include <charconv>
#include <fstream>
#include <nlohmann/json.hpp>

#include "ssl4rl/base/error.h"
#include "ssl4rl/image/codec.h"
#include "ssl4rl/io/file.h"
#include "ssl4rl/io/hash.h"
#include "ssl4rl/io/jsonl.h"
#include "ssl4rl/io/tar.h"
#include "ssl4rl/text/unicode.h"

namespace ssl4rl::tasks {
namespace fs = std::filesystem;
namespace {

uint32_t add_source(ImageList& list, fs::path path, bool tar) {
  list.sources.push_back({std::move(path), tar});
  return static_cast<uint32_t>(list.sources.size() - 1);
}

void find_in_tar(const fs::path& tar, const std::string& name, ImageList& list) {
  const uint32_t source = add_source(list, tar, true);
  std::map<std::string, std::string> labels;  // WebDataset: KEY.cls belongs to KEY.jpg
  const size_t first = list.entries.size();
  const auto key_of = [](const std::string& member) {
    const size_t slash = member.rfind('/');
    return member.substr(0, member.find('.', slash == std::string::npos ? 0 : slash));
  };
  io::for_each_tar_member(tar, [&](const io::TarMember& member) {
    if (image::is_image_name(member.name)) {
      list.entries.push_back({source, name + "/" + member.name, "", member.offset, member.size});
    } else if (constexpr uint64_t kLongest = 4096; member.name.ends_with(".cls") && member.size <= kLongest) {
      labels[key_of(member.name)] = text::strip(io::read_part(tar, member.offset, member.size));
    }
  });
  if (labels.empty()) return;
  for (size_t i = first; i < list.entries.size(); ++i)
    if (const auto found = labels.find(key_of(list.entries[i].name.substr(name.size() + 1))); found != labels.end())
      list.entries[i].label = found->second;
}

void find_in_folder(const fs::path& folder, ImageList& list) {
  const uint32_t source = add_source(list, folder, false);
  const size_t first = list.entries.size(), prefix = (folder / "").native().size();
  std::error_code error;
  for (fs::recursive_directory_iterator it(folder, fs::directory_options::follow_directory_symlink, error), end;
       it != end && !error; it.increment(error)) {
    const bool tar = it->path().extension() == ".tar";
    std::error_code ignored;
    if ((!tar && !image::is_image_name(it->path())) || !it->is_regular_file(ignored)) continue;
    std::string name = it->path().native().substr(prefix);
    if (tar) {
      find_in_tar(it->path(), name, list);
    } else {
      list.entries.push_back({source, std::move(name), "", 0, 0});
    }
  }
  if (error) fail("data.images: {}: cannot be searched: {}", folder.string(), error.message());
  if (list.entries.size() == first) fail("data.images: {}: the folder holds no image", folder.string());
  std::sort(list.entries.begin() + static_cast<ptrdiff_t>(first), list.entries.end(),
            [](const auto& a, const auto& b) { return a.name < b.name; });
}

// One path a line; relative ones are taken from the list's folder.
void find_in_text_list(const fs::path& file, ImageList& list) {
  const uint32_t source = add_source(list, file.parent_path(), false);
  std::ifstream in(file);
  if (!in) fail("data.images: {}: cannot be read: {}", file.string(), errno_text());
  for (std::string line; std::getline(in, line);) {
    if (line.ends_with('\r')) line.pop_back();
    if (!line.empty()) list.entries.push_back({source, line, "", 0, 0});
  }
}

void find_in_json_list(const fs::path& file, ImageList& list) {
  const uint32_t source = add_source(list, file.parent_path(), false);
  io::for_each_json_line(file, [&](nlohmann::ordered_json&& line, int64_t) {
    if (!line.contains("image") || !line["image"].is_string()) fail("expected \"image\": a path");
    const auto label = line.find("label");
    list.entries.push_back({source, line["image"].get<std::string>(),
                            label == line.end()  ? ""
                            : label->is_string() ? label->get<std::string>()
                                                 : label->dump(),
                            0, 0});
  });
}

// "dir/frame_0012.png" → "dir/frame_", 12, ".png".
struct Numbered {
  std::string_view before, after;
  uint64_t number = 0;
};
std::optional<Numbered> numbered(std::string_view name) {
  const auto digit = [](char c) { return c >= '0' && c <= '9'; };
  const size_t slash = name.rfind('/'), dot = std::min(name.rfind('.'), name.size());
  size_t end = dot;
  const size_t stem = slash == std::string_view::npos ? 0 : slash + 1;
  while (end > stem && !digit(name[end - 1])) --end;
  size_t begin = end;
  while (begin > stem && digit(name[begin - 1])) --begin;
  Numbered result{name.substr(0, begin), name.substr(end), 0};
  const auto [rest, error] = std::from_chars(name.data() + begin, name.data() + end, result.number);
  if (begin == end || error != std::errc()) return {};
  return result;
}

}  // namespace

void DataConfig::describe(config::Section& section) {
  section.add("images", images)
      .help(
          "folders of images and tar shards, searched recursively; tar shards (WebDataset); or lists (.txt: a path a "
          "line; .jsonl: {\"image\": path, \"label\": …})");
  section.add("holdout_fraction", holdout_fraction)
      .at_least(0)
      .below(1)
      .help("share of the images that is kept for evaluation and never trained on");
  section.add("min_side", min_side).at_least(28).help("images with a shorter side are skipped, in pixels");
  section.add("workers", workers)
      .at_least(0)
      .unset_means("half of the processor's threads")
      .help("threads that draw puzzles ahead of the trainer; 0: none")
      .changeable();
  section.add("balance_answers", balance_answers)
      .help("give every answer of a task equally often, in blocks, instead of by chance");
}

fs::path ImageList::file_of(const ImageEntry& entry) const {
  const Source& source = sources[entry.source];
  return source.tar ? source.path : source.path / entry.name;
}

ImageList find_images(const std::vector<fs::path>& sources) {
  if (sources.empty()) fail("data.images: no folder or list of images is given");
  ImageList list;
  for (const fs::path& source : sources) {
    const size_t before = list.entries.size();
    const fs::path kind = source.extension();
    if (fs::is_directory(source)) {
      find_in_folder(source, list);
    } else if (!fs::exists(source)) {
      fail("data.images: {}: no such folder or list", source.string());
    } else if (kind == ".tar") {
      find_in_tar(source, source.filename().string(), list);
      if (list.entries.size() == before) fail("data.images: {}: the tar file holds no image", source.string());
    } else if (kind == ".txt" || kind == ".jsonl") {
      kind == ".txt" ? find_in_text_list(source, list) : find_in_json_list(source, list);
      if (list.entries.size() == before) fail("data.images: {}: the list is empty", source.string());
    } else {
      fail("data.images: {}: expected a folder, a tar file (.tar), or a list (.txt or .jsonl)", source.string());
    }
  }
  return list;
}

bool is_held_out(uint64_t seed, const std::string& name, double fraction) {
  if (fraction <= 0) return false;
  const auto digest = io::sha256(std::to_string(seed) + "/" + name);
  uint64_t first = 0;
  for (size_t i = 0; i < 8; ++i) first = first << 8 | digest[i];
  return static_cast<double>(first) * 0x1p-64 < fraction;
}

std::shared_ptr<const image::Image> ImagePool::load(int64_t i, const std::string& task) const {
  const ImageEntry& e = entry(i);
  try {
    const fs::path file = images_.file_of(e);
    const bool tar = images_.sources[e.source].tar;
    auto picture = std::make_shared<const image::Image>(
        tar ? image::decode(io::read_part(file, e.offset, e.length), image::Orientation::kApply) : image::load(file));
    if (std::min(picture->width, picture->height) >= min_side_) return picture;
    skip(i, task,
         fmt::format("{}x{} pixels: a side is below data.min_side {}", picture->width, picture->height, min_side_));
  } catch (const Error& error) {
    skip(i, task, error.what());
  }
  return nullptr;
}

Material::Sequence ImagePool::sequence(int64_t i, const std::string& task) const {
  const auto own = numbered(name(i));
  if (!own) throw Unusable{"its name holds no frame number"};
  std::vector<std::pair<uint64_t, int64_t>> frames;  // number, image
  const auto belongs = [&](int64_t k) {
    return entry(k).source == entry(i).source && name(k).starts_with(own->before);
  };
  int64_t first = i, end = i + 1;  // names with one beginning stand together
  while (first > 0 && belongs(first - 1)) --first;
  while (end < size() && belongs(end)) ++end;
  for (int64_t k = first; k < end; ++k)
    if (const auto other = numbered(name(k)); other && other->before == own->before && other->after == own->after)
      frames.emplace_back(other->number, k);
  std::sort(frames.begin(), frames.end());
  const auto place =
      std::find_if(frames.begin(), frames.end(), [i](const auto& frame) { return frame.second == i; }) - frames.begin();
  const auto shared = std::make_shared<const std::vector<std::pair<uint64_t, int64_t>>>(std::move(frames));
  return {static_cast<int64_t>(shared->size()), place,
          [this, shared, task](int64_t n) { return load((*shared)[static_cast<size_t>(n)].second, task); },
          [this, shared](int64_t n) { return name((*shared)[static_cast<size_t>(n)].second); }};
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
  ImageList training = find_images(config.images), held_out{training.sources, {}};
  std::vector<ImageEntry> all = std::move(training.entries);
  training.entries.clear();
  for (ImageEntry& entry : all)
    (is_held_out(seed, entry.name, config.holdout_fraction) ? held_out : training).entries.push_back(std::move(entry));
  if (training.entries.empty())
    fail("data.holdout_fraction: {} leaves none of the {} images for training", config.holdout_fraction,
         held_out.entries.size());
  return {std::make_shared<const ImagePool>(std::move(training), config.min_side),
          std::make_shared<const ImagePool>(std::move(held_out), config.min_side)};
}

}  // namespace ssl4rl::tasks
