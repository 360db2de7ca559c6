#include "output_lines.h"

#include <unistd.h>

#include <algorithm>
#include <nlohmann/json.hpp>

#include "ssl4rl/base/error.h"
#include "ssl4rl/io/jsonl.h"

namespace ssl4rl::cli {
namespace fs = std::filesystem;

OutputLines::OutputLines(fs::path file, std::string fingerprint, size_t per_input, const Log& log)
    : file_(std::move(file)),
      partial_(file_.string() + ".partial"),
      info_(file_.string() + ".partial.info"),
      fingerprint_(std::move(fingerprint)) {
  if (file_ == "-") return;
  if (fs::is_directory(file_)) fail("--output {}: expected a file, found a folder", file_.string());
  if (const fs::path folder = fs::absolute(file_).parent_path(); !fs::is_directory(folder))
    fail("--output {}: the folder {} does not exist", file_.string(), folder.string());
  if (!fs::exists(partial_) || !fs::exists(info_)) return;
  if (io::read_file(info_) != fingerprint_) {
    log.warn("{}: belongs to another model, input or other settings; starting anew", partial_.string());
    return;
  }
  const std::string text = io::read_file(partial_);
  const auto lines = static_cast<size_t>(std::count(text.begin(), text.end(), '\n'));
  done_ = lines / per_input;
  size_t end = 0;
  for (size_t line = 0; line < done_ * per_input; ++line) end = text.find('\n', end) + 1;
  kept_ = text.substr(0, end);
  if (done_ > 0) log.info("{}: going on after {} finished inputs", partial_.string(), done_);
}

void OutputLines::open() {
  if (file_ == "-") return;
  io::write_file(info_, fingerprint_);
  io::write_file(partial_, kept_);
  out_ = std::make_unique<io::OutputFile>(partial_, io::OutputFile::Mode::kAppend);
}

void OutputLines::write(const nlohmann::ordered_json& line) {
  const std::string text = io::to_line(line) + "\n";
  if (out_) return out_->write(text);
  for (std::string_view rest = text; !rest.empty();) {
    const ssize_t written = ::write(STDOUT_FILENO, rest.data(), rest.size());
    if (written < 0 && errno != EINTR) fail("standard output: cannot be written: {}", errno_text());
    rest.remove_prefix(static_cast<size_t>(std::max<ssize_t>(written, 0)));
  }
}

void OutputLines::finish() {
  if (!out_) return;
  out_->sync();
  out_->close();
  fs::rename(partial_, file_);
  std::error_code ignored;
  fs::remove(info_, ignored);
}

}  // namespace ssl4rl::cli
