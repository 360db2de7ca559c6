// Where images come from: folders, lists, tar shards; what is held out; numbered frames.
#include "ssl4rl/tasks/image_source.h"

#include <gtest/gtest.h>

#include <cstdlib>

#include "support/errors.h"
#include "support/images.h"
#include "support/temporary_folder.h"

namespace ssl4rl::tasks {
namespace {

// A tar file as WebDataset's writer makes it (POSIX ustar).
std::string tar_of(const std::vector<std::pair<std::string, std::string>>& members) {
  std::string tar;
  for (const auto& [name, content] : members) {
    std::string header(512, '\0');
    const auto put = [&](size_t at, const std::string& text) { header.replace(at, text.size(), text); };
    put(0, name);
    put(100, "0000644");
    put(124, fmt::format("{:011o}", content.size()));
    header[156] = '0';
    put(257, "ustar");
    put(263, "00");
    put(148, "        ");
    unsigned sum = 0;
    for (const char c : header) sum += static_cast<uint8_t>(c);
    put(148, fmt::format("{:06o}", sum));
    header[154] = '\0';
    tar += header + content;
    tar.resize((tar.size() + 511) / 512 * 512, '\0');
  }
  return tar + std::string(1024, '\0');
}

TEST(ImageSource, HeldOutImagesFollowTheDocumentedHash) {
  EXPECT_TRUE(is_held_out(0, "x", 1));
  EXPECT_FALSE(is_held_out(0, "x", 0));
  // SHA-256("7/a/b.jpg") begins with 212414ea2afad1d2: the image is held out from the fraction 0.129457 on.
  EXPECT_FALSE(is_held_out(7, "a/b.jpg", 0.129456));
  EXPECT_TRUE(is_held_out(7, "a/b.jpg", 0.129458));
  int held = 0;
  for (int i = 0; i < 5000; ++i) held += is_held_out(3, std::to_string(i), 0.1);
  EXPECT_NEAR(held, 500, 80);
}

TEST(ImageSource, MissingAndEmptySourcesAreNamed) {
  const TemporaryFolder folder;
  EXPECT_EQ(error_of([&] { (void)find_images({"/no/such"}); }), "data.images: /no/such: no such folder or list");
  EXPECT_EQ(error_of([&] { (void)find_images({folder.path()}); }),
            "data.images: " + folder.path().string() + ": the folder holds no image");
  EXPECT_EQ(error_of([&] { (void)find_images({}); }), "data.images: no folder or list of images is given");
}

TEST(ImageSource, FoldersAreSearchedAndListsAreRead) {
  const TemporaryFolder folder;
  draw_pictures(folder.path() / "b/deep", 2);
  draw_pictures(folder.path() / "b/a", 1);
  io::write_file(folder.path() / "b/readme.txt", "no image");
  io::write_file(folder.path() / "list.txt", "b/a/000.png\nb/deep/001.png\r\n\n");
  io::write_file(
      folder.path() / "list.jsonl",
      "{\"image\": \"b/deep/000.png\", \"label\": 3}\n{\"image\": \"b/deep/001.png\", \"label\": \"tench\"}\n");
  std::vector<std::string> names, labels;
  const ImageList list = find_images({folder.path() / "b", folder.path() / "list.txt", folder.path() / "list.jsonl"});
  for (const auto& entry : list.entries) {
    names.push_back(entry.name);
    labels.push_back(entry.label);
    EXPECT_TRUE(std::filesystem::exists(list.file_of(entry)));
  }
  EXPECT_EQ(names, (std::vector<std::string>{"a/000.png", "deep/000.png", "deep/001.png", "b/a/000.png",
                                             "b/deep/001.png", "b/deep/000.png", "b/deep/001.png"}));
  EXPECT_EQ(labels, (std::vector<std::string>{"", "", "", "", "", "3", "tench"}));
}

TEST(ImageSource, TarShardsAreReadInPlace) {
  const TemporaryFolder folder;
  draw_pictures(folder.path() / "plain", 3);
  const auto bytes = [&](int i) { return io::read_file(folder.path() / fmt::format("plain/{:03}.png", i)); };
  const std::string shard = tar_of({{"s/b.png", bytes(0)},
                                    {"s/b.cls", " 7\n"},
                                    {"s/b.json", "{}"},
                                    {"s/a.v1.png", bytes(1)},
                                    {"s/broken.jpg", "x"}});
  std::filesystem::create_directories(folder.path() / "data/sub");
  io::write_file(folder.path() / "data/sub/shard-0.tar", shard);
  io::write_file(folder.path() / "data/z.png", bytes(2));
  const ImageList list = find_images({folder.path() / "data"});
  std::vector<std::string> names;
  for (const auto& entry : list.entries) names.push_back(entry.name);
  EXPECT_EQ(names, (std::vector<std::string>{"sub/shard-0.tar/s/a.v1.png", "sub/shard-0.tar/s/b.png",
                                             "sub/shard-0.tar/s/broken.jpg", "z.png"}));
  EXPECT_EQ(list.entries[1].label, "7");
  EXPECT_EQ(list.entries[0].label, "");
  const ImagePool pool(list, 56);
  EXPECT_EQ(*pool.load(0, "rotation"), image::load(folder.path() / "plain/001.png"));
  EXPECT_EQ(*pool.load(1, "rotation"), image::load(folder.path() / "plain/000.png"));
  EXPECT_EQ(*pool.load(3, "rotation"), image::load(folder.path() / "plain/002.png"));
  EXPECT_EQ(pool.load(2, "rotation"), nullptr);
  EXPECT_EQ(pool.skipped().at("rotation").size(), 1u);
  EXPECT_EQ(find_images({folder.path() / "data/sub/shard-0.tar"}).entries[0].name, "shard-0.tar/s/b.png");
}

TEST(ImageSource, TarFilesOfTheSystemsTarAreRead) {
  const TemporaryFolder folder;
  draw_pictures(folder.path() / "plain", 2);
  const std::string long_name = std::string(130, 'x') + ".png";
  std::filesystem::rename(folder.path() / "plain/000.png", folder.path() / "plain" / long_name);
  for (const char* format : {"gnu", "pax", "ustar"}) {
    const auto tar = folder.path() / (std::string(format) + ".tar");
    const std::string members = std::string(format) == "ustar" ? "001.png" : ".";
    ASSERT_EQ(std::system(fmt::format("tar --format={} -C '{}' -cf '{}' {}", format, (folder.path() / "plain").string(),
                                      tar.string(), members)
                              .c_str()),
              0);
    const ImageList list = find_images({tar});
    ASSERT_EQ(list.entries.size(), members == "." ? 2u : 1u) << format;
    const ImagePool pool(list, 56);
    for (int64_t i = 0; i < pool.size(); ++i) {
      const std::string member = pool.name(i).substr(pool.name(i).rfind('/') + 1);
      ASSERT_TRUE(pool.load(i, "rotation")) << format;
      EXPECT_EQ(*pool.load(i, "rotation"), image::load(folder.path() / "plain" / member)) << format;
    }
  }
}

TEST(ImageSource, BrokenTarFilesAreNamed) {
  const TemporaryFolder folder;
  const std::string whole = tar_of({{"a.png", std::string(2000, 'x')}});
  io::write_file(folder.path() / "cut.tar", whole.substr(0, 1500));
  io::write_file(folder.path() / "other.tar", std::string(2048, 'x'));
  io::write_file(folder.path() / "none.tar", tar_of({{"a.txt", "text"}}));
  EXPECT_NE(error_of([&] {
              (void)find_images({folder.path() / "cut.tar"});
            }).find("cut.tar: cut off: the member at byte 0 has 2000 bytes, 988 are there"),
            std::string::npos);
  EXPECT_NE(error_of([&] {
              (void)find_images({folder.path() / "other.tar"});
            }).find("other.tar: not a tar file, or damaged at byte 0"),
            std::string::npos);
  EXPECT_NE(
      error_of([&] { (void)find_images({folder.path() / "none.tar"}); }).find("none.tar: the tar file holds no image"),
      std::string::npos);
}

TEST(ImageSource, FramesAreTheImagesThatDifferInTheirLastNumber) {
  const TemporaryFolder folder;
  draw_pictures(folder.path() / "plain", 1);
  const std::string bytes = io::read_file(folder.path() / "plain/000.png");
  std::filesystem::create_directories(folder.path() / "films/one");
  for (const char* name : {"one/take2_9.png", "one/take2_10.png", "one/take2_8.png", "one/take3_1.png", "one/cover.png",
                           "one/take2_10b.png"})
    io::write_file(folder.path() / "films" / name, bytes);
  const ImagePool pool(find_images({folder.path() / "films"}), 56);
  for (int64_t i = 0; i < pool.size(); ++i) {
    if (pool.name(i) == "one/cover.png") {
      EXPECT_THROW((void)pool.sequence(i, "frames"), Unusable);
    } else if (pool.name(i) == "one/take2_10.png") {
      const auto sequence = pool.sequence(i, "frames");
      EXPECT_EQ(sequence.count, 3);
      EXPECT_EQ(sequence.position, 2) << "9 stands before 10";
      EXPECT_EQ(sequence.name(0), "one/take2_8.png");
      EXPECT_TRUE(sequence.load(1));
    }
  }
}

}  // namespace
}  // namespace ssl4rl::tasks
