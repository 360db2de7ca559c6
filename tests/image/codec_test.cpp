#include "ssl4rl/image/codec.h"

#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

#include "ssl4rl/io/file.h"
#include "ssl4rl/io/hash.h"
#include "ssl4rl/io/jsonl.h"
#include "support/data.h"
#include "support/errors.h"

namespace ssl4rl::image {
namespace {

std::string digest(const Image& image) {
  return io::sha256_hex({reinterpret_cast<const char*>(image.pixels.data()), image.pixels.size()});
}

void expect_pillows_pixels(const std::filesystem::path& folder, const nlohmann::ordered_json& cases) {
  for (const auto& item : cases) {
    const auto name = item["file"].get<std::string>();
    for (const auto& [key, orientation] :
         {std::pair{"plain", Orientation::kIgnore}, {"upright", Orientation::kApply}}) {
      const Image image = load(folder / name, orientation);
      EXPECT_EQ(image.width, item[key][0].get<int>()) << name << " " << key;
      EXPECT_EQ(image.height, item[key][1].get<int>()) << name << " " << key;
      EXPECT_EQ(digest(image), item[key][2].get<std::string>()) << name << " " << key;
    }
  }
}

TEST(Codec, DecodesToPillowsPixels) {
  expect_pillows_pixels(test_data() / "images", io::read_json(test_data() / "image_cases.json")["decode"]);
}

TEST(Codec, DecodesEveryFormatToPillowsPixels) {
  expect_pillows_pixels(test_data() / "formats", io::read_json(test_data() / "formats.json")["cases"]);
}

TEST(Codec, BrokenImagesAreErrors) {
  const std::string jpeg = io::read_file(test_data() / "images/photo.jpg"),
                    png = io::read_file(test_data() / "images/rgb.png");
  const auto complaint = [](const std::string& bytes) {
    return error_of([&] { (void)decode(bytes, Orientation::kApply); });
  };
  EXPECT_EQ(complaint(jpeg), "no error");
  EXPECT_EQ(complaint(jpeg + "trailing bytes"), "no error");
  EXPECT_EQ(complaint(""), "cannot be decoded: the file is empty");
  EXPECT_EQ(complaint("hello"), "cannot be decoded: not an image, or damaged");
  for (const double part : {0.3, 0.7, 0.99})
    EXPECT_EQ(complaint(jpeg.substr(0, static_cast<size_t>(part * static_cast<double>(jpeg.size())))),
              "cannot be decoded: the JPEG data is cut off");
  EXPECT_EQ(complaint(png.substr(0, png.size() / 2)), "cannot be decoded: the PNG data is cut off");
  EXPECT_EQ(error_of([] { (void)load("/no/such.png"); }), "/no/such.png: cannot be read: No such file or directory");
}

TEST(Codec, PngKeepsEveryPixelAndHasNoTextChunk) {
  const Image image = load(test_data() / "images/rgb.png");
  const std::string png = encode_png(image);
  EXPECT_EQ(decode(png, Orientation::kApply), image);
  for (const char* chunk : {"tEXt", "zTXt", "iTXt", "tIME"}) EXPECT_EQ(png.find(chunk), std::string::npos);
}

TEST(Codec, KnowsImageNames) {
  EXPECT_TRUE(is_image_name("a/b.JPG"));
  EXPECT_TRUE(is_image_name("b.webp"));
  EXPECT_FALSE(is_image_name("b.txt"));
  EXPECT_FALSE(is_image_name("jpg"));
}

}  // namespace
}  // namespace ssl4rl::image
