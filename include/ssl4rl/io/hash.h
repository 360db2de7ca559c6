// Digests (by OpenSSL's libcrypto) and base64.
#pragma once

#include <array>
#include <cstdint>
#include <filesystem>
#include <memory>
#include <string>
#include <string_view>

namespace ssl4rl::io {

class Sha256 {
 public:
  Sha256();
  ~Sha256();
  void update(std::string_view bytes);
  [[nodiscard]] std::array<uint8_t, 32> digest();

 private:
  struct State;
  std::unique_ptr<State> state_;
};

[[nodiscard]] std::array<uint8_t, 32> sha256(std::string_view bytes);
/// Lower-case hexadecimal.
[[nodiscard]] std::string sha256_hex(std::string_view bytes);
[[nodiscard]] std::string sha256_hex_of_file(const std::filesystem::path& path);
/// For files that others identify by their MD5.
[[nodiscard]] std::string md5_hex(std::string_view bytes);
[[nodiscard]] std::string hex(const std::array<uint8_t, 32>& digest);

/// Decodes base64 (line breaks allowed). Throws Error on anything else.
[[nodiscard]] std::string base64_decode(std::string_view text);
[[nodiscard]] std::string base64_encode(std::string_view bytes);

}  // namespace ssl4rl::io
