#include "ssl4rl/rl/watch.h"

#include <algorithm>
#include <map>

#include "ssl4rl/rl/trainer.h"

namespace ssl4rl::rl {
namespace {

constexpr int64_t kFirstSteps = 5;

// The share of the most frequent text; 0 for none.
double largest_share(const std::map<std::string, double>& counts) {
  double most = 0, all = 0;
  for (const auto& [text, count] : counts) {
    most = std::max(most, count);
    all += count;
  }
  return all > 0 ? most / all : 0;
}

}  // namespace

void Watch::look_at(const Step& step, const Log& log) {
  std::map<std::string, std::map<std::string, double>> given, right;  // by task
  double samples = 0, unparsed = 0, tokens = 0;
  for (const Group& group : step.groups) {
    if (group.recorded) return;
    const tasks::Puzzle& puzzle = group.puzzle.puzzle;
    for (const Sample& sample : group.samples) {
      if (sample.score.extracted) given[puzzle.task][*sample.score.extracted] += 1;
      right[puzzle.task][puzzle.answer] += 1;
      unparsed += sample.score.unparsed;
      tokens += static_cast<double>(sample.length());
      samples += 1;
    }
  }
  const double length = tokens / std::max(1.0, samples);
  const double entropy = step.entropy_sum.read() / static_cast<double>(std::max<int64_t>(1, step.trained_tokens));
  if (seen_ < kFirstSteps) {
    first_length_ += (length - first_length_) / static_cast<double>(seen_ + 1);
    first_entropy_ += (entropy - first_entropy_) / static_cast<double>(seen_ + 1);
    ++seen_;
  }
  for (const auto& [task, answers] : given) {
    const double share = largest_share(answers), truth = largest_share(right[task]);
    const double limit = config_.warn_constant_answers;
    report(log, ("constant answers of " + task).c_str(), limit > 0 && share >= limit && truth < 0.75 * share,
           fmt::format("step {}: {:.0f} % of the answers to {} are the same one, which is right in at most {:.0f} %",
                       step.number, 100 * share, task, 100 * truth));
  }
  const double no_answer = unparsed / std::max(1.0, samples);
  report(log, "unparsed", config_.warn_unparsed > 0 && no_answer >= config_.warn_unparsed,
         fmt::format("step {}: no answer can be read in {:.0f} % of the samples", step.number, 100 * no_answer));
  report(log, "length", config_.warn_length_growth > 0 && length >= config_.warn_length_growth * first_length_,
         fmt::format("step {}: samples have grown to {:.0f} tokens, from {:.0f} in the first steps", step.number,
                     length, first_length_));
  report(log, "entropy", config_.warn_entropy > 0 && entropy <= config_.warn_entropy * first_entropy_,
         fmt::format("step {}: the entropy has fallen to {:.3g}, from {:.3g} in the first steps; a larger "
                     "algorithm.beta or algorithm.entropy_coef keeps "
                     "the policy exploring",
                     step.number, entropy, first_entropy_));
}

void Watch::report(const Log& log, const char* sign, bool present, const std::string& message) {
  if (!present) {
    present_.erase(sign);
  } else if (present_.insert(sign).second) {
    log.warn("{}", message);
  }
}

}  // namespace ssl4rl::rl
