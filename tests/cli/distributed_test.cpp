// Runs of several processes, as a user starts them.
#include <ATen/ATen.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <sys/wait.h>

#include <chrono>
#include <cmath>
#include <nlohmann/json.hpp>
#include <thread>

#include "ssl4rl/io/jsonl.h"
#include "ssl4rl/io/safetensors.h"
#include "support/data.h"
#include "support/images.h"
#include "support/program.h"

namespace ssl4rl {
namespace {
namespace fs = std::filesystem;
using Json = nlohmann::ordered_json;
using namespace std::chrono_literals;

using Settings = std::vector<std::string>;

// A process that runs beside the test.
class Child {
 public:
  Child(const Settings& arguments, const Settings& environment, const fs::path& err) {
    Settings words{SSL4RL_PROGRAM};
    words.insert(words.end(), arguments.begin(), arguments.end());
    std::vector<char*> argv;
    for (std::string& word : words) argv.push_back(word.data());
    argv.push_back(nullptr);
    pid_ = fork();
    if (pid_ > 0) return;
    for (const std::string& variable : environment) putenv(strdup(variable.c_str()));
    if (!freopen(err.c_str(), "w", stderr)) _exit(9);
    execv(SSL4RL_PROGRAM, argv.data());
    _exit(9);
  }
  ~Child() {
    if (pid_ > 0) (void)kill(pid_, SIGKILL), (void)end();
  }
  Child(Child&& other) noexcept : pid_(std::exchange(other.pid_, 0)) {}

  [[nodiscard]] pid_t pid() const { return pid_; }
  int end() {
    int raw = 0;
    waitpid(std::exchange(pid_, 0), &raw, 0);
    return WIFEXITED(raw) ? WEXITSTATUS(raw) : 128 + WTERMSIG(raw);
  }

 private:
  pid_t pid_;
};

class Distributed : public testing::Test {
 protected:
  Distributed() {
    draw_pictures(path("images"), 8, 64);
    io::write_file(path("run.yaml"),
                   "model: {path: \"" + (test_data() / "tiny_qwen2_5_vl").string() + "\", dtype: float32}\n" +
                       "data: {images: images, min_side: 28}\nrun: {output_dir: runs, threads: 1}\n"
                       "tasks: [rotation, flip]\nprompt: {style: answer}\n"
                       // A random model's texts end by chance, so their lengths, and with them the rewards, differ.
                       "rollout: {num_generations: 4, max_completion_length: 12, stop: [e, a, \" \"]}\n"
                       "reward: {length: 1, min_length: 2, max_length: 6}\n"
                       "train: {steps: 3, prompts_per_step: 5, learning_rate: 1.0e-4}\n"
                       "log: {tensorboard: false, completions_every: 1}\n");
  }

