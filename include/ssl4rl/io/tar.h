// Reading tar files (POSIX ustar and pax, GNU) by their headers alone, so that members can be read in any order. No
// compressed ones: those cannot be read from the middle.
#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <string>

namespace ssl4rl::io {

struct TarMember {
  std::string name;
  uint64_t offset = 0, size = 0;  ///< of its bytes in the tar file
};

/// Visits the regular files in order. Throws Error naming the file and the place where it is broken or cut off.
void for_each_tar_member(const std::filesystem::path& tar, const std::function<void(const TarMember&)>& visit);

/// Some bytes of a file. Throws Error if it cannot be read or is too short.
[[nodiscard]] std::string read_part(const std::filesystem::path& path, uint64_t offset, uint64_t size);

}  // namespace ssl4rl::io
