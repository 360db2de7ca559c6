#include "ssl4rl/eval/predictions.h"

#include <algorithm>
#include <cmath>
#include <set>
#include <unordered_map>

#include "ssl4rl/base/error.h"
#include "ssl4rl/io/jsonl.h"
#include "ssl4rl/text/unicode.h"

namespace ssl4rl::eval {
namespace fs = std::filesystem;
namespace {

using Json = nlohmann::ordered_json;

constexpr const char* kName = "predictions.jsonl";
constexpr const char* kShardStart = "predictions.shard-";

std::string first_line(const Json& fingerprint) { return io::to_line({{"fingerprint", fingerprint}}) + "\n"; }

// predictions.jsonl and all shards' files that are there.
std::vector<fs::path> files_in(const fs::path& folder) {
  std::vector<fs::path> files;
  for (const auto& entry : fs::directory_iterator(folder)) {
    const std::string name = entry.path().filename().string();
    if (name == kName || (name.starts_with(kShardStart) && name.ends_with(".jsonl"))) files.push_back(entry.path());
  }
  std::sort(files.begin(), files.end());
  return files;
}

struct Contents {
  bool same = false;  ///< the fingerprint is ours
  size_t whole = 0;   ///< bytes of complete lines
  std::map<std::string, Json> lines;
};

Contents read_contents(const fs::path& file, const Json& fingerprint) {
  Contents contents;
  const std::string text = io::read_file(file);
  for (size_t begin = 0; begin < text.size();) {
    const size_t end = text.find('\n', begin);
    if (end == std::string::npos) break;
    const Json line = Json::parse(text.substr(begin, end - begin), nullptr, /*allow_exceptions=*/false);
    if (begin == 0) {
      contents.same = line.is_object() && line.contains("fingerprint") && line["fingerprint"] == fingerprint;
      if (!contents.same) return contents;
    } else if (line.is_object() && line.contains("index")) {
      contents.lines[index_text(line["index"])] = line;
    }
    begin = end + 1;
    contents.whole = begin;
  }
  return contents;
}

// Gives a file another model's run left a name of its own: predictions.old-1.jsonl.
void move_aside(const fs::path& file, const Log& log) {
  fs::path aside;
  for (int n = 1; aside.empty() || fs::exists(aside); ++n)
    aside = file.parent_path() / fmt::format("{}.old-{}.jsonl", file.stem().string(), n);
  fs::rename(file, aside);
  log.warn("{}: belongs to another model or other settings; it is {} now, and a new one is begun", file.string(),
           aside.filename().string());
}

void read_jsonl(const fs::path& file,
                const std::function<void(const std::string& index, io::Cell prediction, int64_t line)>& take) {
  io::for_each_json_line(file, [&](Json&& line, int64_t number) {
    if (line.contains("fingerprint") && !line.contains("index")) return;
    if (!line.contains("index") || !line.contains("prediction")) fail("expected \"index\" and \"prediction\"");
    const Json& prediction = line["prediction"];
    io::Cell cell;
    if (prediction.is_string()) {
      cell = prediction.get<std::string>();
    } else if (!prediction.is_null()) {
      cell = prediction.dump();
    }
    take(index_text(line["index"]), std::move(cell), number);
  });
}

void read_tsv(const fs::path& file,
              const std::function<void(const std::string& index, io::Cell prediction, int64_t line)>& take) {
  const io::Table table = io::read_tsv(file);
  const io::Column *index = table.find("index"), *prediction = table.find("prediction");
  if (!index || !prediction) fail("{}: expected the columns \"index\" and \"prediction\"", file.string());
  for (size_t row = 0; row < table.rows(); ++row) {
    if (!index->cells[row]) fail("{}:{}: the index is missing", file.string(), table.lines[row]);
    take(*index->cells[row], prediction->cells[row], table.lines[row]);
  }
}

}  // namespace

std::string index_text(const Json& index) {
  if (index.is_string()) return index.get<std::string>();
  if (index.is_number_float() && index.get<double>() == std::floor(index.get<double>()))
    return fmt::format("{:.0f}", index.get<double>());
  return index.dump();
}

PredictionFile::PredictionFile(const fs::path& folder, Json fingerprint, std::optional<Shard> shard, const Log& log)
    : folder_(folder), fingerprint_(std::move(fingerprint)), log_(log) {
  io::make_folder(folder);
  file_ = folder / (shard ? fmt::format("{}{}-of-{}.jsonl", kShardStart, shard->index, shard->count) : kName);
  const auto lock = [this] { lock_ = std::make_unique<io::FileLock>(file_, file_.string()); };
  lock();
  if (fs::file_size(file_) > 0) {
    const Contents own = read_contents(file_, fingerprint_);
    if (own.same) {
      fs::resize_file(file_, own.whole);
    } else {
      move_aside(file_, log);
      lock();
    }
  }
  out_ = std::make_unique<io::OutputFile>(file_, io::OutputFile::Mode::kAppend);
  if (fs::file_size(file_) == 0) out_->write(first_line(fingerprint_));
  read_all();
}

void PredictionFile::read_all() {
  for (const fs::path& file : files_in(folder_)) {
    Contents contents = read_contents(file, fingerprint_);
    lines_.merge(contents.lines);
  }
}

void PredictionFile::append(const Json& line) {
  out_->write(io::to_line(line) + "\n");
  lines_[index_text(line["index"])] = line;
}

void PredictionFile::sync() { out_->sync(); }

bool PredictionFile::complete(const std::vector<std::string>& order) {
  const bool alone = file_.filename() == kName;
  std::unique_ptr<io::FileLock> merging;
  if (!alone) {
    merging = std::make_unique<io::FileLock>(folder_ / kName, (folder_ / kName).string(), io::FileLock::IfBusy::kWait);
    if (!fs::exists(file_)) return false;  // another shard has put all together
  }
  read_all();
  if (!std::all_of(order.begin(), order.end(), [this](const std::string& index) { return lines_.contains(index); }))
    return false;
  const std::vector<fs::path> files = files_in(folder_);
  if (files.size() == 1 && alone) return true;
  std::string text = first_line(fingerprint_);
  std::set<std::string> written;
  const auto put = [&](const std::string& index) {
    if (written.insert(index).second) text += io::to_line(lines_.at(index)) + "\n";
  };
  for (const std::string& index : order) put(index);
  for (const auto& [index, line] : lines_) put(index);
  io::write_file(folder_ / kName, text);
  for (const fs::path& file : files)
    if (file.filename() != kName && read_contents(file, fingerprint_).same) fs::remove(file);
  return true;
}

void replace_predictions(const fs::path& folder, const Json& fingerprint, const std::string& lines, const Log& log) {
  const fs::path file = folder / kName;
  if (fs::exists(file)) {
    const io::FileLock lock(file, file.string());
    const std::string text = io::read_file(file);
    const Json first = Json::parse(text.substr(0, text.find('\n')), nullptr, /*allow_exceptions=*/false);
    if (first.is_object() && first.contains("fingerprint") && first["fingerprint"].contains("model"))
      move_aside(file, log);
  }
  io::write_file(file, first_line(fingerprint) + lines);
}

std::vector<io::Cell> read_predictions(const fs::path& file, const Dataset& dataset) {
  std::unordered_map<std::string, size_t> row_of;
  for (size_t row = 0; row < dataset.rows(); ++row) row_of[dataset.index[row]] = row;
  const std::set<std::string> left_out(dataset.index_left_out.begin(), dataset.index_left_out.end());
  std::vector<io::Cell> predictions(dataset.rows());
  std::vector<int64_t> line_of(dataset.rows(), 0);
  const auto take = [&](const std::string& index, io::Cell prediction, int64_t line) {
    const auto found = row_of.find(index);
    if (found == row_of.end() && left_out.contains(index)) return;
    if (found == row_of.end())
      fail("{}:{}: the index {} is not in {}", file.string(), line, index, dataset.file.string());
    int64_t& first = line_of[found->second];
    if (first != 0) fail("{}:{}: the index {} stands in line {} already", file.string(), line, index, first);
    first = line;
    predictions[found->second] = std::move(prediction);
  };
  const std::string extension = text::ascii_lower(file.extension().string());
  if (extension == ".tsv") {
    read_tsv(file, take);
  } else if (extension == ".jsonl") {
    // for_each_json_line puts the place before a message; ours has it already.
    std::vector<std::tuple<std::string, io::Cell, int64_t>> lines;
    read_jsonl(file, [&](const std::string& index, io::Cell prediction, int64_t line) {
      lines.emplace_back(index, std::move(prediction), line);
    });
    for (auto& [index, prediction, line] : lines) take(index, std::move(prediction), line);
  } else {
    fail("{}: expected a .jsonl or .tsv file of predictions", file.string());
  }
  std::vector<std::string> missing;
  for (size_t row = 0; row < dataset.rows(); ++row)
    if (line_of[row] == 0) missing.push_back(dataset.index[row]);
  if (!missing.empty())
    fail("{}: there is no prediction for the index {} of {}{}", file.string(), missing.front(), dataset.file.string(),
         missing.size() > 1 ? fmt::format(" (and {} more)", missing.size() - 1) : "");
  return predictions;
}

}  // namespace ssl4rl::eval