  [[nodiscard]] fs::path path(const std::string& name) const { return folder_.path() / name; }
  [[nodiscard]] Settings arguments(const std::string& name, const Settings& keys, const Settings& more = {}) const {
    Settings all{"train", "--config", path("run.yaml").string(), "--quiet", "--set", "run.name=" + name};
    for (const std::string& key : keys) all.insert(all.end(), {"--set", key});
    all.insert(all.end(), more.begin(), more.end());
    return all;
  }
  void run(const std::string& name, int ranks, const Settings& keys, const Settings& more = {}) const {
    Settings all = arguments(name, keys, more);
    all.insert(all.end(), {"--nproc", std::to_string(ranks)});
    const Outcome outcome = run_program(all);
    ASSERT_EQ(outcome.status, 0) << outcome.err;
  }
  [[nodiscard]] fs::path checkpoint(const std::string& name, int step = 3) const {
    return path("runs") / name / fmt::format("checkpoints/step-{:06}", step);
  }
  // ‖W_a − W_b‖ / ‖W_b‖ over all tensors of one of the last checkpoints' files.
  [[nodiscard]] double difference(const std::string& a, const std::string& b,
                                  const std::string& file = "model.safetensors") const {
    const io::SafetensorsFile left(checkpoint(a) / file), right(checkpoint(b) / file);
    EXPECT_EQ(left.tensors().size(), right.tensors().size());
    double distance = 0, size = 0;
    for (const auto& [name, info] : right.tensors()) {
      const at::Tensor w = right.tensor(name).to(at::kDouble);
      distance += (left.tensor(name).to(at::kDouble) - w).square().sum().item<double>();
      size += w.square().sum().item<double>();
    }
    return std::sqrt(distance / size);
  }
  [[nodiscard]] Json metrics(const std::string& name) const {
    Json lines = Json::array();
    io::for_each_json_line(path("runs") / name / "metrics.jsonl",
                           [&](Json&& line, int64_t) { lines.push_back(std::move(line)); });
    return lines;
  }
  // Processes that a user or torchrun started one by one.
  [[nodiscard]] std::vector<Child> start_ranks(const std::vector<int>& ranks, int of, const Settings& all) const {
    const int port = 21000 + getpid() % 10000;
    std::vector<Child> children;
    for (const int rank : ranks)
      children.emplace_back(
          all,
          Settings{fmt::format("RANK={}", rank), fmt::format("WORLD_SIZE={}", of), fmt::format("LOCAL_RANK={}", rank),
                   "MASTER_ADDR=127.0.0.1", fmt::format("MASTER_PORT={}", port)},
          path(fmt::format("err-{}", rank)));
    return children;
  }
  [[nodiscard]] std::string err(int rank) const { return io::read_file(path(fmt::format("err-{}", rank))); }
  void wait_for_step(const std::string& name, int64_t step) const {
    const fs::path file = path("runs") / name / "metrics.jsonl";
    for (int i = 0; i < 600; ++i, std::this_thread::sleep_for(50ms))
      if (fs::exists(file) && io::read_file(file).find(fmt::format("{{\"step\":{},", step)) != std::string::npos)
        return;
    FAIL() << "step " << step << " did not come";
  }

