#include "training_data.h"

#include <algorithm>
#include <cmath>
#include <numeric>

#include "ssl4rl/base/error.h"
#include "ssl4rl/base/rng.h"

namespace ssl4rl::cli {
namespace {

using Json = nlohmann::ordered_json;

double number(const InputLine& line, const char* key) {
  const auto found = line.extra.find(key);
  if (found == line.extra.end() || !found->is_number() || !std::isfinite(found->get<double>()))
    fail("{}: expected \"{}\": a number", line.where, key);
  return found->get<double>();
}

std::string group_name(const InputLine& line) {
  const auto found = line.extra.find("group");
  if (found == line.extra.end() || !(found->is_string() || found->is_number_integer()))
    fail("{}: expected \"group\": a text or an integer", line.where);
  return found->is_string() ? found->get<std::string>() : found->dump();
}

std::vector<float> old_logprobs(const InputLine& line) {
  const auto found = line.extra.find("logprobs");
  if (found == line.extra.end() || found->is_null()) return {};
  const auto usable = [](const Json& value) { return value.is_number() && std::isfinite(value.get<double>()); };
  if (!found->is_array() || !std::all_of(found->begin(), found->end(), usable) ||
      found->size() != line.completion_ids->size())
    fail("{}: \"logprobs\": expected a list of {} numbers, one for each of \"completion_ids\"", line.where,
         line.completion_ids->size());
  return found->get<std::vector<float>>();
}

rl::Sample read_sample(const InputLine& line, const models::Processor& processor,
                       const rl::AlgorithmConfig& algorithm) {
  if (!line.completion_ids) fail("{}: expected \"completion_ids\": a list of token ids", line.where);
  for (const int64_t id : *line.completion_ids)
    if (id < 0 || id >= processor.config().text.vocab_size)
      fail("{}: completion_ids: {} is no token of the model", line.where, id);
  rl::Sample sample;
  sample.completion = {.ids = *line.completion_ids, .logprobs = old_logprobs(line)};
  sample.text = processor.tokenizer().decode(sample.completion.ids);
  sample.score.total = number(line, "reward");
  const auto& ends = processor.end_of_sequence();
  const bool ended =
      !sample.completion.ids.empty() && std::count(ends.begin(), ends.end(), sample.completion.ids.back()) > 0;
  if (ended || line.extra.value("finish_reason", Json()) == "stop")
    sample.completion.finish = rollout::FinishReason::kStop;
  sample.left_out = algorithm.mask_truncated && sample.completion.finish == rollout::FinishReason::kLength;
  return sample;
}

}  // namespace

std::vector<rl::Group> read_replay(const std::filesystem::path& file, const models::Processor& processor,
                                   const rl::AlgorithmConfig& algorithm) {
  const std::vector<InputLine> lines = read_lines(file);
  if (lines.empty()) fail("rollout.replay: {}: holds no rollout", file.string());
  std::vector<rl::Group> groups;
  std::vector<const InputLine*> first_lines;
  std::map<std::string, size_t> number_of;
  for (const InputLine& line : lines) {
    const std::string name = group_name(line);
    const auto [found, is_new] = number_of.try_emplace(name, groups.size());
    if (is_new) {
      rl::Group& group = groups.emplace_back();
      group.recorded = true;
      group.puzzle.prompt = encode(processor, line);
      group.puzzle.puzzle.index = static_cast<int64_t>(found->second);
      group.puzzle.puzzle.id = name;
      group.puzzle.puzzle.task =
          line.extra.value("task", Json()).is_string() ? line.extra["task"].get<std::string>() : "replay";
      if (algorithm.name == rl::AlgorithmConfig::Estimator::kRemax) group.baseline = number(line, "baseline");
      first_lines.push_back(&line);
    } else if (!same_prompt(*first_lines[found->second], line)) {
      fail("{}: group {}: its prompt differs from the one in {}; rows of one group are samples of one prompt",
           line.where, name, first_lines[found->second]->where);
    }
    groups[found->second].samples.push_back(read_sample(line, processor, algorithm));
  }
  return groups;
}

Conversations::Conversations(const std::filesystem::path& file, std::shared_ptr<const models::Processor> processor,
                             uint64_t seed)
    : lines_(read_lines(file)), processor_(std::move(processor)), seed_(seed) {
  if (lines_.empty()) fail("sft.data: {}: holds no conversation", file.string());
  for (InputLine& line : lines_) {
    const text::Message last = line.messages.back();
    if (last.role != "assistant")
      fail("{}: the last message is of role {}; expected the assistant's, which is to be imitated", line.where,
           last.role);
    std::string text;
    for (const text::ContentPart& part : last.content) {
      if (part.kind != text::ContentPart::Kind::kText)
        fail("{}: the assistant's message holds an image; expected text", line.where);
      text += part.value;
    }
    line.messages.pop_back();
    if (line.messages.empty()) fail("{}: nothing stands before the assistant's message", line.where);
    targets_.push_back(processor_->tokenizer().encode(text));
    targets_.back().push_back(processor_->end_of_turn());
  }
}

rl::SupervisedExample Conversations::operator()(int64_t index) const {
  const auto count = static_cast<int64_t>(lines_.size());
  std::vector<size_t> order(lines_.size());
  std::iota(order.begin(), order.end(), size_t{0});
  Rng(seed_, Stream::kEpoch, {static_cast<uint64_t>(index / count)}).shuffle(order);
  const size_t line = order[static_cast<size_t>(index % count)];
  return {encode(*processor_, lines_[line]), targets_[line]};
}

}  // namespace ssl4rl::cli
