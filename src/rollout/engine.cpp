#include "ssl4rl/rollout/engine.h"

#include <ATen/ATen.h>
#include <ATen/core/grad_mode.h>

#include <algorithm>
#include <iterator>

#include "ssl4rl/base/error.h"
#include "ssl4rl/base/rng.h"
#include "ssl4rl/base/stopwatch.h"
#include "ssl4rl/models/step_recorder.h"
#include "ssl4rl/nn/device_memory.h"
#include "ssl4rl/nn/on_device.h"

namespace ssl4rl::rollout {
namespace {

using at::Tensor;

// A sample that is being generated.
struct Running {
  size_t request;
  int64_t sample;
  int64_t cache_group;
  Rng rng;
  std::string tail;  // the text's end, for stop strings that span tokens
};

// One call of generate.
class Session {
 public:
  Session(const models::Model& model, const EngineLimits& limits, std::span<const Request> requests,
          const SamplingPlan& plan, const Engine::Poll& poll, const Engine::Finished& finished)
      : model_(model.shared_processor(), models::pack_weights(model.weights())),
        limits_(limits),
        requests_(requests),
        plan_(plan),
        poll_(poll),
        on_finished_(finished),
        sampler_(plan.sampling, model_.processor().forbidden()),
        cache_(model_.make_cache()) {
    if (limits.recorder) recorder_.emplace(model_, *cache_, *limits.recorder);
    for (const Request& request : requests) {
      SSL4RL_CHECK(request.samples > 0 && request.prompt->length() > 0, "an empty request");
      result_.completions.emplace_back(static_cast<size_t>(request.samples));
      waiting_ += cache_need(request);
    }
    unfinished_.resize(requests.size());
    for (const std::string& stop : plan.stop) longest_stop_ = std::max(longest_stop_, stop.size());
  }

  Generation run() {
    while (next_ < requests_.size() || !running_.empty()) {
      admit();
      if (poll_) poll_(finished_);
      step();
    }
    return std::move(result_);
  }

 private:
  [[nodiscard]] int64_t cache_need(const Request& request) const {
    return request.prompt->length() + request.samples * plan_.max_new_tokens;
  }

  [[nodiscard]] bool has_room(const Request& request) const {
    return reserved_ == 0 || reserved_ + cache_need(request) <= limits_.cache_tokens;
  }

  // Lets waiting requests in while the cache has room; one always gets in when nothing runs. Short of that they wait
  // for an eighth of the room, or for all they need, so that several prompts are read at once.
  void admit() {
    const int64_t room = limits_.cache_tokens - reserved_;
    if (reserved_ > 0 && room < std::min(limits_.cache_tokens / 8, waiting_)) return;
    while (next_ < requests_.size() && has_room(requests_[next_])) {
      const Stopwatch watch;
      std::vector<const models::Prompt*> prompts;
      std::vector<int64_t> groups;
      const size_t first = next_;
      for (int64_t tokens = 0; next_ < requests_.size(); ++next_) {
        const Request& request = requests_[next_];
        const bool fits =
            has_room(request) && (prompts.empty() || tokens + request.prompt->length() <= limits_.prefill_tokens);
        if (!fits) break;
        reserved_ += cache_need(request);
        waiting_ -= cache_need(request);
        tokens += request.prompt->length();
        prompts.push_back(request.prompt);
        groups.push_back(cache_->add_group(request.prompt->length(), request.samples));
        unfinished_[next_] = request.samples;
      }
      std::vector<models::VisionFeatures> features;
      const Tensor logits_gV = model_.prefill(prompts, groups, *cache_, plan_.keep_features ? &features : nullptr);
      std::move(features.begin(), features.end(), std::back_inserter(result_.features));
      std::vector<int64_t> rows;
      const size_t old = running_.size();
      for (size_t r = first; r < next_; ++r)
        for (int64_t s = 0; s < requests_[r].samples; ++s) {
          rows.push_back(static_cast<int64_t>(r - first));
          running_.push_back(
              {r,
               s,
               groups[r - first],
               Rng(plan_.seed, Stream::kSample, {requests_[r].key, requests_[r].attempt, static_cast<uint64_t>(s)}),
               {}});
        }
      extend(logits_gV.index_select(0, nn::on_device(rows, logits_gV.device())), old);
      result_.prefill_seconds += watch.seconds();
    }
  }