  TemporaryFolder folder_;
};

TEST_F(Distributed, RanksThatWereGivenDifferentThingsToDoAreToldTheFirstDifference) {
  std::vector<Child> children = start_ranks({0}, 2, arguments("run", {"run.seed=3"}));
  for (Child& other : start_ranks({1}, 2, arguments("run", {"run.seed=4"}))) children.push_back(std::move(other));
  for (Child& child : children) EXPECT_EQ(child.end(), 2);
  const std::string both = err(0) + err(1);
  const size_t first =
      both.find("the ranks have different configurations: rank 0 has \"seed: 3\" where rank 1 has \"seed: 4\"");
  EXPECT_NE(first, std::string::npos) << both;
  EXPECT_EQ(first, both.rfind("the ranks have")) << "once: " << both;
}

TEST_F(Distributed, AnyNumberOfRanksComputesWhatOneComputesFromRecordedRollouts) {
  const Settings keys{"rollout.replay=" + (test_data() / "training/on_policy.jsonl").string(),
                      "train.prompts_per_step=4",
                      "algorithm.name=reinforce++_baseline",  // whitened over the whole batch
                      "algorithm.beta=0.1", "algorithm.num_iterations=2"};
  run("one", 1, keys);
  for (const int ranks : {2, 4}) {
    const std::string name = std::to_string(ranks);
    run(name, ranks, keys);
    EXPECT_LT(difference(name, "one"), 1e-6) << ranks;
    const Json left = metrics(name), right = metrics("one");
    ASSERT_EQ(left.size(), 3u);
    for (size_t step = 0; step < 3; ++step)
      for (const char* key : {"loss", "grad_norm", "kl", "entropy", "reward", "completions/mean_length"})
        EXPECT_NEAR(left[step][key].get<double>(), right[step][key].get<double>(), 1e-4) << key;
  }
}

TEST_F(Distributed, SampledRunsAreTheSameAndGoOnWithAnotherNumberOfRanks) {
  const Settings keys{"algorithm.name=ppo", "algorithm.scale_rewards=batch", "train.save_every=2",
                      "curriculum.mode=auto", "curriculum.window=2"};
  run("one", 1, keys);
  ASSERT_LT(metrics("one")[0]["frac_reward_zero_std"].get<double>(), 1) << "the test needs groups that teach";
  run("two", 2, keys);
  EXPECT_LT(difference("two", "one"), 1e-6);
  for (const char* file : {"completions/step-000001.jsonl", "completions/step-000003.jsonl"}) {
    std::vector<Json> lines[2];
    for (size_t i = 0; i < 2; ++i)
      io::for_each_json_line(path("runs") / (i == 0 ? "one" : "two") / file, [&](Json&& line, int64_t) {
        line.erase("advantage");
        lines[i].push_back(std::move(line));
      });
    EXPECT_EQ(lines[0], lines[1]) << file;
  }
  EXPECT_TRUE(fs::exists(path("runs/two/logs/rank-1.log")));

  fs::remove_all(checkpoint("two"));
  run("two", 1, keys, {"--resume", "auto"});
  EXPECT_LT(difference("two", "one"), 1e-6) << "saved by two, resumed by one";
  EXPECT_EQ(metrics("two").size(), 3u);
  fs::remove_all(checkpoint("one"));
  run("one", 3, keys, {"--resume", "auto"});
  EXPECT_LT(difference("two", "one"), 1e-6) << "saved by one, resumed by three";
}

TEST_F(Distributed, ShardedParametersGiveTheWeightsOfAShardedOptimizer) {
  const std::string sharded = "distributed.shard=parameters", critic = "trainer/critic_model.safetensors";
  const Settings replayed{"rollout.replay=" + (test_data() / "training/on_policy.jsonl").string(),
                          "train.prompts_per_step=4", "train.prompts_per_update=2", "algorithm.beta=0.1",
                          "algorithm.num_iterations=2"};
  const auto with = [](Settings keys, const Settings& more) {
    keys.insert(keys.end(), more.begin(), more.end());
    return keys;
  };
  const struct {
    std::string name;
    int ranks;
    Settings keys;
    std::vector<std::string> files;
  } cases[] = {
      {"plain", 2, replayed, {"model.safetensors", "trainer/optimizer.safetensors"}},
      {"cut", 4, with(replayed, {"train.micro_batch_tokens=120", "model.freeze=[vision]"}), {"model.safetensors"}},
      {"critic",
       2,
       {"algorithm.name=ppo", "algorithm.critic=separate", "train.prompts_per_step=4", "train.prompts_per_update=2"},
       {"model.safetensors", critic}},
      {"adapters",
       4,
       {"model.lora.rank=2", "algorithm.beta=0.1", "train.prompts_per_step=3", "train.learning_rate=0.01"},
       {"adapter_model.safetensors"}},
  };
  for (const auto& [name, ranks, keys, files] : cases) {
    run(name, 2, keys);
    run(name + "-sharded", ranks, with(keys, {sharded}));
    for (const std::string& file : files)
      EXPECT_LT(difference(name + "-sharded", name, file), 1e-6) << name << ": " << file;
  }
  // One micro-batch an update: the same sums, of two numbers each.
  EXPECT_EQ(io::read_file(checkpoint("plain-sharded") / "model.safetensors"),
            io::read_file(checkpoint("plain") / "model.safetensors"));
}

TEST_F(Distributed, ACheckpointOfShardedParametersIsOneOfAnyRunAndSharding) {
  const Settings whole{"algorithm.name=ppo",       "algorithm.critic=separate", "train.save_every=2",
                       "train.eval_every=2",       "train.prompts_per_step=4",  "eval.samples=2",
                       "data.holdout_fraction=0.3"};
  Settings sharded = whole;
  sharded.push_back("distributed.shard=parameters");
  run("saved", 2, sharded);
  for (const auto& [name, ranks, keys] :
       {std::tuple{"one", 1, sharded}, std::tuple{"four", 4, sharded}, std::tuple{"whole", 2, whole}}) {
    fs::create_directories(path("runs") / name);
    fs::copy(path("runs/saved"), path("runs") / name, fs::copy_options::recursive);
    fs::remove_all(checkpoint(name));
    run(name, ranks, keys, {"--resume", "auto"});
    for (const char* file : {"model.safetensors", "trainer/optimizer.safetensors", "trainer/critic_model.safetensors"})
      EXPECT_LT(difference(name, "saved", file), 1e-6) << name << ": " << file;
  }
}

TEST_F(Distributed, ShardedParametersNeedGradientCheckpointing) {
  const Outcome outcome =
      run_program(arguments("refused", {"distributed.shard=parameters", "model.gradient_checkpointing=false"}));
  EXPECT_EQ(outcome.status, 2);
  EXPECT_NE(outcome.err.find("model.gradient_checkpointing: false, but distributed.shard"), std::string::npos)
      << outcome.err;
}

TEST_F(Distributed, AKilledRankEndsAllWithAMessageThatNamesIt) {
  const auto all = arguments("killed", {"train.steps=100000"});
  auto ranks = start_ranks({0, 1, 2}, 3, all);
  wait_for_step("killed", 2);
  const auto begun = std::chrono::steady_clock::now();
  kill(ranks[1].pid(), SIGKILL);
  EXPECT_EQ(ranks[0].end(), 1);
  EXPECT_EQ(ranks[2].end(), 1);
  EXPECT_LT(std::chrono::steady_clock::now() - begun, 20s);
  EXPECT_NE((err(0) + err(2)).find("ssl4rl: error: rank 1 ("), std::string::npos) << err(0) << err(2);
}

TEST_F(Distributed, AFailureOfOneIsToldOnceAndEndsAll) {
  const Outcome outcome = run_program(arguments("failing", {"algorithm.max_logprob_gap=1e-12"}, {"--nproc", "2"}));
  EXPECT_EQ(outcome.status, 1);
  const size_t at = outcome.err.find("ssl4rl: error: rank ");
  ASSERT_NE(at, std::string::npos) << outcome.err;
  EXPECT_NE(outcome.err.find("algorithm.max_logprob_gap", at), std::string::npos) << outcome.err;
  EXPECT_EQ(outcome.err.find("error:", at + 15), std::string::npos) << outcome.err;
  const Outcome usage = run_program(arguments("failing", {"train.steps=none"}, {"--nproc", "2"}));
  EXPECT_EQ(usage.status, 2) << usage.err;
}

TEST_F(Distributed, MissingRanksAreNamed) {
  auto ranks = start_ranks({0, 2}, 4, arguments("missing", {}, {"--rendezvous-timeout", "1"}));
  EXPECT_EQ(ranks[0].end(), 2);
  EXPECT_EQ(ranks[1].end(), 2);
  EXPECT_NE(err(0).find("2 of 4 ranks have not come"), std::string::npos) << err(0);
  EXPECT_NE(err(0).find("1, 3"), std::string::npos) << err(0);
  EXPECT_FALSE(fs::exists(path("runs")));
}

TEST_F(Distributed, ASignalToOneRankStopsAllBehindTheSameStep) {
  for (const std::string shard : {"optimizer", "parameters"}) {
    auto ranks = start_ranks({0, 1}, 2, arguments(shard, {"train.steps=100000", "distributed.shard=" + shard}));
    wait_for_step(shard, 2);
    kill(ranks[1].pid(), SIGUSR1);
    EXPECT_EQ(ranks[0].end(), 75);
    EXPECT_EQ(ranks[1].end(), 75);
    const Json lines = metrics(shard);
    const int64_t last = lines.back()["step"].get<int64_t>();
    EXPECT_TRUE(fs::exists(checkpoint(shard, static_cast<int>(last)) / "manifest.json")) << last;
  }
}

}  // namespace
}  // namespace ssl4rl
