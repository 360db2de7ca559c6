#include "ssl4rl/rollout/engine.h"

#include <gtest/gtest.h>

#include <set>

#include "ssl4rl/models/step_recorder.h"
#include "support/model_cases.h"

namespace ssl4rl::rollout {
namespace {

class EngineTest : public testing::Test {
 protected:
  EngineTest() : model_(load_tiny()), cases_(model_cases()) {
    for (const ModelCase& c : cases_)
      prompts_.push_back(model_->processor().encode(c.messages, c.images, c.min_pixels, c.max_pixels));
  }

  Generation generate(int64_t samples, const SamplingPlan& plan, EngineLimits limits = {}) const {
    std::vector<Request> requests;
    for (size_t i = 0; i < prompts_.size(); ++i) requests.push_back({&prompts_[i], samples, i, 0});
    return Engine(*model_, limits).generate(requests, plan);
  }
  std::vector<float> scored(size_t which, const std::vector<int64_t>& ids, double temperature) const {
    const at::NoGradGuard no_grad;
    const std::vector<models::PackedGroup> groups{{&prompts_[which], {ids}}};
    const at::Tensor values =
        model_->completion_logprobs(models::pack(groups, model_->config().ids.image, at::kCPU), temperature).logprob_T;
    return {values.const_data_ptr<float>(), values.const_data_ptr<float>() + values.numel()};
  }

