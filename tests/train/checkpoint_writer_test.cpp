#include "ssl4rl/train/checkpoint_writer.h"

#include <gtest/gtest.h>

#include "ssl4rl/io/hash.h"
#include "ssl4rl/train/best.h"
#include "support/errors.h"
#include "support/model_cases.h"
#include "support/temporary_folder.h"

namespace ssl4rl::train {
namespace {
namespace fs = std::filesystem;
using When = CheckpointWriter::When;

class Writer : public testing::Test {
 protected:
  Writer()
      : model_(load_tiny()),
        optimizer_(model_->parameters(), {}, TrainConfig{}),
        directory_(folder_.path() / "run", {}, log_) {
    directory_.open("", false);
  }

  [[nodiscard]] Snapshot state_after(int64_t step) { return {*model_, optimizer_, {.step = step}}; }
  void train() {
    for (const auto& parameter : optimizer_.parameters())
      parameter.tensor->mutable_grad() = at::ones_like(*parameter.tensor);
    optimizer_.step(0.1);
    optimizer_.clear_gradients();
  }
  [[nodiscard]] std::string hash(int64_t step, const char* file) const {
    return io::sha256_hex_of_file(directory_.checkpoint_folder(step) / file);
  }
  [[nodiscard]] std::vector<int64_t> steps() const {
    std::vector<int64_t> all;
    for (const auto& found : find_checkpoints(directory_.folder())) all.push_back(found.step);
    return all;
  }

  TemporaryFolder folder_;
  std::unique_ptr<models::Model> model_;
  AdamW optimizer_;
  TrainConfig config_;
  Log log_{Log::Level::kOff};
  RunDirectory directory_;
};

TEST_F(Writer, WhatIsTrainedMeanwhileDoesNotReachTheFiles) {
  train();
  CheckpointWriter writer(directory_, config_, log_);
  writer.save(state_after(1), When::kNow);
  writer.save(state_after(2), When::kInBackground);
  for (int i = 0; i < 5; ++i) train();
  writer.wait();
  writer.save(state_after(3), When::kNow);
  for (const char* file : {"model.safetensors", "trainer/optimizer.safetensors"}) {
    EXPECT_EQ(hash(1, file), hash(2, file)) << file;
    EXPECT_NE(hash(2, file), hash(3, file)) << file;
  }
  for (const int64_t step : {1, 2, 3}) EXPECT_EQ(damage_of(directory_.checkpoint_folder(step)), std::nullopt);
}

TEST_F(Writer, FrozenTensorsAreNotCopied) {
  AdamW language(model_->parameters(), {models::Part::kVision}, TrainConfig{});
  Snapshot snapshot(*model_, language, {.step = 1});
  const int64_t with_state = snapshot.bytes_of_copies();
  EXPECT_EQ(with_state, 3 * 4 * language.trainable() + 4 * static_cast<int64_t>(language.parameters().size()));
  snapshot.make_copies();
  const auto own = model_->parameters(), copied = snapshot.model->parameters();
  for (size_t i = 0; i < own.size(); ++i)
    EXPECT_EQ(own[i].tensor->const_data_ptr() == copied[i].tensor->const_data_ptr(),
              own[i].part == models::Part::kVision)
        << own[i].name;
}

TEST_F(Writer, AnErrorInTheBackgroundComesOutAtTheNextCheckAndTheStateCanBeSavedAgain) {
  io::write_file(directory_.folder() / "checkpoints", "in the way");
  CheckpointWriter writer(directory_, config_, log_);
  writer.save(state_after(1), When::kInBackground);
  const std::string message = error_of([&] { writer.wait(); });
  EXPECT_NE(message.find("checkpoints"), std::string::npos) << message;
  EXPECT_EQ(error_of([&] { writer.check(); }), "no error") << "it is reported once";
  fs::remove(directory_.folder() / "checkpoints");
  writer.save(state_after(1), When::kNow);
  EXPECT_EQ(steps(), std::vector<int64_t>{1});
}

TEST_F(Writer, ASavedStateIsNotWrittenTwiceAndADamagedOneIsReplaced) {
  {
    CheckpointWriter writer(directory_, config_, log_);
    writer.save(state_after(1), When::kNow);
    fs::remove(directory_.checkpoint_folder(1) / "tokenizer.json");
    writer.save(state_after(1), When::kNow);
    EXPECT_NE(damage_of(directory_.checkpoint_folder(1)), std::nullopt) << "the same step: nothing was written";
  }
  CheckpointWriter another(directory_, config_, log_);  // of a run that passed over the damaged one
  another.save(state_after(1), When::kInBackground);
  another.wait();
  EXPECT_EQ(damage_of(directory_.checkpoint_folder(1)), std::nullopt);
}

TEST_F(Writer, TheLastTheBestAndTheMultiplesStay) {
  config_.keep_last = 1;
  config_.keep_every = 3;
  config_.keep_best = 1;
  CheckpointWriter writer(directory_, config_, log_);
  for (int64_t step = 1; step <= 5; ++step) {
    (void)note_score(directory_.folder(), step, step == 2 ? 1 : 0, 1);
    writer.save(state_after(step), When::kInBackground);
  }
  writer.wait();
  EXPECT_EQ(steps(), (std::vector<int64_t>{2, 3, 5})) << "the best, a multiple of three, the last";
}

}  // namespace
}  // namespace ssl4rl::train
