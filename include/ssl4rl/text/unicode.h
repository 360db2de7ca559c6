// The few Unicode operations that the program needs, by ICU. Texts are UTF-8.
#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace ssl4rl::text {

/// Canonical composition (NFC).
[[nodiscard]] std::string nfc(std::string_view text);
[[nodiscard]] bool is_nfc(std::string_view text);

/// Removes white space at both ends, as Python's str.strip() does.
[[nodiscard]] std::string_view strip(std::string_view text);

/// The parts between white space, as Python's str.split() gives them.
[[nodiscard]] std::vector<std::string_view> split_space(std::string_view text);

/// Full case mappings, as Python's str.lower() and str.upper().
[[nodiscard]] std::string lower(std::string_view text);
[[nodiscard]] std::string upper(std::string_view text);

/// Code points of a text: Python's len().
[[nodiscard]] size_t length(std::string_view text);

/// Replaces every maximal ill-formed sequence by U+FFFD, as Rust's String::from_utf8_lossy does.
[[nodiscard]] std::string to_valid_utf8(std::string_view bytes);
[[nodiscard]] bool is_valid_utf8(std::string_view bytes);

/// The length of the longest prefix that ends at a character's end: what of a growing text may be shown already.
[[nodiscard]] size_t complete_prefix(std::string_view bytes);

/// Decodes one code point at `at` (which is moved behind it); ill-formed bytes give U+FFFD, one at a time.
[[nodiscard]] char32_t next_code_point(std::string_view text, size_t& at);

/// Lower-cases ASCII letters only.
[[nodiscard]] std::string ascii_lower(std::string_view text);

}  // namespace ssl4rl::text
