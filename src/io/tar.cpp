#include "ssl4rl/io/tar.h"

#include <algorithm>
#include <array>
#include <charconv>
#include <fstream>
#include <numeric>
#include <string_view>

#include "ssl4rl/base/error.h"

namespace ssl4rl::io {
namespace {

constexpr uint64_t kBlock = 512;

std::string_view field(std::string_view header, size_t begin, size_t size) {
  const std::string_view text = header.substr(begin, size);
  return text.substr(0, std::min(text.find('\0'), text.size()));
}

// Octal digits, or big-endian binary behind a byte of 0x80 (GNU, for sizes beyond 8 GiB).
uint64_t number(std::string_view header, size_t begin, size_t size) {
  const std::string_view raw = header.substr(begin, size);
  uint64_t value = 0;
  if (static_cast<uint8_t>(raw[0]) & 0x80) {
    for (const char c : raw.substr(1)) value = value << 8 | static_cast<uint8_t>(c);
    return value;
  }
  std::string_view digits = field(header, begin, size);
  digits.remove_prefix(std::min(digits.find_first_not_of(' '), digits.size()));
  (void)std::from_chars(digits.data(), digits.data() + digits.size(), value, 8);
  return value;
}

bool checksum_fits(std::string_view header) {
  uint64_t sum = 8 * ' ';
  for (size_t i = 0; i < kBlock; ++i)
    if (i < 148 || i >= 156) sum += static_cast<uint8_t>(header[i]);
  return sum == number(header, 148, 8);
}

// The value of a key in pax records: "LENGTH KEY=VALUE\n" each.
std::string pax_value(std::string_view records, std::string_view key) {
  std::string found;
  while (!records.empty()) {
    size_t length = 0;
    const auto [end, error] = std::from_chars(records.data(), records.data() + records.size(), length);
    const auto digits = static_cast<size_t>(end - records.data());
    if (error != std::errc() || length <= digits + 1 || length > records.size()) break;
    const std::string_view record = records.substr(digits + 1, length - digits - 2);
    if (record.size() > key.size() && record.starts_with(key) && record[key.size()] == '=')
      found = record.substr(key.size() + 1);
    records.remove_prefix(length);
  }
  return found;
}

}  // namespace

void for_each_tar_member(const std::filesystem::path& tar, const std::function<void(const TarMember&)>& visit) {
  std::ifstream in(tar, std::ios::binary);
  if (!in) fail("{}: cannot be read: {}", tar.string(), errno_text());
  const uint64_t length = std::filesystem::file_size(tar);
  std::array<char, kBlock> block{};
  std::string long_name;  // for the next member
  uint64_t long_size = 0;
  bool has_long_size = false;
  for (uint64_t at = 0; at + kBlock <= length;) {
    in.seekg(static_cast<std::streamoff>(at));
    if (!in.read(block.data(), kBlock)) fail("{}: cannot be read at byte {}: {}", tar.string(), at, errno_text());
    const std::string_view header(block.data(), kBlock);
    if (std::all_of(header.begin(), header.end(), [](char c) { return c == 0; })) return;  // the end
    if (!checksum_fits(header)) fail("{}: not a tar file, or damaged at byte {}", tar.string(), at);
    const char type = header[156];
    const uint64_t data = at + kBlock, size = has_long_size ? long_size : number(header, 124, 12);
    if (size > length - data)
      fail("{}: cut off: the member at byte {} has {} bytes, {} are there", tar.string(), at, size, length - data);
    at = data + (size + kBlock - 1) / kBlock * kBlock;
    if (type == 'L') {  // GNU: the next member's name
      long_name = read_part(tar, data, size);
      while (long_name.ends_with('\0')) long_name.pop_back();
    } else if (type == 'x') {
      const std::string records = read_part(tar, data, size);
      if (const std::string path = pax_value(records, "path"); !path.empty()) long_name = path;
      const std::string text = pax_value(records, "size");
      has_long_size =
          !text.empty() && std::from_chars(text.data(), text.data() + text.size(), long_size).ec == std::errc();
    } else {
      if (type == '0' || type == '\0' || type == '7') {
        const std::string_view prefix =
            header.substr(257, 5) == "ustar" && header[262] == '\0' ? field(header, 345, 155) : "";
        std::string name(field(header, 0, 100));
        if (!prefix.empty()) name = std::string(prefix) + "/" + name;
        visit({long_name.empty() ? std::move(name) : long_name, data, size});
      }
      long_name.clear();
      has_long_size = false;
    }
  }
}

std::string read_part(const std::filesystem::path& path, uint64_t offset, uint64_t size) {
  std::ifstream in(path, std::ios::binary);
  std::string bytes(size, '\0');
  if (!in || !in.seekg(static_cast<std::streamoff>(offset)) ||
      !in.read(bytes.data(), static_cast<std::streamsize>(size)))
    fail("{}: {} bytes cannot be read at byte {}", path.string(), size, offset);
  return bytes;
}

}  // namespace ssl4rl::io
