// The Qwen2 split pattern as a scanner that hands out one piece after the other.
#pragma once

#include <cstddef>
#include <string_view>

namespace ssl4rl::text {

/// The end of the piece that begins at `begin` (< text.size()).
[[nodiscard]] size_t qwen2_piece_end(std::string_view text, size_t begin);

}  // namespace ssl4rl::text
