// Where the golden fixtures lie (made by scripts/make_fixtures.py).
#pragma once

#include <filesystem>

namespace ssl4rl {

inline std::filesystem::path test_data() { return std::filesystem::path(SSL4RL_SOURCE_DIR) / "tests/data"; }

}  // namespace ssl4rl
