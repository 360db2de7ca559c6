#include "ssl4rl/image/resize.h"

#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

#include "ssl4rl/image/codec.h"
#include "ssl4rl/io/hash.h"
#include "ssl4rl/io/jsonl.h"
#include "support/data.h"

namespace ssl4rl::image {
namespace {

TEST(Resize, EqualsPillowBitForBit) {
  const std::map<std::string, Filter> filters{{"box", Filter::kBox},
                                              {"bilinear", Filter::kBilinear},
                                              {"bicubic", Filter::kBicubic},
                                              {"lanczos", Filter::kLanczos}};
  const auto cases = io::read_json(test_data() / "image_cases.json");
  for (const auto& item : cases["resize"]) {
    const Image image = load(test_data() / "images" / item["file"].get<std::string>(), Orientation::kIgnore);
    const Image out = resize(image, item["size"][0], item["size"][1], filters.at(item["filter"]));
    EXPECT_EQ(io::sha256_hex({reinterpret_cast<const char*>(out.pixels.data()), out.pixels.size()}),
              item["sha256"].get<std::string>())
        << item.dump();
  }
}

TEST(Resize, ToTheSameSizeChangesNothing) {
  const Image image = load(test_data() / "images/rgb.png");
  EXPECT_EQ(resize(image, image.width, image.height, Filter::kLanczos), image);
}

}  // namespace
}  // namespace ssl4rl::image
