// The public benchmarks: names, files, and the rules by which each is asked and scored. All of them are listed in one
// function.
#pragma once

#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace ssl4rl::eval {

/// How questions are put and answers become a table.
enum class Kind {
  kMultipleChoice,
  kMmvp,          ///< multiple choice; pairs count when both are right
  kCvBench,       ///< multiple choice; the prompt is a column, 2D is averaged over sources
  kMmeRealWorld,  ///< multiple choice with a reader of answers of its own
  kYesNo,         ///< plain accuracy
  kHallusionBench,
  kPope,
  kMme,
  kExactAnswer,  ///< the answer's text; no options
};

struct Benchmark {
  std::string name;     ///< what the user types, and the folder of the outputs: "mmbench"
  std::string dataset;  ///< the toolkit's name: "MMBench_DEV_EN"
  Kind kind = Kind::kMultipleChoice;
  bool circular = false;           ///< a question counts when it is right in every rotation of its options
  std::vector<std::string> md5;    ///< of the files that are known, newest first
  std::string file;                ///< in the data folder: "MMBench_DEV_EN.tsv"
  std::string image_folder;        ///< below images/ of the data folder, for files without pictures
  bool custom = false;             ///< a user's own file
  bool inference_only = false;     ///< the answers are secret: predictions are what comes out
  bool folder_of_classes = false;  ///< no TSV: a folder of pictures per class
};

/// All benchmarks that are known by name.
[[nodiscard]] const std::vector<Benchmark>& benchmarks();
/// By its name or the toolkit's, whatever the case; nullptr if there is none.
[[nodiscard]] const Benchmark* find_benchmark(std::string_view name);
/// A user's own file: the toolkit's rules where the stem is one of its names, else those that the name and the columns
/// suggest.
[[nodiscard]] Benchmark custom_benchmark(const std::string& stem, std::span<const std::string> columns,
                                         bool yes_no_answers);

[[nodiscard]] const char* kind_name(Kind kind);
/// Kinds whose answers are option letters found by the multiple-choice matcher.
[[nodiscard]] bool is_multiple_choice(Kind kind);
[[nodiscard]] bool is_yes_no(Kind kind);

}  // namespace ssl4rl::eval
