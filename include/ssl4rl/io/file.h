// Files appear whole or not at all: written beside their place, synced, then renamed. Every failure is an Error that
// names the file and the system's reason.
#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <string_view>

namespace ssl4rl::io {

/// The whole file. Throws Error if it cannot be read.
[[nodiscard]] std::string read_file(const std::filesystem::path& path);

/// A descriptor open for writing; errors name `path`.
class OutputFile {
 public:
  enum class Mode { kTruncate, kAppend };

  OutputFile(std::filesystem::path path, Mode mode);
  ~OutputFile();
  OutputFile(const OutputFile&) = delete;
  OutputFile& operator=(const OutputFile&) = delete;

  void write(std::string_view bytes);
  /// Waits until the bytes are on the disk.
  void sync();
  void close();
  [[nodiscard]] const std::filesystem::path& path() const { return path_; }

 private:
  std::filesystem::path path_;
  int descriptor_ = -1;
};

/// Writes to PATH.tmp-PID and takes PATH's place on commit(); without it nothing is left behind.
class AtomicFile {
 public:
  explicit AtomicFile(std::filesystem::path path);
  ~AtomicFile();

  void write(std::string_view bytes) { file_.write(bytes); }
  void commit();

 private:
  std::filesystem::path path_;
  OutputFile file_;
  bool committed_ = false;
};

/// Writes a small file atomically.
void write_file(const std::filesystem::path& path, std::string_view text);

/// A folder filled under PATH.tmp-PID that takes PATH's place on commit(); without it nothing is left behind.
class AtomicFolder {
 public:
  explicit AtomicFolder(std::filesystem::path path);
  ~AtomicFolder();

  /// Where to write the files.
  [[nodiscard]] const std::filesystem::path& folder() const { return temporary_; }
  /// Renames the folder; the files in it must already be synced. Throws if `path` exists, or replaces that folder.
  enum class IfThere { kFail, kReplace };
  void commit(IfThere if_there = IfThere::kFail);

 private:
  std::filesystem::path path_, temporary_;
  bool committed_ = false;
};

/// Creates a folder and its parents. Throws Error if that fails.
void make_folder(const std::filesystem::path& path);

/// Holds an advisory lock on a file; a second process that asks for it gets an Error that says `what` is in use and,
/// where the holder has signed, by whom; or waits. The system frees the lock when its holder dies, however that
/// happens.
class FileLock {
 public:
  enum class IfBusy { kFail, kWait };
  FileLock(const std::filesystem::path& path, std::string_view what, IfBusy if_busy = IfBusy::kFail);
  ~FileLock();
  FileLock(const FileLock&) = delete;
  FileLock& operator=(const FileLock&) = delete;

  /// Writes this process and its host into the file, for the messages of others. Only for files that hold nothing else.
  void sign();

 private:
  int descriptor_;
};

}  // namespace ssl4rl::io
