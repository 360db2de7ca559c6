// A benchmark's questions, read as the toolkit's ImageBaseDataset reads them: rows without a picture are dropped, a
// short image cell names the row whose picture it is, a cell that is a Python list holds several pictures.
#pragma once

#include <filesystem>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "ssl4rl/base/log.h"
#include "ssl4rl/eval/benchmark.h"
#include "ssl4rl/image/image.h"
#include "ssl4rl/io/tsv.h"

namespace ssl4rl::eval {

/// A picture as it stands in the file: base64, or a path.
struct Picture {
  std::string owner;   ///< for errors: "row 17 (line 20)"
  std::string base64;  ///< empty: a file
  std::filesystem::path path;
  bool saved_as_jpeg = false;  ///< the toolkit writes it to a name that ends in .jpg before a model sees it
  bool in_list = false;        ///< one of several of a row

  /// The encoded bytes. Throws Error naming the owner.
  [[nodiscard]] std::string bytes() const;
  /// The picture that the model is shown. jpeg_roundtrip: single pictures go through JPEG of quality 75, as in the
  /// toolkit before February 2026. Throws Error naming the owner.
  [[nodiscard]] image::Image decode(bool jpeg_roundtrip) const;
  [[nodiscard]] bool is_lossy(bool jpeg_roundtrip) const {
    return saved_as_jpeg || (jpeg_roundtrip && !in_list && path.empty());
  }
};

struct Dataset {
  Benchmark benchmark;
  std::filesystem::path file;
  std::string md5;  ///< empty for a folder of classes
  bool md5_known = false;
  io::Table table;                                ///< the rows that are asked, without `image`
  std::vector<std::string> index;                 ///< of each row, unique
  std::vector<std::string> index_left_out;        ///< of rows behind the limit
  bool integer_index = false;                     ///< every index is a whole number
  std::vector<std::vector<size_t>> row_pictures;  ///< of each row, in order
  std::vector<Picture> pictures;

  [[nodiscard]] size_t rows() const { return index.size(); }
  /// The cell of a column, or nothing where there is no such column.
  [[nodiscard]] const io::Cell& cell(std::string_view column, size_t row) const;
  /// "FILE:LINE (index 17)", for errors.
  [[nodiscard]] std::string place(size_t row) const;
  /// Whether there are answers to score against.
  [[nodiscard]] bool has_answers() const;
  /// Keeps the first `count` rows.
  void limit_to(size_t count);
};

/// Where the toolkit keeps its files: `given`, else $LMUData, else ~/LMUData.
[[nodiscard]] std::filesystem::path data_folder(const std::optional<std::filesystem::path>& given);

/// What a --bench argument names. A name of the list is looked for in `data`; anything that ends in .tsv is a file.
/// keep_none: options whose text is "None", "NA" or the like are options (the toolkit loses them: its issue 1559).
[[nodiscard]] Dataset load_dataset(const std::string& bench, const std::filesystem::path& data, bool keep_none,
                                   const Log& log);
/// Whether load_dataset knows what to do with it.
[[nodiscard]] bool is_dataset_name(const std::string& bench);

/// The elements of a Python list literal of texts or numbers, as str() prints them; nothing where it is none.
[[nodiscard]] std::optional<std::vector<std::string>> parse_python_list(std::string_view text);

}  // namespace ssl4rl::eval
