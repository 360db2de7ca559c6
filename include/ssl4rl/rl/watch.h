// Signs that a policy exploits its reward or collapses, looked for in every step and logged as warnings. They change
// nothing in the run.
#pragma once

#include <cstdint>
#include <set>
#include <string>

#include "ssl4rl/base/log.h"
#include "ssl4rl/train/config.h"

namespace ssl4rl::rl {

struct Step;

class Watch {
 public:
  explicit Watch(const train::LogConfig& config) : config_(config) {}

  /// Warns of each sign when it appears, and again only after it has gone. Length and entropy are compared with the
  /// first steps that were seen, those behind the start or the resume.
  void look_at(const Step& step, const Log& log);

 private:
  void report(const Log& log, const char* sign, bool present, const std::string& message);

  train::LogConfig config_;
  int64_t seen_ = 0;
  double first_length_ = 0, first_entropy_ = 0;  // means over the first steps
  std::set<std::string> present_;
};

}  // namespace ssl4rl::rl
