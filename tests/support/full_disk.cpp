#include "support/full_disk.h"

#include <sys/statfs.h>
#include <sys/statvfs.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <limits>
#include <string>

namespace ssl4rl {
namespace {

constexpr int64_t kNever = std::numeric_limits<int64_t>::max();
std::atomic<int64_t> fails_from{kNever}, count{0}, free_bytes{kNever};

bool fails() { return ++count >= fails_from; }

std::string folder;  // with a slash behind it; set before any thread writes

bool counts(const std::string& path) { return path.starts_with(folder); }

bool counts(int descriptor) {
  if (fails_from == kNever) return false;
  char path[4096];
  const ssize_t length = readlink(("/proc/self/fd/" + std::to_string(descriptor)).c_str(), path, sizeof path);
  return length > 0 && counts(std::string(path, static_cast<size_t>(length)));
}

long full() {
  errno = ENOSPC;
  return -1;
}

}  // namespace

FullDisk::FullDisk(const std::filesystem::path& below, int64_t from) {
  folder = (below / "").string();
  count = 0;
  fails_from = from;
}

FullDisk::~FullDisk() { fails_from = kNever; }

int64_t FullDisk::operations() const { return count; }

FreeSpace::FreeSpace(int64_t bytes) { free_bytes = bytes; }

FreeSpace::~FreeSpace() { free_bytes = kNever; }

}  // namespace ssl4rl

extern "C" {

ssize_t write(int descriptor, const void* bytes, size_t size) {
  if (ssl4rl::counts(descriptor) && ssl4rl::fails()) return ssl4rl::full();
  return syscall(SYS_write, descriptor, bytes, size);
}

ssize_t pwrite(int descriptor, const void* bytes, size_t size, off_t offset) {
  if (ssl4rl::counts(descriptor) && ssl4rl::fails()) return ssl4rl::full();
  return syscall(SYS_pwrite64, descriptor, bytes, size, offset);
}

int fsync(int descriptor) {
  if (ssl4rl::counts(descriptor) && ssl4rl::fails()) return static_cast<int>(ssl4rl::full());
  return static_cast<int>(syscall(SYS_fsync, descriptor));
}

int rename(const char* from, const char* to) noexcept {
  if (ssl4rl::fails_from != ssl4rl::kNever && ssl4rl::counts(std::string(to)) && ssl4rl::fails())
    return static_cast<int>(ssl4rl::full());
  return static_cast<int>(syscall(SYS_rename, from, to));
}

int statvfs(const char* path, struct statvfs* info) noexcept {
  struct statfs found {};
  if (statfs(path, &found) != 0) return -1;
  *info = {};
  info->f_bsize = info->f_frsize = static_cast<unsigned long>(found.f_frsize);
  info->f_blocks = found.f_blocks;
  info->f_bfree = found.f_bfree;
  info->f_bavail = found.f_bavail;
  if (ssl4rl::free_bytes == ssl4rl::kNever) return 0;
  info->f_bsize = info->f_frsize = 1;
  info->f_bavail = static_cast<fsblkcnt_t>(ssl4rl::free_bytes.load());
  return 0;
}
}
