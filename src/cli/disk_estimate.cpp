#include "disk_estimate.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <cmath>
#include <filesystem>
#include <limits>

#include "ssl4rl/base/error.h"
#include "ssl4rl/base/progress.h"
#include "ssl4rl/base/stopwatch.h"
#include "ssl4rl/io/hash.h"

namespace ssl4rl::cli {
namespace fs = std::filesystem;
namespace {

std::string gib(int64_t bytes) { return fmt::format("{:.1f} GiB", static_cast<double>(bytes) / (1 << 30)); }

// The folder, or the nearest above it that exists.
fs::path standing_folder(const RunConfig& config) {
  fs::path nearest = fs::absolute(config.run.folder()).lexically_normal();
  while (!fs::exists(nearest) && nearest.has_relative_path()) nearest = nearest.parent_path();
  return nearest;
}

// How many new checkpoints will lie there at once, the one being written included.
struct DiskNeed {
  int64_t count = 0, free = 0;
};

DiskNeed disk_need(const RunConfig& config, int64_t steps_done) {
  const train::TrainConfig& t = config.train;
  DiskNeed need;
  const int64_t left = t.total_steps() - steps_done;
  int64_t saves = 1;
  if (t.save_every > 0)
    saves = t.total_steps() / t.save_every - steps_done / t.save_every + (t.total_steps() % t.save_every != 0);
  if (t.keep_best) saves = std::max(saves, left / t.eval_every);
  need.count = saves;
  if (t.keep_last || t.keep_best)
    need.count = std::min(
        saves, t.keep_last.value_or(1) + t.keep_best.value_or(0) + 1 + (t.keep_every ? left / *t.keep_every : 0));
  std::error_code error;
  const fs::space_info space = fs::space(standing_folder(config), error);
  need.free = error || space.available > static_cast<uintmax_t>(std::numeric_limits<int64_t>::max())
                  ? std::numeric_limits<int64_t>::max()
                  : static_cast<int64_t>(space.available);
  return need;
}

struct WriteSpeed {
  double bytes_per_second = 1e8;
  std::string source = "assumed";
};

// A checkpoint is written, synced and read again for its hashes; here the hash is taken on the way.
WriteSpeed measure_writing(const fs::path& folder) {
  constexpr int64_t kBlock = 1 << 20, kBlocks = 64;
  constexpr double kPatience = 3;  // seconds
  const int descriptor = open(folder.c_str(), O_TMPFILE | O_WRONLY | O_CLOEXEC, 0600);
  if (descriptor < 0) return {};  // not every file system has files without a name
  const std::string block(kBlock, '\x5a');
  io::Sha256 hash;
  int64_t written = 0;
  const Stopwatch watch;
  bool good = true;
  while (good && written < kBlock * kBlocks && watch.seconds() < kPatience) {
    hash.update(block);
    good = write(descriptor, block.data(), block.size()) == kBlock;
    written += kBlock;
  }
  good = good && fsync(descriptor) == 0;
  const double seconds = watch.seconds();
  close(descriptor);
  if (!good) return {};
  return {static_cast<double>(written) / seconds, fmt::format("measured on {} MiB", written >> 20)};
}

}  // namespace

void check_disk(const RunConfig& config, const MemoryEstimate& estimate, int64_t steps_done, const Log& log) {
  const DiskNeed need = disk_need(config, steps_done);
  if (estimate.checkpoint > need.free)
    fail("{}: a checkpoint takes about {}, {} are free", config.run.folder().string(), gib(estimate.checkpoint),
         gib(need.free));
  if (need.count > need.free / std::max<int64_t>(1, estimate.checkpoint))
    log.warn("{}: {} checkpoints of about {} will not fit, {} are free; set train.keep_last",
             config.run.folder().string(), need.count, gib(estimate.checkpoint), gib(need.free));
}

std::string disk_text(const RunConfig& config, const MemoryEstimate& estimate, int64_t steps_done) {
  const DiskNeed need = disk_need(config, steps_done);
  return fmt::format("disk       {} checkpoint{} of about {}, {} free\n", need.count,
                     need.count == 1 ? "" : "s at once", gib(estimate.checkpoint), gib(need.free));
}

std::string signal_text(const RunConfig& config, const MemoryEstimate& estimate, double deaf) {
  const WriteSpeed speed = measure_writing(standing_folder(config));
  const double writing = static_cast<double>(estimate.checkpoint) / speed.bytes_per_second;
  const bool two = config.train.save_in_background && (config.train.save_every > 0 || config.train.keep_best);
  const double needed = deaf + writing * (two ? 2 : 1);
  constexpr double kMargin = 1.5, kLeast = 30, kStep = 10;  // seconds
  const double advised = std::max(kLeast, std::ceil(kMargin * needed / kStep) * kStep);
  return fmt::format(
      "signal     acted on within {}, a checkpoint takes {} more{} ({:.0f} MB/s, {}): before a time limit it should "
      "come by {:.0f} s (SLURM: --signal=B:USR1@{:.0f})\n",
      duration_text(deaf), duration_text(writing), two ? ", twice that if one is being written just then" : "",
      speed.bytes_per_second / 1e6, speed.source, advised, advised);
}

}  // namespace ssl4rl::cli
