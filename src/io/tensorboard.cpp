#include "ssl4rl/io/tensorboard.h"

#include <unistd.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <chrono>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <string>

#include "ssl4rl/base/error.h"
#include "ssl4rl/io/file.h"

namespace ssl4rl::io {
namespace {

constexpr std::string_view kPrefix = "events.out.tfevents.";

// CRC-32C (Castagnoli, reflected 0x82F63B78), masked as TFRecord wants it.
uint32_t masked_crc(std::string_view bytes) {
  static const std::array<uint32_t, 256> table = [] {
    std::array<uint32_t, 256> t{};
    for (uint32_t i = 0; i < 256; ++i) {
      uint32_t c = i;
      for (int k = 0; k < 8; ++k) c = (c & 1) ? c >> 1 ^ 0x82F63B78u : c >> 1;
      t[i] = c;
    }
    return t;
  }();
  uint32_t crc = 0xFFFFFFFFu;
  for (const char byte : bytes) crc = table[(crc ^ static_cast<uint8_t>(byte)) & 0xFF] ^ crc >> 8;
  crc = ~crc;
  return (crc >> 15 | crc << 17) + 0xA282EAD8u;
}

template <typename T>
void put(std::string& out, T value) {
  char bytes[sizeof value];
  std::memcpy(bytes, &value, sizeof value);
  out.append(bytes, sizeof value);
}

// Protobuf's wire format: a field is a varint tag (number << 3 | type), then the value.
void varint(std::string& out, uint64_t value) {
  for (; value >= 0x80; value >>= 7) out += static_cast<char>(value | 0x80);
  out += static_cast<char>(value);
}
void field_varint(std::string& out, int number, uint64_t value) {
  varint(out, static_cast<uint64_t>(number) << 3);
  varint(out, value);
}
void field_bytes(std::string& out, int number, std::string_view bytes) {
  varint(out, static_cast<uint64_t>(number) << 3 | 2);
  varint(out, bytes.size());
  out += bytes;
}
void field_double(std::string& out, int number, double value) {
  varint(out, static_cast<uint64_t>(number) << 3 | 1);
  put(out, value);
}
void field_float(std::string& out, int number, float value) {
  varint(out, static_cast<uint64_t>(number) << 3 | 5);
  put(out, value);
}

double wall_time() {
  return std::chrono::duration<double>(std::chrono::system_clock::now().time_since_epoch()).count();
}

// TensorBoard reads a folder's files in the order of their names, which begin with a time: a resumed run's file must be
// the last one, though the clock was set back.
int64_t time_for_name(const std::filesystem::path& folder) {
  int64_t time = std::llround(wall_time());
  for (const auto& entry : std::filesystem::directory_iterator(folder)) {
    const std::string name = entry.path().filename().string();
    int64_t other = 0;
    if (!name.starts_with(kPrefix)) continue;
    std::from_chars(name.data() + kPrefix.size(), name.data() + name.size(), other);
    time = std::max(time, other + 1);
  }
  return time;
}

}  // namespace

struct EventWriter::State {
  explicit State(const std::filesystem::path& path) : file(path, OutputFile::Mode::kAppend) {}

  OutputFile file;
  std::string buffer;

  // Event {wall_time = 1, step = 2, …}
  std::string event(int64_t step) {
    std::string message;
    field_double(message, 1, wall_time());
    if (step != 0) field_varint(message, 2, static_cast<uint64_t>(step));
    return message;
  }
  void record(std::string_view message) {
    std::string length;
    put(length, static_cast<uint64_t>(message.size()));
    buffer += length;
    put(buffer, masked_crc(length));
    buffer += message;
    put(buffer, masked_crc(message));
  }
};

EventWriter::EventWriter(const std::filesystem::path& folder, int64_t first_step) {
  char host[256] = "host";
  gethostname(host, sizeof host - 1);
  const std::string name = fmt::format("{}{}.{}.{}", kPrefix, time_for_name(folder), host, getpid());
  state_ = std::make_unique<State>(folder / name);
  std::string version = state_->event(0);
  field_bytes(version, 3, "brain.Event:2");  // file_version
  state_->record(version);
  std::string restart = state_->event(first_step);
  std::string session;
  field_varint(session, 1, 1);  // SessionLog {status = START}
  field_bytes(restart, 7, session);
  state_->record(restart);
  flush();
}

EventWriter::~EventWriter() = default;

void EventWriter::scalar(std::string_view tag, int64_t step, double value) {
  std::string entry, summary, event = state_->event(step);
  field_bytes(entry, 1, tag);
  field_float(entry, 2, static_cast<float>(value));  // Value {tag = 1, simple_value = 2}
  field_bytes(summary, 1, entry);
  field_bytes(event, 5, summary);
  state_->record(event);
}

void EventWriter::flush() {
  state_->file.write(state_->buffer);
  state_->buffer.clear();
}

}  // namespace ssl4rl::io
