// A folder of drawn pictures, some of them odd.
#pragma once

#include <fmt/format.h>

#include <filesystem>

#include "ssl4rl/image/codec.h"
#include "ssl4rl/image/resize.h"
#include "ssl4rl/image/scene.h"
#include "ssl4rl/io/file.h"

namespace ssl4rl {

/// Writes `count` pictures of different sizes as FOLDER/NNN.png.
inline void draw_pictures(const std::filesystem::path& folder, int count, int side = 120) {
  std::filesystem::create_directories(folder);
  for (int i = 0; i < count; ++i) {
    Rng rng(7, Stream::kScene, {static_cast<uint64_t>(i)});
    const image::Image scene = image::draw_scene(side, rng);
    const image::Image picture = image::resize(scene, side + 7 * (i % 5), side + 11 * (i % 3), image::Filter::kBicubic);
    io::write_file(folder / fmt::format("{:03}.png", i), image::encode_png(picture));
  }
}

}  // namespace ssl4rl