  std::unique_ptr<models::Model> model_;
  std::vector<ModelCase> cases_;
  std::vector<models::Prompt> prompts_;
};

TEST_F(EngineTest, GreedyContinuationsEqualTransformersWithAllPromptsTogether) {
  const Generation all = generate(2, {{0, 1, 0}, 24, {}, 0});
  for (size_t i = 0; i < cases_.size(); ++i)
    for (const Completion& completion : all.completions[i])
      EXPECT_EQ(completion.ids, cases_[i].greedy_ids) << cases_[i].id;
}

TEST_F(EngineTest, RecordedLogProbsAreThoseOfTheTrainingForward) {
  for (const double temperature : {1.0, 0.6}) {
    const Generation drawn = generate(3, {{temperature, 0.9, 40}, 30, {}, 7});
    for (size_t i = 0; i < cases_.size(); ++i)
      for (const Completion& completion : drawn.completions[i]) {
        const auto expected = scored(i, completion.ids, temperature);
        ASSERT_EQ(expected.size(), completion.logprobs.size());
        for (size_t t = 0; t < expected.size(); ++t)
          EXPECT_NEAR(completion.logprobs[t], expected[t], 2e-4) << cases_[i].id << " " << t;
      }
  }
}

TEST_F(EngineTest, ForbiddenIdsAreNeverDrawnAndTheirMassIsReported) {
  const Generation drawn = generate(20, {{3, 1, 0}, 20, {}, 1});
  for (const auto& group : drawn.completions)
    for (const Completion& completion : group)
      for (const int64_t id : completion.ids) EXPECT_FALSE(model_->processor().forbidden().is[static_cast<size_t>(id)]);
  EXPECT_GT(drawn.masked_mass, 0.01) << "a flat distribution over 576 rows gives 53 forbidden ones some mass";
}

TEST_F(EngineTest, SamplesDependOnSeedKeyAndNumber) {
  const Generation a = generate(4, {{1, 1, 0}, 16, {}, 5}), b = generate(4, {{1, 1, 0}, 16, {}, 6});
  std::set<std::vector<int64_t>> distinct;
  for (size_t i = 0; i < cases_.size(); ++i)
    for (size_t s = 0; s < 4; ++s) {
      EXPECT_NE(a.completions[i][s].ids, b.completions[i][s].ids);
      distinct.insert(a.completions[i][s].ids);
    }
  EXPECT_EQ(distinct.size(), 4 * cases_.size());
}

TEST_F(EngineTest, KeptFeaturesOfImagesTakeThePlaceOfTheTower) {
  SamplingPlan plan{{1, 1, 0}, 12, {}, 5};
  plan.keep_features = true;
  const Generation drawn = generate(2, plan, {.prefill_tokens = 100});
  ASSERT_EQ(drawn.features.size(), prompts_.size());
  std::vector<std::vector<float>> by_tower;
  for (size_t i = 0; i < prompts_.size(); ++i) by_tower.push_back(scored(i, drawn.completions[i][0].ids, 1));
  size_t with_images = 0;
  for (size_t i = 0; i < prompts_.size(); ++i) {
    ASSERT_EQ(drawn.features[i].tokens_MD.defined(), !prompts_[i].images.empty());
    if (prompts_[i].images.empty()) continue;
    prompts_[i].features = drawn.features[i];
    prompts_[i].images.front().values.zero_();  // nobody looks at them any more
    ++with_images;
  }
  ASSERT_GT(with_images, 1U);
  for (size_t i = 0; i < prompts_.size(); ++i) {
    const auto known = scored(i, drawn.completions[i][0].ids, 1);
    for (size_t t = 0; t < known.size(); ++t) EXPECT_NEAR(known[t], by_tower[i][t], 1e-5) << cases_[i].id << " " << t;
  }
  const Generation again = generate(2, plan);
  for (size_t i = 0; i < prompts_.size(); ++i)
    for (size_t s = 0; s < 2; ++s) EXPECT_EQ(again.completions[i][s].ids, drawn.completions[i][s].ids) << cases_[i].id;
}

// Recorded steps are filled up and repeated; on the CPU the work is done anew on the same tensors.
TEST_F(EngineTest, RecordedStepsDrawWhatStepsOfTheirOwnDraw) {
  model_ = load_tiny(tiny_model(), at::kDouble);
  const SamplingPlan plan{{1, 1, 0}, 70, {}, 5};
  const Generation plain = generate(3, plan),
                   recorded = generate(3, plan, {.recorder = nn::make_graph_recorder(at::kCPU)});
  const Generation admitted = generate(3, plan, {.cache_tokens = 700, .recorder = nn::make_graph_recorder(at::kCPU)});
  std::set<size_t> lengths;
  for (size_t i = 0; i < prompts_.size(); ++i)
    for (size_t s = 0; s < 3; ++s) {
      lengths.insert(plain.completions[i][s].ids.size());
      EXPECT_EQ(recorded.completions[i][s].ids, plain.completions[i][s].ids) << cases_[i].id;
      EXPECT_EQ(admitted.completions[i][s].ids, plain.completions[i][s].ids) << cases_[i].id;
      for (size_t t = 0; t < plain.completions[i][s].logprobs.size(); ++t)
        EXPECT_NEAR(recorded.completions[i][s].logprobs[t], plain.completions[i][s].logprobs[t], 1e-6);
    }
  EXPECT_GT(lengths.size(), 1U) << "samples end at different steps";
}

// Steps of one group's rows, recorded, with its keys and values where no prompt has been.
class StepRecorderTest : public EngineTest {
 protected:
  StepRecorderTest() {
    model_ = load_tiny(tiny_model(), at::kDouble);
    cache_ = model_->make_cache();
  }
  static std::vector<nn::DecodeRow> rows(int64_t group, int64_t count, int64_t position) {
    std::vector<nn::DecodeRow> rows;
    for (int64_t s = 0; s < count; ++s) rows.push_back({group, s, position});
    return rows;
  }
  at::Tensor step(models::StepRecorder& recorder, const std::vector<nn::DecodeRow>& rows) const {
    const std::vector<int64_t> ids(rows.size(), 5), positions(rows.size(), 30 + rows[0].position);
    return recorder.decode(rows, ids, positions);
  }

