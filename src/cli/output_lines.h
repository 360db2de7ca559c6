// The output of long jobs: lines in input order, to FILE.partial until all are there; the same command goes on with it.
#pragma once

#include <filesystem>
#include <memory>
#include <nlohmann/json_fwd.hpp>
#include <string>

#include "ssl4rl/base/log.h"
#include "ssl4rl/io/file.h"

namespace ssl4rl::cli {

class OutputLines {
 public:
  /// FILE, or "-" for standard output. `fingerprint` names model, settings and input; `per_input` lines belong to one
  /// input line. Changes nothing yet.
  OutputLines(std::filesystem::path file, std::string fingerprint, size_t per_input, const Log& log);

  /// Input lines whose output an earlier call has written.
  [[nodiscard]] size_t done() const { return done_; }
  /// Opens the file: from here on it is written to.
  void open();
  void write(const nlohmann::ordered_json& line);
  /// Gives the file its name.
  void finish();

 private:
  std::filesystem::path file_, partial_, info_;
  std::string fingerprint_, kept_;
  size_t done_ = 0;
  std::unique_ptr<io::OutputFile> out_;  // null: standard output
};

}  // namespace ssl4rl::cli