  // Decodes one token of every running sample and draws the next.
  void step() {
    if (running_.empty()) return;
    std::vector<nn::DecodeRow> rows;
    std::vector<int64_t> ids, positions;
    for (const Running& r : running_) {
      const Completion& completion = completion_of(r);
      const auto position = static_cast<int64_t>(completion.ids.size()) - 1;
      rows.push_back({r.cache_group, r.sample, position});
      ids.push_back(completion.ids.back());
      positions.push_back(requests_[r.request].prompt->next_position + position);
    }
    extend(recorder_ ? recorder_->decode(rows, ids, positions) : model_.decode(rows, ids, positions, *cache_), 0);
  }

  // Draws a token for each running sample from `begin` on and takes out those that end with it.
  void extend(const Tensor& logits_nV, size_t begin) {
    std::vector<double> uniforms;
    for (size_t i = begin; i < running_.size(); ++i)
      uniforms.push_back(plan_.sampling.temperature == 0 ? 0 : running_[i].rng.uniform());
    const nn::SampledTokens drawn = sampler_.draw(logits_nV, uniforms);
    result_.masked_mass = std::max(result_.masked_mass, drawn.masked_mass);
    result_.tokens += static_cast<int64_t>(drawn.ids.size());
    std::vector<Running> still;
    still.reserve(running_.size());
    for (size_t i = 0; i < running_.size(); ++i) {
      Running& r = running_[i];
      if (i >= begin) {
        Completion& completion = completion_of(r);
        completion.ids.push_back(drawn.ids[i - begin]);
        completion.logprobs.push_back(drawn.logprobs[i - begin]);
        if (ends(r, completion)) {
          finish(r);
          continue;
        }
      }
      still.push_back(std::move(r));
    }
    running_ = std::move(still);
  }

  bool ends(Running& r, Completion& completion) const {
    const auto& ends = model_.processor().end_of_sequence();
    const int64_t token = completion.ids.back();
    bool stopped = !plan_.past_end && std::find(ends.begin(), ends.end(), token) != ends.end();
    if (!stopped && longest_stop_ > 0) {
      r.tail += model_.processor().tokenizer().decode_bytes({&token, 1});
      for (const std::string& stop : plan_.stop) stopped = stopped || r.tail.find(stop) != std::string::npos;
      if (r.tail.size() >= longest_stop_) r.tail.erase(0, r.tail.size() - longest_stop_ + 1);
    }
    completion.finish = stopped ? FinishReason::kStop : FinishReason::kLength;
    return stopped || static_cast<int64_t>(completion.ids.size()) >= plan_.max_new_tokens;
  }

  void finish(const Running& r) {
    ++finished_;
    if (on_finished_) on_finished_(r.request, r.sample, completion_of(r));
    cache_->drop_sample(r.cache_group, r.sample);
    if (--unfinished_[r.request] > 0) return;
    cache_->drop_group(r.cache_group);
    reserved_ -= cache_need(requests_[r.request]);
  }

  Completion& completion_of(const Running& r) { return result_.completions[r.request][static_cast<size_t>(r.sample)]; }

