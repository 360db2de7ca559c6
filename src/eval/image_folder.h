// A folder of pictures per class as a multiple-choice benchmark: the class among three others, drawn by the picture's
// name.
#pragma once

#include "ssl4rl/eval/dataset.h"

namespace ssl4rl::eval {

/// `data` itself, or imagenet/ in it, holds a folder per class. Folders are named by the class ("goldfish",
/// "n01443537_goldfish"), or by a WordNet id that LOC_synset_mapping.txt beside them explains.
[[nodiscard]] Dataset load_image_folder(const Benchmark& benchmark, const std::filesystem::path& data);

}  // namespace ssl4rl::eval
