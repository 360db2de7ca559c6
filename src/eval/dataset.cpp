#include "ssl4rl/eval/dataset.h"

#include <algorithm>
#include <array>
#include <cstdlib>
#include <map>
#include <unordered_map>

#include "image_folder.h"
#include "ssl4rl/base/config.h"
#include "ssl4rl/base/error.h"
#include "ssl4rl/image/codec.h"
#include "ssl4rl/io/file.h"
#include "ssl4rl/io/hash.h"
#include "ssl4rl/text/unicode.h"

namespace ssl4rl::eval {
namespace fs = std::filesystem;
namespace {

constexpr size_t kLongestReference = 64;  // characters; a longer image cell is a picture

bool is_jpeg_name(const std::string& name) {
  const std::string extension = text::ascii_lower(fs::path(name).extension().string());
  return extension == ".jpg" || extension == ".jpeg" || extension == ".jpe" || extension == ".jfif";
}

bool is_list(std::string_view cell) { return cell.size() >= 2 && cell.front() == '[' && cell.back() == ']'; }

bool is_whole_number(std::string_view text) {
  if (text.starts_with('-') || text.starts_with('+')) text.remove_prefix(1);
  const bool digits =
      !text.empty() && std::all_of(text.begin(), text.end(), [](char c) { return c >= '0' && c <= '9'; });
  return digits && (text.size() == 1 || text[0] != '0') && text.size() < 18;
}

// Where an error lies.
std::string place_of(const fs::path& file, const io::Table& table, size_t row) {
  const io::Column* const index = table.find("index");
  return fmt::format("{}:{} (index {})", file.string(), table.lines[row],
                     index && index->cells[row] ? *index->cells[row] : "missing");
}

void keep_rows(io::Table& table, const std::vector<size_t>& rows) {
  std::vector<int64_t> lines;
  for (const size_t row : rows) lines.push_back(table.lines[row]);
  table.lines = std::move(lines);
  for (io::Column& column : table.columns) {
    std::vector<io::Cell> cells;
    for (const size_t row : rows) cells.push_back(std::move(column.cells[row]));
    column.cells = std::move(cells);
  }
}

void require_columns(const io::Table& table, const fs::path& file, const Benchmark& benchmark) {
  std::vector<std::string> needed{"index", "question"};
  switch (benchmark.kind) {
    case Kind::kMultipleChoice:
    case Kind::kMmvp:
      needed.insert(needed.end(), {"A", "B"});
      break;
    case Kind::kCvBench:
      needed.insert(needed.end(), {"prompt", "A", "B"});
      break;
    case Kind::kMmeRealWorld:
      needed.insert(needed.end(), {"multi-choice options", "category", "l2-category"});
      break;
    case Kind::kHallusionBench:
      needed.insert(needed.end(), {"l2-category"});
      break;
    case Kind::kPope:
      needed.insert(needed.end(), {"category"});
      break;
    case Kind::kMme:
      needed.insert(needed.end(), {"category", "image_path"});
      break;
    case Kind::kYesNo:
    case Kind::kExactAnswer:
      break;
  }
  std::vector<std::string> missing;
  for (const std::string& name : needed)
    if (!table.find(name)) missing.push_back("\"" + name + "\"");
  if (!table.find("image") && !table.find("image_path")) missing.emplace_back("\"image\" (or \"image_path\")");
  if (missing.empty()) return;
  std::vector<std::string> found;
  for (const io::Column& column : table.columns) found.push_back(column.name);
  fail("{}: {} needs the columns {}; found {}", file.string(), benchmark.dataset, fmt::join(missing, ", "),
       fmt::join(found, ", "));
}

std::vector<std::string> read_index(const io::Table& table, const fs::path& file) {
  std::vector<std::string> index;
  std::unordered_map<std::string, size_t> seen;
  const io::Column& column = *table.find("index");
  for (size_t row = 0; row < table.rows(); ++row) {
    if (!column.cells[row]) fail("{}:{}: the index is missing", file.string(), table.lines[row]);
    const auto [first, is_new] = seen.emplace(*column.cells[row], row);
    if (!is_new)
      fail("{}:{}: the index {} stands in line {} already", file.string(), table.lines[row], *column.cells[row],
           table.lines[first->second]);
    index.push_back(*column.cells[row]);
  }
  return index;
}

// Names of a row's pictures in the toolkit's image folder; they decide whether a picture is saved as JPEG.
std::vector<std::string> picture_names(const io::Table& table, size_t row) {
  const io::Column* const paths = table.find("image_path");
  if (!paths || !paths->cells[row]) return {};
  const std::string& cell = *paths->cells[row];
  if (is_list(cell))
    if (auto items = parse_python_list(cell)) return *items;
  return {cell};
}

// Takes the pictures out of the image column.
void take_embedded_pictures(Dataset& dataset) {
  io::Table& table = dataset.table;
  const auto column =
      std::find_if(table.columns.begin(), table.columns.end(), [](const io::Column& c) { return c.name == "image"; });
  std::vector<io::Cell> cells = std::move(column->cells);
  table.columns.erase(column);
  std::unordered_map<std::string_view, size_t> row_of;
  for (size_t row = 0; row < dataset.rows(); ++row) row_of[dataset.index[row]] = row;
  std::vector<size_t> owner(dataset.rows());  // the row that holds the picture
  for (size_t row = 0; row < dataset.rows(); ++row) {
    owner[row] = row;
    if (cells[row]->size() > kLongestReference) continue;
    const auto found = row_of.find(*cells[row]);
    if (found == row_of.end())
      fail("{}: the image cell \"{}\" names no row of the file", dataset.place(row), *cells[row]);
    if (cells[found->second]->size() <= kLongestReference)
      fail("{}: the image cell names row {}, which holds no picture itself", dataset.place(row), *cells[row]);
    owner[row] = found->second;
  }
  std::map<std::pair<size_t, std::vector<bool>>, std::vector<size_t>> taken;  // by owner and by how the row saves it
  std::vector<std::vector<std::string>> items(dataset.rows());
  for (size_t row = 0; row < dataset.rows(); ++row) {
    if (owner[row] != row) continue;
    if (!is_list(*cells[row])) {
      items[row] = {std::move(*cells[row])};
      continue;
    }
    auto list = parse_python_list(*cells[row]);
    if (!list || list->empty()) fail("{}: the image cell is no list of pictures", dataset.place(row));
    items[row] = std::move(*list);
  }
  dataset.row_pictures.resize(dataset.rows());
  for (size_t row = 0; row < dataset.rows(); ++row) {
    const auto& pictures = items[owner[row]];
    const std::vector<std::string> names = picture_names(table, row);
    std::vector<bool> as_jpeg(pictures.size());
    for (size_t i = 0; i < pictures.size(); ++i) as_jpeg[i] = names.size() == pictures.size() && is_jpeg_name(names[i]);
    auto [place, is_new] = taken.try_emplace({owner[row], as_jpeg});
    for (size_t i = 0; is_new && i < pictures.size(); ++i) {
      place->second.push_back(dataset.pictures.size());
      dataset.pictures.push_back({.owner = dataset.place(owner[row]),
                                  .base64 = pictures[i],
                                  .path = {},
                                  .saved_as_jpeg = as_jpeg[i],
                                  .in_list = pictures.size() > 1});
    }
    dataset.row_pictures[row] = place->second;
  }
}

// Pictures that lie in files.
void find_picture_files(Dataset& dataset, const fs::path& data) {
  std::map<fs::path, size_t> known;
  for (size_t row = 0; row < dataset.rows(); ++row) {
    const std::vector<std::string> names = picture_names(dataset.table, row);
    if (names.empty()) fail("{}: image_path is missing, and there is no image column", dataset.place(row));
    auto& of_row = dataset.row_pictures.emplace_back();
    for (const std::string& name : names) {
      if (*fs::path(name).lexically_normal().begin() == "..")
        fail("{}: image_path: {}: expected a path below the folder of images, or an absolute one", dataset.place(row),
             name);
      const fs::path in_images = data / "images" / dataset.benchmark.image_folder / name,
                     beside = dataset.file.parent_path() / name;
      const fs::path path = fs::path(name).is_absolute()                   ? fs::path(name)
                            : fs::exists(in_images) || !fs::exists(beside) ? in_images
                                                                           : beside;
      if (!fs::is_regular_file(path)) fail("{}: image_path: {}: no such file", dataset.place(row), path.string());
      const auto [found, is_new] = known.emplace(path, dataset.pictures.size());
      if (is_new)
        dataset.pictures.push_back({.owner = dataset.place(row),
                                    .base64 = {},
                                    .path = path,
                                    .saved_as_jpeg = false,
                                    .in_list = names.size() > 1});
      of_row.push_back(found->second);
    }
  }
}

// MME-RealWorld-Lite keeps its options in one list: "(A) text" each.
void spread_options(Dataset& dataset) {
  constexpr size_t kPrefix = 4;  // "(A) "
  io::Table& table = dataset.table;
  for (const char* name : {"A", "B", "C", "D", "E"})
    if (!table.find(name))
      table.columns.push_back({name, io::Column::Type::kText, std::vector<io::Cell>(dataset.rows())});
  for (size_t row = 0; row < dataset.rows(); ++row) {
    io::Cell& cell = table.find("multi-choice options")->cells[row];
    const auto options = parse_python_list(cell.value_or(""));
    if (!options || options->empty())
      fail("{}: multi-choice options: expected a list like [\"(A) …\", \"(B) …\"]", dataset.place(row));
    if (options->size() > 5)
      fail("{}: multi-choice options: expected at most 5, found {}", dataset.place(row), options->size());
    for (size_t i = 0; i < options->size(); ++i) {
      size_t at = 0;
      for (size_t skipped = 0; skipped < kPrefix && at < (*options)[i].size(); ++skipped)
        (void)text::next_code_point((*options)[i], at);
      table.find(std::string(1, static_cast<char>('A' + i)))->cells[row] = (*options)[i].substr(at);
    }
    cell = fmt::format("The choices are listed below:\n{}", fmt::join(*options, "\n"));
  }
}

bool answers_are_yes_or_no(const io::Table& table) {
  const io::Column* const answers = table.find("answer");
  if (!answers || table.rows() == 0) return false;
  return std::all_of(answers->cells.begin(), answers->cells.end(), [](const io::Cell& cell) {
    const std::string lower = cell ? text::ascii_lower(*cell) : "";
    return lower == "yes" || lower == "no";
  });
}

void check_utf8(const io::Table& table, const fs::path& file) {
  for (const io::Column& column : table.columns) {
    if (column.name == "image") continue;
    for (size_t row = 0; row < table.rows(); ++row)
      if (column.cells[row] && text::to_valid_utf8(*column.cells[row]) != *column.cells[row])
        fail("{}: the column \"{}\" is not valid UTF-8", place_of(file, table, row), column.name);
  }
}

void check_md5(Dataset& dataset, const Log& log) {
  const auto& known = dataset.benchmark.md5;
  dataset.md5_known = std::find(known.begin(), known.end(), dataset.md5) != known.end();
  if (!known.empty() && !dataset.md5_known)
    log.warn("{}: its MD5 is {}, the published file of {} has {}: the numbers are not those of the published benchmark",
             dataset.file.string(), dataset.md5, dataset.benchmark.dataset, known.front());
}

Dataset load_tsv(const std::optional<Benchmark>& benchmark, const fs::path& file, const fs::path& data, bool keep_none,
                 const Log& log) {
  Dataset dataset{.file = file};
  {
    const std::string text = io::read_file(file);
    dataset.md5 = io::md5_hex(text);
    std::vector<std::string> letters;
    for (char letter = 'A'; keep_none && letter <= 'Z'; ++letter) letters.emplace_back(1, letter);
    dataset.table = io::parse_tsv(text, file.string(), letters);
  }
  io::Table& table = dataset.table;
  if (benchmark) {
    dataset.benchmark = *benchmark;
  } else {
    std::vector<std::string> columns;
    for (const io::Column& column : table.columns) columns.push_back(column.name);
    dataset.benchmark = custom_benchmark(file.stem().string(), columns, answers_are_yes_or_no(table));
  }
  require_columns(table, file, dataset.benchmark);
  check_utf8(table, file);
  check_md5(dataset, log);
  const bool embedded = table.find("image") != nullptr;
  if (embedded) {
    std::vector<size_t> kept;
    for (size_t row = 0; row < table.rows(); ++row)
      if (table.find("image")->cells[row]) kept.push_back(row);
    if (kept.size() < table.rows()) {
      log.info("{}: {} of {} rows have no picture and are left out, as in the toolkit", file.string(),
               table.rows() - kept.size(), table.rows());
      keep_rows(table, kept);
    }
  }
  if (table.rows() == 0) fail("{}: there is no question in it", file.string());
  dataset.index = read_index(table, file);
  dataset.integer_index = std::all_of(dataset.index.begin(), dataset.index.end(), is_whole_number);
  if (dataset.benchmark.circular && !dataset.integer_index) {
    const auto bad = std::find_if_not(dataset.index.begin(), dataset.index.end(), is_whole_number);
    fail("{}: the index of a circular benchmark must be a whole number",
         dataset.place(static_cast<size_t>(bad - dataset.index.begin())));
  }
  if (embedded) {
    take_embedded_pictures(dataset);
  } else {
    find_picture_files(dataset, data);
  }
  if (dataset.benchmark.kind == Kind::kMmeRealWorld) spread_options(dataset);
  return dataset;
}

}  // namespace

std::string Picture::bytes() const {
  try {
    return path.empty() ? io::base64_decode(base64) : io::read_file(path);
  } catch (const Error& e) {
    if (!path.empty()) throw;
    fail("{}: the picture is {}", owner, e.what());
  }
}

image::Image Picture::decode(bool jpeg_roundtrip) const {
  constexpr int kPillowQuality = 75;
  const std::string encoded = bytes();
  try {
    image::Image picture = image::decode(encoded, image::Orientation::kIgnore);
    return is_lossy(jpeg_roundtrip)
               ? image::decode(image::encode_jpeg(picture, kPillowQuality), image::Orientation::kIgnore)
               : picture;
  } catch (const Error& e) {
    fail("{}: the picture {}{}", owner, path.empty() ? "" : path.string() + " ", e.what());
  }
}

const io::Cell& Dataset::cell(std::string_view column, size_t row) const {
  static const io::Cell nothing;
  const io::Column* const found = table.find(column);
  return found ? found->cells[row] : nothing;
}

std::string Dataset::place(size_t row) const { return place_of(file, table, row); }

bool Dataset::has_answers() const {
  const io::Column* const answers = table.find("answer");
  return answers && std::any_of(answers->cells.begin(), answers->cells.end(),
                                [](const io::Cell& cell) { return cell.has_value(); });
}

void Dataset::limit_to(size_t count) {
  if (count >= rows()) return;
  std::vector<size_t> kept(count);
  for (size_t row = 0; row < count; ++row) kept[row] = row;
  keep_rows(table, kept);
  index_left_out.assign(index.begin() + static_cast<ptrdiff_t>(count), index.end());
  index.resize(count);
  row_pictures.resize(count);
}

fs::path data_folder(const std::optional<fs::path>& given) {
  if (given) return fs::absolute(*given);
  if (const char* const lmu = std::getenv("LMUData"); lmu && *lmu) return lmu;
  const char* const home = std::getenv("HOME");
  return fs::path(home ? home : ".") / "LMUData";
}

bool is_dataset_name(const std::string& bench) {
  return find_benchmark(bench) || text::ascii_lower(bench).ends_with(".tsv");
}

Dataset load_dataset(const std::string& bench, const fs::path& data, bool keep_none, const Log& log) {
  const Benchmark* const known = find_benchmark(bench);
  if (!known) {
    if (!fs::is_regular_file(bench)) fail("--bench {}: no such file", bench);
    return load_tsv({}, fs::absolute(bench).lexically_normal(), data, keep_none, log);
  }
  if (known->folder_of_classes) return load_image_folder(*known, data);
  const fs::path file = data / known->file;
  if (!fs::is_regular_file(file))
    fail("--bench {}: expected {} (MD5 {}); get VLMEvalKit's {} and put it there, or name its folder with --data",
         bench, file.string(), known->md5.front(), known->file);
  return load_tsv(*known, file, data, keep_none, log);
}

}  // namespace ssl4rl::eval
