// A disk that is full from some write on, or says that it has little room, for code of this process. The program that
// uses it must link full_disk.cpp, which takes the place of the C library's write, pwrite, fsync, rename and statvfs.
#pragma once

#include <cstdint>
#include <filesystem>

namespace ssl4rl {

/// While one lives: the `from`-th write, sync or rename of a file below a folder (from 1) fails, and all after it.
class FullDisk {
 public:
  FullDisk(const std::filesystem::path& below, int64_t from);
  ~FullDisk();
  FullDisk(const FullDisk&) = delete;
  FullDisk& operator=(const FullDisk&) = delete;

  /// How many there were so far.
  [[nodiscard]] int64_t operations() const;
};

/// While one lives, every file system says that so many bytes are free.
class FreeSpace {
 public:
  explicit FreeSpace(int64_t bytes);
  ~FreeSpace();
  FreeSpace(const FreeSpace&) = delete;
  FreeSpace& operator=(const FreeSpace&) = delete;
};

}  // namespace ssl4rl
