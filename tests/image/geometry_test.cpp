#include "ssl4rl/image/geometry.h"

#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

#include "ssl4rl/image/augment.h"
#include "ssl4rl/image/codec.h"
#include "ssl4rl/io/hash.h"
#include "ssl4rl/io/jsonl.h"
#include "support/data.h"

namespace ssl4rl::image {
namespace {

// Pixels are numbered, so that each can be followed.
Image numbered(int width, int height) {
  Image image(width, height);
  for (int i = 0; i < width * height; ++i)
    for (int c = 0; c < 3; ++c) image.pixels[static_cast<size_t>(i * 3 + c)] = static_cast<uint8_t>(i * 3 + c);
  return image;
}

std::vector<int> numbers(const Image& image) {
  std::vector<int> result;
  for (size_t i = 0; i < image.pixels.size(); i += 3) result.push_back(image.pixels[i] / 3);
  return result;
}

TEST(Geometry, TurnsCounterClockwise) {
  const Image image = numbered(3, 2);  // 0 1 2 / 3 4 5
  EXPECT_EQ(numbers(rotate_quarters(image, 1)), (std::vector<int>{2, 5, 1, 4, 0, 3}));
  EXPECT_EQ(numbers(rotate_quarters(image, 2)), (std::vector<int>{5, 4, 3, 2, 1, 0}));
  EXPECT_EQ(numbers(rotate_quarters(image, 3)), (std::vector<int>{3, 0, 4, 1, 5, 2}));
  EXPECT_EQ(rotate_quarters(image, -1), rotate_quarters(image, 3));
  EXPECT_EQ(rotate_quarters(image, 4), image);
}

TEST(Geometry, MirrorsAndCrops) {
  const Image image = numbered(3, 2);
  EXPECT_EQ(numbers(mirror_horizontally(image)), (std::vector<int>{2, 1, 0, 5, 4, 3}));
  EXPECT_EQ(numbers(mirror_vertically(image)), (std::vector<int>{3, 4, 5, 0, 1, 2}));
  EXPECT_EQ(numbers(crop(image, {1, 0, 2, 2})), (std::vector<int>{1, 2, 4, 5}));
  EXPECT_EQ(centre_square(image), (Box{0, 0, 2, 2}));
  EXPECT_EQ(centre_square(numbered(2, 5)), (Box{0, 1, 2, 2}));
}

TEST(Geometry, TheInscribedRectangleIsTheReferencesToThePixel) {
  const auto sides = [](int w, int h, int degrees) {
    const Size s = largest_inscribed_rectangle(w, h, degrees);
    return std::pair(s.width, s.height);
  };
  // Values of SSL4RL's rotatedRectWithMaxArea in Python.
  EXPECT_EQ(sides(640, 480, 0), std::pair(640, 480));
  EXPECT_EQ(sides(640, 480, 90), std::pair(479, 640));
  EXPECT_EQ(sides(640, 480, 180), std::pair(639, 479));
  EXPECT_EQ(sides(640, 480, 270), std::pair(479, 639));
  EXPECT_EQ(sides(640, 480, 45), std::pair(339, 339));
  EXPECT_EQ(sides(101, 300, 30), std::pair(58, 101));
}

TEST(Geometry, RotateExpandEqualsPillowBitForBit) {
  const auto cases = io::read_json(test_data() / "image_cases.json");
  for (const auto& item : cases["rotate"]) {
    const Image turned = rotate_expand(
        load(test_data() / "images" / item["file"].get<std::string>(), Orientation::kIgnore), item["degrees"]);
    EXPECT_EQ(turned.width, item["size"][0].get<int>()) << item.dump();
    EXPECT_EQ(turned.height, item["size"][1].get<int>()) << item.dump();
    EXPECT_EQ(io::sha256_hex({reinterpret_cast<const char*>(turned.pixels.data()), turned.pixels.size()}),
              item["sha256"].get<std::string>())
        << item.dump();
  }
}

TEST(Geometry, AWarpTurnsLikeQuarterTurnsDo) {
  const Image image = load(test_data() / "images/rgb.png");
  const Box square = centre_square(image);
  const Image upright = crop(image, square);
  const double centre = square.width / 2.0;
  for (int turns = 0; turns < 4; ++turns)
    EXPECT_LE(mean_difference(
                  warp(upright, Affine::turn(90.0 * turns, centre, centre, centre, centre), square.width, square.width),
                  rotate_quarters(upright, turns)),
              0.2)
        << turns;
}

}  // namespace
}  // namespace ssl4rl::image
