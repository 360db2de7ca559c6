#include "ssl4rl/io/file.h"

#include <gtest/gtest.h>
#include <sys/wait.h>
#include <unistd.h>

#include <csignal>
#include <filesystem>

#include "support/errors.h"
#include "support/temporary_folder.h"

namespace ssl4rl::io {
namespace {
namespace fs = std::filesystem;

TEST(File, AnAtomicFileAppearsOnlyOnCommit) {
  const TemporaryFolder folder;
  const fs::path path = folder.path() / "a.txt";
  write_file(path, "old");
  {
    AtomicFile file(path);
    file.write("new");
    EXPECT_EQ(read_file(path), "old");
    file.commit();
    EXPECT_EQ(read_file(path), "new");
  }
  { AtomicFile(path).write("lost"); }
  EXPECT_EQ(read_file(path), "new");
  EXPECT_EQ(std::distance(fs::directory_iterator(folder.path()), {}), 1);
}

TEST(File, AnAtomicFolderAppearsOnlyOnCommit) {
  const TemporaryFolder folder;
  const fs::path path = folder.path() / "step";
  {
    AtomicFolder unfinished(path);
    write_file(unfinished.folder() / "x", "1");
  }
  EXPECT_TRUE(fs::is_empty(folder.path()));
  AtomicFolder finished(path);
  write_file(finished.folder() / "x", "1");
  finished.commit();
  EXPECT_EQ(read_file(path / "x"), "1");
  AtomicFolder second(path);
  write_file(second.folder() / "y", "2");
  EXPECT_NE(error_of([&] { second.commit(); }).find("exists already"), std::string::npos);
  second.commit(AtomicFolder::IfThere::kReplace);
  EXPECT_FALSE(fs::exists(path / "x"));
  EXPECT_EQ(read_file(path / "y"), "2");
  EXPECT_EQ(std::distance(fs::directory_iterator(folder.path()), {}), 1) << "the old folder is gone";
}

TEST(File, AFullDiskIsAnErrorThatNamesTheFileAndTheReason) {
  OutputFile file("/dev/full", OutputFile::Mode::kAppend);
  EXPECT_EQ(error_of([&] { file.write("x"); }), "/dev/full: cannot be written: No space left on device");
}

TEST(File, MissingAndForbiddenPathsAreNamed) {
  EXPECT_EQ(error_of([] { (void)read_file("/no/such"); }), "/no/such: cannot be read: No such file or directory");
  EXPECT_NE(error_of([] { write_file("/proc/no", "x"); }).find("cannot be written"), std::string::npos);
  EXPECT_NE(error_of([] { make_folder("/proc/no/such"); }).find("/proc/no/such: the folder cannot be made"),
            std::string::npos);
}

TEST(File, ASecondLockIsRefusedAndNamesTheHolder) {
  const TemporaryFolder folder;
  const auto second = [&] { const FileLock lock(folder.path() / "lock", "the run"); };
  FileLock first(folder.path() / "lock", "the run");
  EXPECT_NE(error_of(second).find("the run is in use by another process"), std::string::npos);
  first.sign();
  EXPECT_NE(error_of(second).find(fmt::format("the run is in use by process {} on ", getpid())), std::string::npos);
}

TEST(File, ALockDiesWithItsHolder) {
  const TemporaryFolder folder;
  const pid_t holder = fork();
  if (holder == 0) {
    FileLock lock(folder.path() / "lock", "the run");
    lock.sign();
    raise(SIGKILL);
  }
  waitpid(holder, nullptr, 0);
  EXPECT_EQ(error_of([&] { const FileLock lock(folder.path() / "lock", "the run"); }), "no error");
}

}  // namespace
}  // namespace ssl4rl::io
