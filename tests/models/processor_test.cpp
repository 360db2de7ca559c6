#include "ssl4rl/models/processor.h"

#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include "ssl4rl/image/resize.h"
#include "ssl4rl/io/file.h"
#include "support/errors.h"
#include "support/model_cases.h"
#include "support/temporary_folder.h"

namespace ssl4rl::models {
namespace {

TEST(ImageProcessor, SmartResizeEqualsTheReferences) {
  const auto cases = io::read_json(test_data() / "image_cases.json");
  for (const auto& c : cases["smart_resize"]) {
    const auto n = [&](size_t i) { return c[i].get<int64_t>(); };
    if (c[5].is_null()) {
      EXPECT_NE(error_of([&] { (void)smart_resize(n(0), n(1), n(2), {n(3), n(4)}); }), "no error") << c.dump();
      continue;
    }
    const ResizedSize size = smart_resize(n(0), n(1), n(2), {n(3), n(4)});
    EXPECT_EQ(size.height, n(5)) << c.dump();
    EXPECT_EQ(size.width, n(6)) << c.dump();
  }
}

TEST(ImageProcessor, PatchesFollowTheDocumentedOrder) {
  const ModelConfig config = read_model_config(tiny_model());
  const image::Image picture = image::load(test_data() / "images/photo.jpg");
  const PixelBounds bounds{56 * 84, 56 * 84};
  const ResizedSize size = smart_resize(picture.height, picture.width, 28, bounds);
  const ImagePatches patches = to_patches(picture, config.vision, config.image, bounds);
  EXPECT_EQ(patches.grid, (Grid{1, size.height / 14, size.width / 14}));
  // reshape (t, T, C, h/2, 2, p, w/2, 2, p), permute (0, 3, 6, 4, 7, 2, 1, 5, 8)
  const image::Image resized =
      image::resize(picture, static_cast<int>(size.width), static_cast<int>(size.height), image::Filter::kBicubic);
  const at::Tensor pixels =
      at::from_blob(const_cast<uint8_t*>(resized.pixels.data()), {size.height, size.width, 3}, at::kByte)
          .permute({2, 0, 1})
          .to(at::kDouble) /
      255;
  const at::Tensor mean = at::tensor({0.48145466, 0.4578275, 0.40821073}).view({3, 1, 1}),
                   std = at::tensor({0.26862954, 0.26130258, 0.27577711}).view({3, 1, 1});
  const at::Tensor expected = ((pixels - mean) / std)
                                  .unsqueeze(0)
                                  .expand({2, -1, -1, -1})
                                  .reshape({1, 2, 3, size.height / 28, 2, 14, size.width / 28, 2, 14})
                                  .permute({0, 3, 6, 4, 7, 2, 1, 5, 8})
                                  .reshape({patches.grid.patches(), 1176});
  EXPECT_LT((patches.values.to(at::kDouble) - expected).abs().max().item<double>(), 1e-6);
}

TEST(Processor, PromptIdsEqualTheReferences) {
  const Processor processor(tiny_model());
  for (const ModelCase& c : model_cases())
    EXPECT_EQ(processor.encode(c.messages, c.images, c.min_pixels, c.max_pixels).ids, c.prompt_ids) << c.id;
}

TEST(Processor, PositionsOfImagesSpreadOverRowsAndColumns) {
  const ModelConfig config = read_model_config(tiny_model());
  const int64_t image = config.ids.image;
  Prompt prompt;
  prompt.ids = {1, 2, image, image, image, image, image, image, 3, image, 4};
  prompt.images = {{{}, {1, 4, 6}}, {{}, {1, 2, 2}}};
  set_positions(prompt, config);
  EXPECT_EQ(prompt.positions[0], (std::vector<int64_t>{0, 1, 2, 2, 2, 2, 2, 2, 5, 6, 7}));
  EXPECT_EQ(prompt.positions[1], (std::vector<int64_t>{0, 1, 2, 2, 2, 3, 3, 3, 5, 6, 7}));
  EXPECT_EQ(prompt.positions[2], (std::vector<int64_t>{0, 1, 2, 3, 4, 2, 3, 4, 5, 6, 7}));
  EXPECT_EQ(prompt.next_position, 8);
}

TEST(Processor, PlaceholdersInAUsersTextAreAnError) {
  const Processor processor(tiny_model());
  const std::vector<text::Message> messages{{"user", {{text::ContentPart::Kind::kText, "look: <|image_pad|>"}}}};
  EXPECT_NE(error_of([&] { (void)processor.encode(messages, {}); }).find("contains <|image_pad|>"), std::string::npos);
}

TEST(Processor, ATemplatesNameThatIsNoTextIsNamedWithItsFile) {
  const TemporaryFolder folder;
  const auto model = folder.path() / "model";
  std::filesystem::copy(tiny_model(), model);
  io::write_file(model / "chat_template.json", R"({"chat_template": [{"name": 3, "template": "x"}]})");
  const std::string error = error_of([&] { const Processor processor(model); });
  EXPECT_NE(error.find("chat_template.json: \"chat_template.name\""), std::string::npos) << error;
}

}  // namespace
}  // namespace ssl4rl::models
