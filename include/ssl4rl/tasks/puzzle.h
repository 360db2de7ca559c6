// A puzzle: images, a question, and an answer that a program can verify.
#pragma once

#include <cstdint>
#include <memory>
#include <nlohmann/json_fwd.hpp>
#include <optional>
#include <string>
#include <vector>

#include "ssl4rl/image/image.h"
#include "ssl4rl/text/chat.h"

namespace ssl4rl::tasks {

/// paper: the reference's settings, its known shortcuts included. hardened: no known shortcut.
enum class Preset { kPaper, kHardened };
[[nodiscard]] const char* preset_name(Preset preset);

struct Puzzle {
  int64_t index = 0;    ///< counted from 0 over the whole run
  int64_t attempt = 0;  ///< > 0: drawn anew in place of the one before
  std::string id;       ///< "rotation/000003"
  std::string task;
  Preset preset = Preset::kHardened;
  size_t entry = 0;                   ///< which entry of the configured `tasks`
  std::optional<int64_t> level = {};  ///< its difficulty, where one was set
  std::string source;                 ///< the image's path relative to its folder
  std::string label;                  ///< of the image, as its list gives it; "" if it gives none
  std::vector<image::Image> images;
  std::string question;  ///< the user's text, format instruction included
  std::string answer;
  std::shared_ptr<const nlohmann::ordered_json> meta;  ///< the ground truth in full
  uint64_t seed = 0;                                   ///< the run's
};

/// One user turn: the images, then the question. The image parts name "images/ID_K.png".
[[nodiscard]] std::vector<text::Message> messages_of(const Puzzle& puzzle);
/// "images/000003_0.png" for image k.
[[nodiscard]] std::string image_name(const Puzzle& puzzle, size_t k);
/// A line of puzzles.jsonl.
[[nodiscard]] nlohmann::ordered_json to_json(const Puzzle& puzzle);

}  // namespace ssl4rl::tasks
