#include "ssl4rl/io/hash.h"

#include <fcntl.h>
#include <openssl/evp.h>
#include <unistd.h>

#include <vector>

#include "ssl4rl/base/error.h"

namespace ssl4rl::io {

struct Sha256::State {
  EVP_MD_CTX* context = EVP_MD_CTX_new();
  ~State() { EVP_MD_CTX_free(context); }
};

Sha256::Sha256() : state_(std::make_unique<State>()) {
  SSL4RL_CHECK(EVP_DigestInit_ex(state_->context, EVP_sha256(), nullptr) == 1, "SHA-256 is not available");
}

Sha256::~Sha256() = default;

void Sha256::update(std::string_view bytes) {
  SSL4RL_CHECK(EVP_DigestUpdate(state_->context, bytes.data(), bytes.size()) == 1, "SHA-256 failed");
}

std::array<uint8_t, 32> Sha256::digest() {
  std::array<uint8_t, 32> result;
  SSL4RL_CHECK(EVP_DigestFinal_ex(state_->context, result.data(), nullptr) == 1, "SHA-256 failed");
  return result;
}

std::array<uint8_t, 32> sha256(std::string_view bytes) {
  Sha256 hash;
  hash.update(bytes);
  return hash.digest();
}

std::string hex(const std::array<uint8_t, 32>& digest) {
  std::string text;
  for (const uint8_t byte : digest) text += fmt::format("{:02x}", byte);
  return text;
}

std::string sha256_hex(std::string_view bytes) { return hex(sha256(bytes)); }

std::string sha256_hex_of_file(const std::filesystem::path& path) {
  const int descriptor = open(path.c_str(), O_RDONLY | O_CLOEXEC);
  if (descriptor < 0) fail("{}: cannot be read: {}", path.string(), errno_text());
  Sha256 hash;
  std::vector<char> buffer(1 << 20);
  ssize_t got;
  while ((got = read(descriptor, buffer.data(), buffer.size())) > 0)
    hash.update({buffer.data(), static_cast<size_t>(got)});
  const std::string reason = got < 0 ? errno_text() : "";
  close(descriptor);
  if (got < 0) fail("{}: cannot be read: {}", path.string(), reason);
  return hex(hash.digest());
}

std::string md5_hex(std::string_view bytes) {
  unsigned char digest[EVP_MAX_MD_SIZE];
  unsigned int size = 0;
  SSL4RL_CHECK(EVP_Digest(bytes.data(), bytes.size(), digest, &size, EVP_md5(), nullptr) == 1, "MD5 is not available");
  std::string text;
  for (unsigned int i = 0; i < size; ++i) text += fmt::format("{:02x}", digest[i]);
  return text;
}

std::string base64_decode(std::string_view text) {
  std::string bytes(text.size() / 4 * 3 + 3, '\0');
  const std::unique_ptr<EVP_ENCODE_CTX, decltype(&EVP_ENCODE_CTX_free)> context(EVP_ENCODE_CTX_new(),
                                                                                EVP_ENCODE_CTX_free);
  EVP_DecodeInit(context.get());
  auto* const out = reinterpret_cast<unsigned char*>(bytes.data());
  int written = 0, tail = 0;
  const int status = EVP_DecodeUpdate(context.get(), out, &written, reinterpret_cast<const unsigned char*>(text.data()),
                                      static_cast<int>(text.size()));
  if (status < 0 || EVP_DecodeFinal(context.get(), out + written, &tail) != 1) fail("not valid base64");
  bytes.resize(static_cast<size_t>(written + tail));
  return bytes;
}

std::string base64_encode(std::string_view bytes) {
  std::string text((bytes.size() + 2) / 3 * 4 + 1, '\0');
  const int length =
      EVP_EncodeBlock(reinterpret_cast<unsigned char*>(text.data()),
                      reinterpret_cast<const unsigned char*>(bytes.data()), static_cast<int>(bytes.size()));
  text.resize(static_cast<size_t>(length));
  return text;
}

}  // namespace ssl4rl::io
