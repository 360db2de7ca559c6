#include "image_folder.h"

#include <algorithm>
#include <map>
#include <sstream>

#include "ssl4rl/base/error.h"
#include "ssl4rl/base/rng.h"
#include "ssl4rl/image/codec.h"
#include "ssl4rl/io/file.h"
#include "ssl4rl/io/hash.h"

namespace ssl4rl::eval {
namespace fs = std::filesystem;
namespace {

constexpr size_t kOptions = 4;

bool is_wordnet_id(std::string_view text) {
  return text.size() == 9 && text[0] == 'n' &&
         std::all_of(text.begin() + 1, text.end(), [](char c) { return c >= '0' && c <= '9'; });
}

// "n01443537 goldfish, Carassius auratus": the first name counts.
std::map<std::string, std::string> read_mapping(const fs::path& file) {
  std::map<std::string, std::string> names;
  if (!fs::exists(file)) return names;
  std::istringstream lines(io::read_file(file));
  for (std::string line; std::getline(lines, line);) {
    const size_t space = line.find(' ');
    if (space == std::string::npos) continue;
    const std::string rest = line.substr(space + 1);
    names[line.substr(0, space)] = rest.substr(0, rest.find_first_of(",\r"));
  }
  return names;
}

std::string class_name(const std::string& folder, const std::map<std::string, std::string>& mapping,
                       const fs::path& root) {
  const bool with_id = is_wordnet_id(folder.substr(0, 9));
  if (const auto found = mapping.find(with_id ? folder.substr(0, 9) : folder); found != mapping.end())
    return found->second;
  if (with_id && folder.size() == 9)
    fail("{}: the class {} has no name: put ImageNet's LOC_synset_mapping.txt beside the folders", root.string(),
         folder);
  std::string name =
      with_id ? folder.substr(folder[9] == '_' || folder[9] == '-' || folder[9] == ' ' ? 10 : 9) : folder;
  std::replace(name.begin(), name.end(), '_', ' ');
  return name;
}

}  // namespace

Dataset load_image_folder(const Benchmark& benchmark, const fs::path& data) {
  const fs::path root = fs::is_directory(data / "imagenet") ? data / "imagenet" : data;
  if (!fs::is_directory(root))
    fail("--bench {}: expected a folder with one folder of pictures per class at {}", benchmark.name, root.string());
  const auto mapping = read_mapping(root / "LOC_synset_mapping.txt");
  std::map<std::string, std::vector<fs::path>> classes;
  for (const auto& folder : fs::directory_iterator(root)) {
    if (!folder.is_directory()) continue;
    std::vector<fs::path> pictures;
    for (const auto& entry : fs::recursive_directory_iterator(folder.path()))
      if (entry.is_regular_file() && image::is_image_name(entry.path())) pictures.push_back(entry.path());
    if (pictures.empty()) continue;
    std::sort(pictures.begin(), pictures.end());
    auto& of_class = classes[class_name(folder.path().filename().string(), mapping, root)];
    of_class.insert(of_class.end(), pictures.begin(), pictures.end());
  }
  if (classes.size() < kOptions)
    fail("{}: expected at least {} folders of pictures, one per class, found {}", root.string(), kOptions,
         classes.size());

  std::vector<std::string> names;
  for (const auto& [name, pictures] : classes) names.push_back(name);
  Dataset dataset{.benchmark = benchmark, .file = root, .integer_index = true};
  for (const char* column : {"index", "question", "A", "B", "C", "D", "answer", "category", "image_path"})
    dataset.table.columns.push_back({column, io::Column::Type::kText, {}});
  const auto put = [&dataset](const char* column, std::string text) {
    dataset.table.find(column)->cells.emplace_back(std::move(text));
  };
  for (size_t c = 0; c < names.size(); ++c)
    for (const fs::path& picture : classes[names[c]]) {
      const std::string relative = picture.lexically_relative(root).generic_string();
      const auto digest = io::sha256(relative);
      uint64_t key = 0;
      for (size_t i = 0; i < 8; ++i) key = key << 8 | digest[i];
      Rng rng(0, Stream::kBenchmark, {key});
      std::vector<size_t> options{c};
      while (options.size() < kOptions) {
        const auto other = static_cast<size_t>(rng.below(names.size()));
        if (std::find(options.begin(), options.end(), other) == options.end()) options.push_back(other);
      }
      const auto right = static_cast<size_t>(rng.below(kOptions));
      std::swap(options[0], options[right]);
      const size_t row = dataset.rows();
      dataset.index.push_back(std::to_string(row));
      dataset.table.lines.push_back(static_cast<int64_t>(row) + 1);
      put("index", std::to_string(row));
      put("question", "What does the picture show?");
      for (size_t i = 0; i < kOptions; ++i) put(std::string(1, static_cast<char>('A' + i)).c_str(), names[options[i]]);
      put("answer", std::string(1, static_cast<char>('A' + right)));
      put("category", names[c]);
      put("image_path", relative);
      dataset.row_pictures.push_back({dataset.pictures.size()});
      dataset.pictures.push_back({.owner = relative, .base64 = {}, .path = picture});
    }
  dataset.table.find("index")->type = io::Column::Type::kInteger;
  return dataset;
}

}  // namespace ssl4rl::eval
