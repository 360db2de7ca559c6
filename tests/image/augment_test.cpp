#include "ssl4rl/image/augment.h"

#include <gtest/gtest.h>

#include <cmath>

#include "ssl4rl/image/codec.h"
#include "ssl4rl/image/scene.h"
#include "support/data.h"

namespace ssl4rl::image {
namespace {

Image grey_image(uint8_t level) {
  Image image(8, 8);
  std::fill(image.pixels.begin(), image.pixels.end(), level);
  return image;
}

TEST(Augment, NeutralFactorsChangeNothing) {
  const Image original = load(test_data() / "images/rgb.png");
  Image image = original;
  adjust_brightness(image, 1);
  adjust_contrast(image, 1);
  adjust_saturation(image, 1);
  shift_hue(image, 0);
  shift_hue(image, 1);
  EXPECT_EQ(image, original);
}

TEST(Augment, SingleChangesDoWhatTheirNamesSay) {
  Image image = grey_image(100);
  adjust_brightness(image, 0.5);
  EXPECT_EQ(image, grey_image(50));
  Image red(1, 1);
  red.pixels = {200, 0, 0};
  shift_hue(red, 1.0 / 3);
  EXPECT_EQ(red.pixels, (std::vector<uint8_t>{0, 200, 0}));
  to_grey(red);
  EXPECT_EQ(red.pixels, (std::vector<uint8_t>{117, 117, 117}));  // 0.587 · 200
  Image bright = grey_image(200);
  solarise(bright);
  EXPECT_EQ(bright, grey_image(55));
  Image dark = grey_image(127);
  solarise(dark);
  EXPECT_EQ(dark, grey_image(127));
}

TEST(Augment, EqualiseFlattensTheHistogram) {
  Image image(256, 4);
  for (size_t i = 0; i < image.pixels.size(); ++i) image.pixels[i] = static_cast<uint8_t>(100 + i / 3 % 256 / 8);
  equalise(image);
  EXPECT_EQ(*std::min_element(image.pixels.begin(), image.pixels.end()), 0);
  EXPECT_GE(*std::max_element(image.pixels.begin(), image.pixels.end()), 245);
}

TEST(Augment, CropBoxesLieInsideAndKeepTheirLaw) {
  Rng rng(1, Stream::kPuzzle);
  double area = 0;
  constexpr int kDraws = 2000;
  for (int i = 0; i < kDraws; ++i) {
    const Box box = random_resized_crop(200, 150, 0.08, 1, 3.0 / 4, 4.0 / 3, rng);
    ASSERT_TRUE(box.x >= 0 && box.y >= 0 && box.width > 0 && box.height > 0 && box.right() <= 200 &&
                box.bottom() <= 150);
    area += box.width * box.height / (200.0 * 150);
  }
  EXPECT_NEAR(area / kDraws, 0.4327, 0.015);  // the mean of 20,000 draws of torchvision's get_params
  const Box fallback = random_resized_crop(1000, 10, 0.9, 1, 3.0 / 4, 4.0 / 3, rng);
  EXPECT_EQ(fallback.width, 13);
  EXPECT_EQ(fallback.height, 10);
}

TEST(Scene, EqualSeedsDrawEqualPicturesAndOthersDiffer) {
  Rng a(3, Stream::kScene, {5}), b(3, Stream::kScene, {5}), c(3, Stream::kScene, {6});
  const Image first = draw_scene(56, a);
  EXPECT_EQ(first, draw_scene(56, b));
  EXPECT_GT(mean_difference(first, draw_scene(56, c)), 3);
}

}  // namespace
}  // namespace ssl4rl::image
