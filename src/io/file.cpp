#include "ssl4rl/io/file.h"

#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <utility>

#include "ssl4rl/base/error.h"

namespace ssl4rl::io {
namespace fs = std::filesystem;
namespace {

constexpr std::string_view kSignature = "process ";

fs::path temporary_name(const fs::path& path) { return path.string() + ".tmp-" + std::to_string(getpid()); }

void sync_folder_of(const fs::path& to) {
  const fs::path folder = to.has_parent_path() ? to.parent_path() : fs::path(".");
  if (const int descriptor = open(folder.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC); descriptor >= 0) {
    fsync(descriptor);  // makes the rename durable; some file systems refuse it, which loses nothing
    ::close(descriptor);
  }
}

void rename_synced(const fs::path& from, const fs::path& to) {
  if (::rename(from.c_str(), to.c_str()) != 0) fail("{}: cannot be put in place: {}", to.string(), errno_text());
  sync_folder_of(to);
}

}  // namespace

std::string read_file(const fs::path& path) {
  const int descriptor = open(path.c_str(), O_RDONLY | O_CLOEXEC);
  if (descriptor < 0) fail("{}: cannot be read: {}", path.string(), errno_text());
  std::string text;
  struct stat info {};
  if (fstat(descriptor, &info) == 0 && S_ISREG(info.st_mode)) text.reserve(static_cast<size_t>(info.st_size));
  char buffer[1 << 16];
  ssize_t got;
  while ((got = read(descriptor, buffer, sizeof buffer)) != 0) {
    if (got < 0) {
      if (errno == EINTR) continue;
      const std::string reason = errno_text();
      ::close(descriptor);
      fail("{}: cannot be read: {}", path.string(), reason);
    }
    text.append(buffer, static_cast<size_t>(got));
  }
  ::close(descriptor);
  return text;
}

OutputFile::OutputFile(fs::path path, Mode mode) : path_(std::move(path)) {
  const int flags = O_WRONLY | O_CREAT | O_CLOEXEC | (mode == Mode::kAppend ? O_APPEND : O_TRUNC);
  descriptor_ = open(path_.c_str(), flags, 0666);
  if (descriptor_ < 0) fail("{}: cannot be written: {}", path_.string(), errno_text());
}

OutputFile::~OutputFile() {
  if (descriptor_ >= 0) ::close(descriptor_);
}

void OutputFile::write(std::string_view bytes) {
  while (!bytes.empty()) {
    const ssize_t done = ::write(descriptor_, bytes.data(), bytes.size());
    if (done < 0) {
      if (errno == EINTR) continue;
      fail("{}: cannot be written: {}", path_.string(), errno_text());
    }
    bytes.remove_prefix(static_cast<size_t>(done));
  }
}

void OutputFile::sync() {
  if (fsync(descriptor_) != 0 && errno != EINVAL && errno != EROFS)
    fail("{}: cannot be written: {}", path_.string(), errno_text());
}

void OutputFile::close() {
  const int descriptor = std::exchange(descriptor_, -1);
  if (descriptor >= 0 && ::close(descriptor) != 0) fail("{}: cannot be written: {}", path_.string(), errno_text());
}

AtomicFile::AtomicFile(fs::path path)
    : path_(std::move(path)), file_(temporary_name(path_), OutputFile::Mode::kTruncate) {}

AtomicFile::~AtomicFile() {
  if (!committed_) unlink(file_.path().c_str());
}

void AtomicFile::commit() {
  file_.sync();
  file_.close();
  rename_synced(file_.path(), path_);
  committed_ = true;
}

void write_file(const fs::path& path, std::string_view text) {
  AtomicFile file(path);
  file.write(text);
  file.commit();
}

AtomicFolder::AtomicFolder(fs::path path) : path_(std::move(path)), temporary_(temporary_name(path_)) {
  std::error_code ignored;
  fs::remove_all(temporary_, ignored);
  make_folder(temporary_);
}

AtomicFolder::~AtomicFolder() {
  std::error_code ignored;
  if (!committed_) fs::remove_all(temporary_, ignored);
}

void AtomicFolder::commit(IfThere if_there) {
  if (if_there == IfThere::kFail && fs::exists(path_)) fail("{}: exists already", path_.string());
  // An older folder changes places with the new one, so that at no moment there is none; where the file system cannot
  // do that, it goes first.
  std::error_code ignored;
  if (renameat2(AT_FDCWD, temporary_.c_str(), AT_FDCWD, path_.c_str(), RENAME_EXCHANGE) == 0) {
    fs::remove_all(temporary_, ignored);
    sync_folder_of(path_);
  } else {
    if (fs::exists(path_)) fs::remove_all(path_, ignored);
    rename_synced(temporary_, path_);
  }
  committed_ = true;
}

void make_folder(const fs::path& path) {
  std::error_code error;
  fs::create_directories(path, error);
  if (error) fail("{}: the folder cannot be made: {}", path.string(), error.message());
  if (!fs::is_directory(path)) fail("{}: expected a folder, found a file", path.string());
}

FileLock::FileLock(const fs::path& path, std::string_view what, IfBusy if_busy)
    : descriptor_(open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0666)) {
  if (descriptor_ < 0) fail("{}: cannot be written: {}", path.string(), errno_text());
  if (flock(descriptor_, LOCK_EX | (if_busy == IfBusy::kFail ? LOCK_NB : 0)) != 0 && errno == EWOULDBLOCK) {
    char text[512];
    const ssize_t length = pread(descriptor_, text, sizeof text, 0);
    ::close(descriptor_);
    const std::string_view signature(text, static_cast<size_t>(std::max<ssize_t>(0, length)));
    const bool is_signed = signature.starts_with(kSignature) && signature.ends_with('\n');
    fail("{} is in use by {} (lock {})", what,
         is_signed ? signature.substr(0, signature.size() - 1) : std::string_view("another process"), path.string());
  }
}

void FileLock::sign() {
  char host[256] = "";
  gethostname(host, sizeof host - 1);
  const std::string text = fmt::format("{}{} on {}\n", kSignature, getpid(), host);
  // A file that cannot be signed (a full disk) locks all the same.
  if (ftruncate(descriptor_, 0) == 0) (void)!pwrite(descriptor_, text.data(), text.size(), 0);
}

FileLock::~FileLock() { ::close(descriptor_); }

}  // namespace ssl4rl::io
