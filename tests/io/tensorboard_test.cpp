#include "ssl4rl/io/tensorboard.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cstring>

#include "ssl4rl/io/file.h"
#include "support/temporary_folder.h"

namespace ssl4rl::io {
namespace {

// Splits TFRecords: u64 length, u32 masked crc of it, the message, u32 masked crc of the message.
std::vector<std::string> records(const std::string& bytes) {
  std::vector<std::string> messages;
  for (size_t at = 0; at < bytes.size();) {
    uint64_t length;
    std::memcpy(&length, bytes.data() + at, 8);
    messages.push_back(bytes.substr(at + 12, length));
    at += 12 + length + 4;
  }
  return messages;
}

TEST(TensorBoard, WritesAVersionARestartAndScalars) {
  const TemporaryFolder folder;
  {
    EventWriter writer(folder.path(), 11);
    writer.scalar("reward", 12, 0.5);
    writer.flush();
  }
  const auto file = *std::filesystem::directory_iterator(folder.path());
  EXPECT_TRUE(file.path().filename().string().starts_with("events.out.tfevents."));
  const std::string bytes = read_file(file.path());
  const auto messages = records(bytes);
  ASSERT_EQ(messages.size(), 3u);
  EXPECT_EQ(messages[0].substr(9),
            "\x1a\x0d"
            "brain.Event:2");
  EXPECT_EQ(messages[1].substr(9), "\x10\x0b\x3a\x02\x08\x01");
  EXPECT_EQ(messages[2].substr(9), std::string("\x10\x0c\x2a\x0f\x0a\x0d\x0a\x06reward\x15\x00\x00\x00\x3f", 19));
  // The version record's length is 24; its masked CRC-32C, computed by TensorFlow, is fixed.
  EXPECT_EQ(bytes.substr(0, 12), std::string("\x18\0\0\0\0\0\0\0\xa3\x7f\x4b\x22", 12));
}

TEST(TensorBoard, ANewFileIsTheLastByNameThoughTheClockWasSetBack) {
  const TemporaryFolder folder;
  write_file(folder.path() / "events.out.tfevents.9000000000.host.1", "");
  { const EventWriter writer(folder.path(), 1); }
  { const EventWriter writer(folder.path(), 2); }
  std::vector<std::string> names;
  for (const auto& entry : std::filesystem::directory_iterator(folder.path()))
    names.push_back(entry.path().filename().string());
  std::sort(names.begin(), names.end());
  ASSERT_EQ(names.size(), 3u);
  EXPECT_TRUE(names[1].starts_with("events.out.tfevents.9000000001.")) << names[1];
  EXPECT_TRUE(names[2].starts_with("events.out.tfevents.9000000002.")) << names[2];
}

}  // namespace
}  // namespace ssl4rl::io
