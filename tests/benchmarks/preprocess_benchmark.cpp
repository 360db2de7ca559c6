// Speed of image preprocessing on one thread: reading files; resizing, normalising and cutting into patches.
//
//     preprocess_benchmark MODEL FOLDER
//
// scripts/preprocess_speed.py runs this beside transformers' Pillow-based processor and compares the patches.
#include <algorithm>
#include <chrono>
#include <cstdio>
#include <filesystem>
#include <vector>

#include "ssl4rl/base/error.h"
#include "ssl4rl/image/codec.h"
#include "ssl4rl/io/hash.h"
#include "ssl4rl/models/image_processor.h"

namespace {

using namespace ssl4rl;

template <typename Work>
double best_of_three(Work work) {
  double best = 1e30;
  for (int repeat = 0; repeat < 3; ++repeat) {
    const auto begun = std::chrono::steady_clock::now();
    work();
    best = std::min(best, std::chrono::duration<double>(std::chrono::steady_clock::now() - begun).count());
  }
  return best;
}

void measure(const std::filesystem::path& model, const std::filesystem::path& folder) {
  std::vector<std::filesystem::path> files;
  for (const auto& entry : std::filesystem::directory_iterator(folder))
    if (image::is_image_name(entry.path())) files.push_back(entry.path());
  std::sort(files.begin(), files.end());
  if (files.empty()) fail("{}: no images", folder.string());
  const models::ModelConfig config = models::read_model_config(model);
  const models::PixelBounds bounds{config.image.min_pixels, config.image.max_pixels};

  std::vector<image::Image> images;
  const double decode = best_of_three([&] {
    images.clear();
    for (const auto& file : files) images.push_back(image::load(file));
  });
  io::Sha256 hash;
  int64_t patches = 0;
  for (const image::Image& picture : images) {
    const models::ImagePatches made = models::to_patches(picture, config.vision, config.image, bounds);
    hash.update({static_cast<const char*>(made.values.const_data_ptr()), made.values.nbytes()});
    patches += made.grid.patches();
  }
  const double process = best_of_three([&] {
    for (const image::Image& picture : images) (void)models::to_patches(picture, config.vision, config.image, bounds);
  });
  const auto count = static_cast<double>(files.size());
  std::printf(
      "{\"images\": %zu, \"patches\": %ld, \"sha256\": \"%s\", \"decode_per_s\": %.1f, \"process_per_s\": %.1f}\n",
      files.size(), static_cast<long>(patches), io::hex(hash.digest()).c_str(), count / decode, count / process);
}

}  // namespace

int main(int argc, char** argv) {
  if (argc != 3) {
    std::fprintf(stderr, "usage: preprocess_benchmark MODEL FOLDER\n");
    return 2;
  }
  try {
    measure(argv[1], argv[2]);
  } catch (const Error& e) {
    std::fprintf(stderr, "preprocess_benchmark: %s\n", e.what());
    return 2;
  }
}