  const models::Model model_;  // shares the policy's tensors, with packed products
  const EngineLimits& limits_;
  std::span<const Request> requests_;
  const SamplingPlan& plan_;
  const Engine::Poll& poll_;
  const Engine::Finished& on_finished_;
  nn::Sampler sampler_;
  std::unique_ptr<nn::KvCache> cache_;
  std::optional<models::StepRecorder> recorder_;
  Generation result_;
  std::vector<Running> running_;  // samples of one request stand together
  std::vector<int64_t> unfinished_;
  size_t next_ = 0, longest_stop_ = 0;
  int64_t reserved_ = 0, waiting_ = 0;  // tokens of the cache, of requests that run and of those that do not yet
  int64_t finished_ = 0;
};

}  // namespace

void RolloutConfig::describe(config::Section& section) {
  section.add("num_generations", num_generations).alias("n").at_least(1).help("samples per prompt: the group's size");
  section.add("temperature", temperature).above(0).help("the logits are divided by it, in sampling and in training");
  section.add("top_p", top_p)
      .above(0)
      .at_most(1)
      .help("sample among the likeliest tokens that reach this probability; 1: all");
  section.add("top_k", top_k).at_least(0).help("sample among this many likeliest tokens; 0: all");
  section.add("min_p", min_p)
      .at_least(0)
      .at_most(1)
      .help("sample among tokens with at least this share of the likeliest one's probability; 0: all");
  section.add("max_completion_length", max_completion_length)
      .alias("max_response_length")
      .at_least(1)
      .help("longest completion, in tokens");
  section.add("max_prompt_length", max_prompt_length)
      .at_least(1)
      .unset_means("no limit")
      .help("puzzles with a longer prompt are drawn anew, in tokens");
  section.add("kv_cache_gib", kv_cache_gib)
      .above(0)
      .unset_means("4, but no more than a quarter of the free memory; on a GPU, most of what is free")
      .help(
          "room for keys and values while sampling, in GiB; prompts wait until there is room for them and the longest "
          "completions. What is sampled does not depend on it")
      .changeable();
  section.add("cuda_graphs", cuda_graphs)
      .help(
          "on CUDA: record decoding steps and repeat them, so that the host's part in them falls away; where models "
          "are "
          "small that is most of the time")
      .changeable("sums may differ in their last bits");
  section.add("stop", stop).help("texts that end a sample; kept in it");
  section.add("replay", replay)
      .unset_means("sample")
      .help("JSONL of completions with rewards and groups that every step reads instead of sampling");
}

int64_t cache_bytes_per_token(const models::TextConfig& config, at::ScalarType dtype) {
  return 2 * config.layers * config.key_heads * config.head_dim * static_cast<int64_t>(c10::elementSize(dtype));
}

EngineLimits limits_for(const models::Model& model, const RolloutConfig& config, nn::GraphRecorder::Warn warn) {
  constexpr int64_t kGib = int64_t{1} << 30;
  const int64_t left = nn::memory_left(model.device()).value_or(16 * kGib);
  // On a GPU the sampler has the memory to itself: an update's tensors come later. A part of it is for logits and what
  // lies between blocks.
  int64_t bytes = model.device().is_cpu() ? std::min(4 * kGib, left / 4) : std::max(left / 4, left / 5 * 3 - 3 * kGib);
  if (config.kv_cache_gib) bytes = static_cast<int64_t>(*config.kv_cache_gib * (1 << 30));
  EngineLimits limits;
  limits.cache_tokens = std::max<int64_t>(1, bytes / cache_bytes_per_token(model.config().text, model.dtype()));
  if (config.cuda_graphs && model.device().is_cuda())
    limits.recorder = nn::make_graph_recorder(model.device(), std::move(warn));
  return limits;
}

const char* finish_name(FinishReason reason) { return reason == FinishReason::kStop ? "stop" : "length"; }

Generation Engine::generate(std::span<const Request> requests, const SamplingPlan& plan, const Poll& poll,
                            const Finished& finished) const {
  const at::NoGradGuard no_grad;
  SSL4RL_CHECK(plan.max_new_tokens > 0, "max_new_tokens {}", plan.max_new_tokens);
  return Session(model_, limits_, requests, plan, poll, finished).run();
}

}  // namespace ssl4rl::rollout
