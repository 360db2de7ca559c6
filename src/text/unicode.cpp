#include "ssl4rl/text/unicode.h"

#include <unicode/locid.h>
#include <unicode/normalizer2.h>
#include <unicode/uchar.h>
#include <unicode/unistr.h>
#include <unicode/utf8.h>

#include <algorithm>

#include "ssl4rl/base/error.h"

namespace ssl4rl::text {
namespace {

// str.isspace(): the White_Space property and the four ASCII separators.
bool is_space(char32_t c) { return u_isUWhiteSpace(static_cast<UChar32>(c)) || (c >= 0x1C && c <= 0x1F); }

bool is_ascii(std::string_view text) {
  unsigned char all = 0;  // without a branch, so that the compiler can take many bytes at once
  for (const char c : text) all |= static_cast<unsigned char>(c);
  return all < 0x80;
}

const icu::Normalizer2& nfc_normalizer() {
  UErrorCode status = U_ZERO_ERROR;
  const icu::Normalizer2* const normalizer = icu::Normalizer2::getNFCInstance(status);
  SSL4RL_CHECK(U_SUCCESS(status), "ICU has no NFC: {}", u_errorName(status));
  return *normalizer;
}

}  // namespace

std::string nfc(std::string_view text) {
  if (is_ascii(text)) return std::string(text);
  UErrorCode status = U_ZERO_ERROR;
  std::string result;
  icu::StringByteSink<std::string> sink(&result);
  nfc_normalizer().normalizeUTF8(0, icu::StringPiece(text.data(), static_cast<int32_t>(text.size())), sink, nullptr,
                                 status);
  SSL4RL_CHECK(U_SUCCESS(status), "NFC failed: {}", u_errorName(status));
  return result;
}

bool is_nfc(std::string_view text) {
  if (is_ascii(text)) return true;
  UErrorCode status = U_ZERO_ERROR;
  const bool normal =
      nfc_normalizer().isNormalizedUTF8(icu::StringPiece(text.data(), static_cast<int32_t>(text.size())), status);
  return U_SUCCESS(status) && normal;
}

char32_t next_code_point(std::string_view text, size_t& at) {
  const auto* const bytes = reinterpret_cast<const uint8_t*>(text.data());
  UChar32 c;
  U8_NEXT_OR_FFFD(bytes, at, text.size(), c);
  return static_cast<char32_t>(c);
}

std::string_view strip(std::string_view text) {
  size_t begin = 0;
  for (size_t at = 0; at < text.size(); begin = at)
    if (!is_space(next_code_point(text, at))) break;
  text.remove_prefix(begin);
  while (!text.empty()) {
    size_t last = text.size() - 1;
    while (last > 0 && text.size() - last < 4 && (static_cast<uint8_t>(text[last]) & 0xC0) == 0x80) --last;
    size_t at = last;
    if (!is_space(next_code_point(text, at)) || at != text.size()) break;
    text.remove_suffix(text.size() - last);
  }
  return text;
}

std::vector<std::string_view> split_space(std::string_view text) {
  std::vector<std::string_view> parts;
  size_t begin = 0;
  for (size_t at = 0; at < text.size();) {
    const size_t here = at;
    if (!is_space(next_code_point(text, at))) continue;
    if (here > begin) parts.push_back(text.substr(begin, here - begin));
    begin = at;
  }
  if (begin < text.size()) parts.push_back(text.substr(begin));
  return parts;
}

std::string lower(std::string_view text) {
  if (is_ascii(text)) return ascii_lower(text);
  std::string result;
  return icu::UnicodeString::fromUTF8({text.data(), static_cast<int32_t>(text.size())})
      .toLower(icu::Locale::getRoot())
      .toUTF8String(result);
}

std::string upper(std::string_view text) {
  std::string result;
  return icu::UnicodeString::fromUTF8({text.data(), static_cast<int32_t>(text.size())})
      .toUpper(icu::Locale::getRoot())
      .toUTF8String(result);
}

size_t length(std::string_view text) {
  return static_cast<size_t>(
      std::count_if(text.begin(), text.end(), [](char c) { return (static_cast<uint8_t>(c) & 0xC0) != 0x80; }));
}

std::string to_valid_utf8(std::string_view bytes) {
  if (is_ascii(bytes)) return std::string(bytes);
  std::string result;
  result.reserve(bytes.size());
  const auto* const data = reinterpret_cast<const uint8_t*>(bytes.data());
  for (size_t at = 0; at < bytes.size();) {
    const size_t begin = at;
    UChar32 c;
    U8_NEXT(data, at, bytes.size(), c);  // on an error, `at` is behind the maximal ill-formed sequence
    if (c >= 0) {
      result.append(bytes.substr(begin, at - begin));
    } else {
      result += "\xEF\xBF\xBD";
    }
  }
  return result;
}

bool is_valid_utf8(std::string_view bytes) {
  if (is_ascii(bytes)) return true;
  const auto* const data = reinterpret_cast<const uint8_t*>(bytes.data());
  for (size_t at = 0; at < bytes.size();) {
    UChar32 c;
    U8_NEXT(data, at, bytes.size(), c);
    if (c < 0) return false;
  }
  return true;
}

size_t complete_prefix(std::string_view bytes) {
  for (size_t back = 1; back <= std::min<size_t>(3, bytes.size()); ++back) {
    const auto byte = static_cast<uint8_t>(bytes[bytes.size() - back]);
    if ((byte & 0xC0) == 0x80) continue;  // inside a character
    const size_t length = byte >= 0xF0 ? 4 : byte >= 0xE0 ? 3 : byte >= 0xC0 ? 2 : 1;
    return length > back ? bytes.size() - back : bytes.size();
  }
  return bytes.size();
}

std::string ascii_lower(std::string_view text) {
  std::string result(text);
  for (char& c : result)
    if (c >= 'A' && c <= 'Z') c = static_cast<char>(c - 'A' + 'a');
  return result;
}

}  // namespace ssl4rl::text
