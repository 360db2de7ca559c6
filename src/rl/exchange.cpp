#include "ssl4rl/rl/exchange.h"

#include <nlohmann/json.hpp>

#include "ssl4rl/rl/trainer.h"

namespace ssl4rl::rl {
namespace {

using Json = nlohmann::json;

Json to_json(const rewards::Score& score) {
  return {{"extracted", score.extracted ? Json::binary({score.extracted->begin(), score.extracted->end()}) : Json()},
          {"accuracy", score.accuracy},
          {"format", score.format},
          {"further", score.further},
          {"total", score.total},
          {"unparsed", score.unparsed}};
}

std::string text_of(const Json& bytes) { return {bytes.get_binary().begin(), bytes.get_binary().end()}; }

rewards::Score score_of(const Json& json) {
  rewards::Score score{.accuracy = json["accuracy"],
                       .format = json["format"],
                       .further = json["further"],
                       .total = json["total"],
                       .unparsed = json["unparsed"]};
  if (!json["extracted"].is_null()) score.extracted = text_of(json["extracted"]);
  return score;
}

Json to_json(const Sample& sample) {
  return {{"ids", sample.completion.ids},
          {"finish", sample.completion.finish},
          {"text", Json::binary({sample.text.begin(), sample.text.end()})},  // of a model: any bytes
          {"score", to_json(sample.score)},
          {"left_out", sample.left_out},
          {"old", sample.old_logprobs},
          {"reference", sample.reference_logprobs},
          {"values", sample.values}};
}

Sample sample_of(const Json& json) {
  Sample sample;
  sample.completion.ids = json["ids"].get<std::vector<int64_t>>();
  sample.completion.finish = json["finish"];
  sample.text = text_of(json["text"]);
  sample.score = score_of(json["score"]);
  sample.left_out = json["left_out"];
  sample.old_logprobs = json["old"].get<std::vector<float>>();
  sample.reference_logprobs = json["reference"].get<std::vector<float>>();
  sample.values = json["values"].get<std::vector<float>>();
  return sample;
}

Json to_json(const Group& group) {
  const tasks::Puzzle& puzzle = group.puzzle.puzzle;
  Json json{{"index", puzzle.index},      {"attempt", puzzle.attempt},  {"id", puzzle.id},
            {"task", puzzle.task},        {"entry", puzzle.entry},      {"answer", puzzle.answer},
            {"baseline", group.baseline}, {"recorded", group.recorded}, {"resampled", group.resampled},
            {"samples", Json::array()}};
  if (group.fresh) json["fresh"] = {group.fresh->entry, group.fresh->success};
  for (const Sample& sample : group.samples) json["samples"].push_back(to_json(sample));
  return json;
}

void fill(Group& group, const Json& json) {
  tasks::Puzzle& puzzle = group.puzzle.puzzle;
  puzzle.index = json["index"];
  puzzle.attempt = json["attempt"];
  puzzle.id = json["id"];
  puzzle.task = json["task"];
  puzzle.entry = json["entry"];
  puzzle.answer = json["answer"];
  group.baseline = json["baseline"];
  group.recorded = json["recorded"];
  group.resampled = json["resampled"];
  if (json.contains("fresh")) group.fresh = {json["fresh"][0].get<size_t>(), json["fresh"][1].get<double>()};
  group.samples.clear();
  for (const Json& sample : json["samples"]) group.samples.push_back(sample_of(sample));
}

}  // namespace

void exchange_outcomes(std::vector<Group>& groups, const train::Communicator& communicator) {
  if (communicator.ranks() == 1) return;
  Json own = Json::array();
  for (size_t g = 0; g < groups.size(); ++g)
    if (groups[g].here) own.push_back({g, to_json(groups[g])});
  const auto bytes = Json::to_cbor(own);
  const auto all = communicator.gather({bytes.begin(), bytes.end()});
  for (size_t rank = 0; rank < all.size(); ++rank) {
    if (static_cast<int>(rank) == communicator.rank()) continue;
    for (const Json& entry : Json::from_cbor(all[rank])) fill(groups[entry[0].get<size_t>()], entry[1]);
  }
}

void add_up(Step& step, const train::Communicator& communicator) {
  double sums[] = {step.gap.sum,
                   static_cast<double>(step.gap.tokens),
                   step.loss_sums.kl.read(),
                   step.loss_sums.clipped_low.read(),
                   step.loss_sums.clipped_high.read(),
                   step.entropy_sum.read(),
                   step.value_clipped.read(),
                   static_cast<double>(step.trained_tokens)};
  double largest[] = {step.gap.max, step.masked_mass};
  communicator.sum(sums);
  communicator.max(largest);
  step.gap.sum = sums[0];
  step.gap.tokens = static_cast<int64_t>(sums[1]);
  step.loss_sums = {sums[2], sums[3], sums[4]};
  step.entropy_sum = sums[5];
  step.value_clipped = sums[6];
  step.trained_tokens = static_cast<int64_t>(sums[7]);
  step.gap.max = largest[0];
  step.masked_mass = largest[1];
}

}  // namespace ssl4rl::rl