  const at::NoGradGuard no_grad_;
  std::unique_ptr<nn::KvCache> cache_;
  std::shared_ptr<nn::GraphRecorder> graphs_ = nn::make_graph_recorder(at::kCPU);
};

TEST_F(StepRecorderTest, RepeatsWhatItHasRecorded) {
  models::StepRecorder recorder(*model_, *cache_, *graphs_);
  const int64_t group = cache_->add_group(30, 20);
  (void)step(recorder, rows(group, 20, 0));
  for (int64_t position = 0; position < 60; ++position) (void)step(recorder, rows(group, 3, position));
  EXPECT_EQ(recorder.recorded(), 2U) << "twenty rows, and three";
  (void)step(recorder, rows(group, 2, 60));
  EXPECT_EQ(recorder.recorded(), 2U) << "two rows are filled up like three";
  for (int64_t position = 61; position < 70; ++position) (void)step(recorder, rows(group, 2, position));
  EXPECT_EQ(recorder.recorded(), 3U) << "from position 64 on a step reaches further";
  for (const int64_t count : {20, 3, 17, 8}) (void)step(recorder, rows(group, count, 20));
  EXPECT_EQ(recorder.recorded(), 3U) << "both numbers of rows have been seen";
  (void)step(recorder, rows(group, 3, 128));
  EXPECT_EQ(recorder.recorded(), 4U) << "the cache has grown";
  (void)step(recorder, rows(group, 3, 5));
  EXPECT_EQ(recorder.recorded(), 5U) << "what reads the old one is not used";
}

TEST_F(StepRecorderTest, RecordsAnewWhenAGroupsTensorsAreMadeAnew) {
  models::StepRecorder recorder(*model_, *cache_, *graphs_);
  for (size_t round = 1; round <= 3; ++round) {
    const int64_t group = cache_->add_group(30, 4);
    for (int64_t position = 0; position < 5; ++position) (void)step(recorder, rows(group, 4, position));
    EXPECT_EQ(recorder.recorded(), round);
    cache_->drop_group(group);
  }
  const int64_t first = cache_->add_group(30, 4);
  (void)step(recorder, rows(first, 4, 0));
  const int64_t second = cache_->add_group(30, 4);
  (void)step(recorder, rows(first, 4, 1));
  EXPECT_EQ(recorder.recorded(), 5U) << "the pool has grown";
  cache_->drop_group(second);
  (void)cache_->add_group(31, 4);
  (void)step(recorder, rows(first, 4, 2));
  EXPECT_EQ(recorder.recorded(), 5U) << "a slot that was there";
}

TEST_F(StepRecorderTest, KeepsThoseThatWereUsedLast) {
  models::StepRecorder recorder(*model_, *cache_, *graphs_);
  const int64_t group = cache_->add_group(30, 96);
  const std::vector<int64_t> counts{96, 64, 56, 48, 40, 32, 24, 16, 8};
  for (const int64_t position : {0, 64})
    for (const int64_t count : counts) (void)step(recorder, rows(group, count, position));
  EXPECT_EQ(recorder.recorded(), 18U);
  EXPECT_EQ(recorder.kept(), models::StepRecorder::kKept);
  for (const int64_t count : counts) (void)step(recorder, rows(group, count, 64));
  (void)step(recorder, rows(group, 56, 0));
  EXPECT_EQ(recorder.recorded(), 18U) << "they are all there";
  (void)step(recorder, rows(group, 96, 0));
  EXPECT_EQ(recorder.recorded(), 19U) << "the oldest has gone";
  EXPECT_EQ(recorder.kept(), models::StepRecorder::kKept);
}

TEST_F(StepRecorderTest, WarnsOnceWhereNothingCanBeRecordedAndDecodesAllTheSame) {
  struct Refusing final : nn::GraphRecorder {
    using GraphRecorder::GraphRecorder;
    std::unique_ptr<nn::Graph> make(const Work&) override { throw std::runtime_error("no room for a graph"); }
  };
  std::vector<std::string> warnings;
  const auto refusing = std::make_shared<Refusing>([&](const std::string& what) { warnings.push_back(what); });
  const SamplingPlan plan{{1, 1, 0}, 12, {}, 5};
  const Generation plain = generate(2, plan);
  for (int rollout = 0; rollout < 2; ++rollout) {
    const Generation drawn = generate(2, plan, {.recorder = refusing});
    for (size_t i = 0; i < prompts_.size(); ++i)
      for (size_t s = 0; s < 2; ++s) EXPECT_EQ(drawn.completions[i][s].ids, plain.completions[i][s].ids);
  }
  ASSERT_EQ(warnings.size(), 1U);
  EXPECT_NE(warnings[0].find("no room for a graph"), std::string::npos) << warnings[0];
}

// The products' rows depend on themselves alone (nn/packed_matrix.h), and so does all the rest.
TEST_F(EngineTest, SamplesDoNotDependOnWhatRunsBesideThemBitForBit) {
  const SamplingPlan plan{{1, 1, 0}, 16, {}, 5};
  const Generation wide = generate(4, plan), narrow = generate(4, plan, {100, 40}), fewer = generate(2, plan);
  for (size_t i = 0; i < cases_.size(); ++i) {
    const Request request{&prompts_[i], 4, i, 0};
    const Generation alone = Engine(*model_).generate({&request, 1}, plan);
    for (size_t s = 0; s < 4; ++s) {
      const Completion& expected = wide.completions[i][s];
      EXPECT_EQ(narrow.completions[i][s].ids, expected.ids) << "a small cache";
      EXPECT_EQ(narrow.completions[i][s].logprobs, expected.logprobs) << "a small cache";
      EXPECT_EQ(alone.completions[0][s].logprobs, expected.logprobs) << "one prompt alone";
      if (s < 2) {
        EXPECT_EQ(fewer.completions[i][s].logprobs, expected.logprobs) << "fewer samples";
      }
    }
  }
}

TEST_F(EngineTest, RepeatedCallsAreEqualBitForBit) {
  const SamplingPlan plan{{1, 1, 0}, 16, {}, 5};
  const Generation a = generate(4, plan), b = generate(4, plan);
  for (size_t i = 0; i < cases_.size(); ++i)
    for (size_t s = 0; s < 4; ++s) {
      EXPECT_EQ(a.completions[i][s].ids, b.completions[i][s].ids);
      EXPECT_EQ(a.completions[i][s].logprobs, b.completions[i][s].logprobs);
    }
}

TEST_F(EngineTest, SamplesEndAtEndOfSequenceAtStopStringsAndAtTheLimit) {
  const auto& ends = model_->processor().end_of_sequence();
  int stopped = 0, full = 0;
  for (const auto& group : generate(40, {{2.5, 1, 0}, 40, {}, 9}).completions)
    for (const Completion& completion : group) {
      const bool ended = std::count(ends.begin(), ends.end(), completion.ids.back()) > 0;
      EXPECT_EQ(completion.finish, ended ? FinishReason::kStop : FinishReason::kLength);
      EXPECT_TRUE(ended || completion.ids.size() == 40);
      for (size_t t = 0; t + 1 < completion.ids.size(); ++t)
        EXPECT_EQ(std::count(ends.begin(), ends.end(), completion.ids[t]), 0);
      stopped += ended;
      full += !ended;
    }
  EXPECT_GT(stopped, 3);
  EXPECT_GT(full, 3);

  const auto& tokenizer = model_->processor().tokenizer();
  for (const auto& group : generate(40, {{2.5, 1, 0}, 40, {"e", "\xc3\xa9t"}, 9}).completions)
    for (const Completion& completion : group) {
      const std::string text = tokenizer.decode_bytes(completion.ids);
      const std::string before = tokenizer.decode_bytes(std::span(completion.ids).first(completion.ids.size() - 1));
      EXPECT_EQ(before.find('e'), std::string::npos)
          << "a stop string ends the sample with the token that completes it";
      if (text.find('e') != std::string::npos) {
        EXPECT_EQ(completion.finish, FinishReason::kStop);
      }
    }
}

TEST_F(EngineTest, StopStringsMaySpanTokens) {
  // The greedy continuation is known: stop at a text that two of its tokens make together.
  const auto& tokenizer = model_->processor().tokenizer();
  const auto& ids = cases_[4].greedy_ids;
  const std::string first = tokenizer.decode_bytes(std::span(ids).subspan(8, 1)),
                    second = tokenizer.decode_bytes(std::span(ids).subspan(9, 1));
  ASSERT_FALSE(first.empty() || second.empty());
  const std::string stop = first.substr(first.size() - 1) + second.substr(0, 1);
  const Request request{&prompts_[4], 1, 0, 0};
  const Generation drawn = Engine(*model_).generate({&request, 1}, {{0, 1, 0}, 24, {stop}, 0});
  const auto& got = drawn.completions[0][0];
  EXPECT_EQ(got.finish, FinishReason::kStop);
  EXPECT_LE(got.ids.size(), 10u);
  EXPECT_NE(tokenizer.decode_bytes(got.ids).find(stop), std::string::npos);
}

TEST_F(EngineTest, ThePollMayStopTheWork) {
  std::vector<Request> requests{{&prompts_[0], 4, 0, 0}};
  int calls = 0;
  EXPECT_THROW((void)Engine(*model_).generate(requests, {{1, 1, 0}, 50, {}, 0},
                                              [&](int64_t) {
                                                if (++calls == 3) throw std::runtime_error("stop");
                                              }),
               std::runtime_error);
}

}  // namespace
}  // namespace ssl4rl::rollout
