// The program as a user meets it: exit statuses, messages, files.
#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

#include "ssl4rl/io/hash.h"
#include "ssl4rl/io/jsonl.h"
#include "support/data.h"
#include "support/images.h"
#include "support/json_lines.h"
#include "support/program.h"

namespace ssl4rl {
namespace {
namespace fs = std::filesystem;
using Json = nlohmann::ordered_json;

class Program : public testing::Test {
 protected:
  Program() { draw_pictures(images(), 8, 64); }

  [[nodiscard]] fs::path path(const std::string& name) const { return folder_.path() / name; }
  [[nodiscard]] fs::path images() const { return path("images"); }
  [[nodiscard]] static std::string model() { return (test_data() / "tiny_qwen2_5_vl").string(); }
  fs::path write(const std::string& name, const std::string& text) const {
    io::write_file(path(name), text);
    return path(name);
  }
  // A run of two short steps; `extra` is appended to the configuration.
  fs::path write_run(const std::string& extra = "") const {
    return write(
        "run.yaml",
        "model: {path: \"" + model() +
            "\"}\ndata: {images: images, min_side: 28}\nrun: {output_dir: runs}\ntasks: [rotation]\nprompt: {style: "
            "answer}\n" +
            "rollout: {num_generations: 2, max_completion_length: 4}\ntrain: {steps: 2, prompts_per_step: 2}\n" +
            extra);
  }
  // One message on standard error, none on standard output, this status.
  static void expect_error(const Outcome& outcome, int status, const std::string& part) {
    EXPECT_EQ(outcome.status, status) << outcome.err;
    EXPECT_EQ(outcome.out, "");
    const size_t at = outcome.err.find("ssl4rl: error: ");
    ASSERT_NE(at, std::string::npos) << outcome.err;
    EXPECT_NE(outcome.err.find(part, at), std::string::npos) << outcome.err;
    EXPECT_EQ(outcome.err.find('\n', at), outcome.err.size() - 1) << "one line: " << outcome.err;
  }

  TemporaryFolder folder_;
};

TEST_F(Program, HelpNamesEveryCommandAndVersionIsPrinted) {
  const Outcome help = run_program({"--help"});
  EXPECT_EQ(help.status, 0);
  for (const char* command :
       {"train", "sft", "eval", "generate", "score", "preview", "reward", "inspect", "init", "bench"}) {
    EXPECT_NE(help.out.find(command), std::string::npos) << command;
    const Outcome own = run_program({command, "--help"});
    EXPECT_EQ(own.status, 0);
    EXPECT_NE(own.out.find("--threads"), std::string::npos) << command;
  }
  EXPECT_TRUE(run_program({"--version"}).out.starts_with("ssl4rl "));
}

TEST_F(Program, WrongUsageEndsWithTwoAndSaysWhatToWrite) {
  expect_error(run_program({}), 2, "subcommand");
  expect_error(run_program({"trian"}), 2, "did you mean \"train\"?");
  expect_error(run_program({"train"}), 2, "--config is required");
  expect_error(run_program({"generate", "--model", model(), "--input", "-", "--output", "-", "--temperature", "-1"}), 2,
               "--temperature");
}

TEST_F(Program, MistakesOfTheConfigurationEndWithTwoAndNameTheirPlace) {
  const auto train = [&](const std::string& yaml) {
    return run_program({"train", "--config", write("c.yaml", yaml).string()});
  };
  const std::string place = path("c.yaml").string() + ":2: ";
  expect_error(train("run: {seed: 1}\ntrain: {lerning_rate: 1}\n"), 2,
               place + "unknown key \"train.lerning_rate\"; did you mean \"train.learning_rate\"?");
  expect_error(train("run: {seed: 1}\ntrain: {learning_rate: fast}\n"), 2,
               place + "train.learning_rate: expected a number of at least 0, found \"fast\"");
  expect_error(train("run: {seed: 1}\ntasks: [rotatoin]\n"), 2, "did you mean \"rotation\"?");
  expect_error(train("train: [\n"), 2, "not valid YAML");
  expect_error(train("model: {path: /nowhere/at/all}\ntasks: [rotation]\ntrain: {steps: 1}\ndata: {images: images}\n"),
               2, "/nowhere/at/all: no such model directory");
  expect_error(run_program({"train", "--config", path("nothing.yaml").string()}), 2, "nothing.yaml: cannot be read");
  expect_error(run_program({"train", "--config", write_run().string(), "--set", "data.images=/nowhere"}), 2,
               "/nowhere: no such folder or list");
  fs::create_directories(path("empty"));
  expect_error(
      run_program({"train", "--config", write_run().string(), "--set", "data.images=" + path("empty").string()}), 2,
      "the folder holds no image");
  EXPECT_FALSE(fs::exists(path("runs"))) << "nothing was written";
}

TEST_F(Program, ATruncatedWeightsFileIsNamed) {
  fs::copy(model(), path("model"));
  fs::resize_file(path("model/model.safetensors"), 100000);
  expect_error(
      run_program({"train", "--config", write_run().string(), "--set", "model.path=" + path("model").string()}), 2,
      "model.safetensors: truncated");
}

TEST_F(Program, ARunFolderThatCannotBeMadeIsNamedBeforeTheWork) {
  write("file", "");
  expect_error(
      run_program({"train", "--config", write_run().string(), "--set", "run.output_dir=" + path("file").string()}), 2,
      "file: expected a folder, found a file");
}

TEST_F(Program, AFullDiskIsOneMessageAndLosesNothing) {
  // A limit on the size of files stands for the full disk: the weights of a checkpoint do not fit, the metrics do.
  const Outcome outcome =
      run_program({"train", "--config", write_run().string(), "--quiet"}, "trap '' XFSZ; ulimit -f 400;");
  expect_error(outcome, 1, "cannot be written: File too large");
  EXPECT_EQ(json_lines(path("runs/run/metrics.jsonl")).size(), 2u);
  for (const auto& entry : fs::directory_iterator(path("runs/run/checkpoints")))
    ADD_FAILURE() << entry.path() << " is half a checkpoint";
  const Outcome again = run_program({"train", "--config", write_run().string(), "--resume", "auto"});
  EXPECT_EQ(again.status, 0) << again.err;
  EXPECT_TRUE(fs::exists(path("runs/run/checkpoints/step-000002/manifest.json")));
}

TEST_F(Program, ARunWritesItsDirectoryAndIsNotOverwritten) {
  const Outcome first = run_program({"train", "--config", write_run().string(), "--set", "log.completions_every=1"});
  ASSERT_EQ(first.status, 0) << first.err;
  const fs::path run = path("runs/run");
  for (const char* file : {"config.yaml", "metrics.jsonl", "completions/step-000001.jsonl",
                           "completions/step-000002.jsonl", "checkpoints/step-000002/model.safetensors",
                           "checkpoints/step-000002/trainer/state.json", "checkpoints/step-000002/manifest.json"})
    EXPECT_TRUE(fs::exists(run / file)) << file;
  EXPECT_EQ(json_lines(run / "metrics.jsonl").size(), 2u);
  const Outcome second = run_program({"train", "--config", write_run().string()});
  expect_error(second, 2, "--resume auto");
  const Outcome resumed = run_program({"train", "--config", write_run().string(), "--resume", "auto"});
  EXPECT_EQ(resumed.status, 0);
  EXPECT_NE(resumed.err.find("finished already"), std::string::npos);

  // The resolved configuration is a configuration.
  const Outcome copy =
      run_program({"train", "--config", (run / "config.yaml").string(), "--set", "run.name=copy", "--quiet"});
  EXPECT_EQ(copy.status, 0) << copy.err;
  EXPECT_EQ(json_lines(run / "metrics.jsonl")[1]["loss"], json_lines(path("runs/copy/metrics.jsonl"))[1]["loss"]);
  const Outcome inspected = run_program({"inspect", (run / "checkpoints/step-000002").string()});
  EXPECT_EQ(inspected.status, 0);
  EXPECT_NE(inspected.out.find("all files match manifest.json"), std::string::npos);
  io::write_file(run / "checkpoints/step-000002/config.json",
                 io::read_file(run / "checkpoints/step-000002/config.json") + " ");
  EXPECT_EQ(run_program({"inspect", (run / "checkpoints/step-000002").string()}).status, 1);
}

TEST_F(Program, ADryRunWritesNothing) {
  const Outcome outcome = run_program({"train", "--config", write_run().string(), "--dry-run"});
  EXPECT_EQ(outcome.status, 0) << outcome.err;
  EXPECT_NE(outcome.out.find("puzzle     rotation/000000"), std::string::npos);
  EXPECT_FALSE(fs::exists(path("runs")));
}

TEST_F(Program, EveryRecipeDryRunsOnATinyModel) {
  draw_pictures(path("large"), 8, 240);
  int count = 0;
  for (const auto& entry : fs::recursive_directory_iterator(fs::path(SSL4RL_SOURCE_DIR) / "configs")) {
    if (entry.path().extension() != ".yaml" || entry.path().filename() == "prompts.yaml") continue;
    const std::string command = entry.path().filename() == "sft.yaml" ? "sft" : "train";
    const Outcome outcome =
        run_program({command, "--config", entry.path().string(), "--set", "model.path=" + model(), "--set",
                     "data.images=" + path("large").string(), "--set", "run.output_dir=" + path("runs").string(),
                     "--set", "rollout.max_completion_length=64", "--dry-run"});
    EXPECT_EQ(outcome.status, 0) << entry.path() << ": " << outcome.err;
    EXPECT_NE(outcome.out.find("puzzle     "), std::string::npos) << entry.path() << ": " << outcome.out;
    ++count;
  }
  EXPECT_GE(count, 15);
  EXPECT_FALSE(fs::exists(path("runs")));
}

TEST_F(Program, TheFirstSignalSavesAndEndsWithItsStatus) {
  for (const auto& [signal, status] : {std::pair{"INT", 130}, {"TERM", 75}, {"USR1", 75}}) {
    const std::string name = std::string("by") + signal;
    const std::string metrics = quoted(path("runs/" + name + "/metrics.jsonl").string());
    const Outcome stopped = run_program(
        {"train", "--config", write_run().string(), "--set", "train.steps=1000000", "--set", "run.name=" + name}, "",
        " & run=$!; until [ -s " + metrics + " ]; do kill -0 $run || exit 99; sleep 0.02; done; kill -" + signal +
            " $run; wait $run");
    EXPECT_EQ(stopped.status, status) << stopped.err;
    const auto checkpoints = path("runs/" + name + "/checkpoints");
    ASSERT_TRUE(fs::exists(checkpoints));
    ASSERT_EQ(std::distance(fs::directory_iterator(checkpoints), {}), 1);
    const auto lines = json_lines(path("runs/" + name + "/metrics.jsonl"));
    EXPECT_EQ(io::read_json(fs::directory_iterator(checkpoints)->path() / "trainer/state.json")["step"].get<size_t>(),
              lines.size());
  }
}

TEST_F(Program, BrokenImagesAreSkippedAndNamed) {
  write("images/broken.png", "no picture");
  const Outcome outcome = run_program({"preview", "--config", write_run().string(), "--count", "40", "--output",
                                       path("out").string(), "--set", "data.holdout_fraction=0"});
  EXPECT_EQ(outcome.status, 0) << outcome.err;
  EXPECT_NE(outcome.err.find("broken.png"), std::string::npos);
  EXPECT_EQ(json_lines(path("out/puzzles.jsonl")).size(), 40u);
  const Json audit = io::read_json(path("out/audit.json"));
  EXPECT_EQ(audit["tasks"]["rotation"]["count"], 40);
  EXPECT_EQ(audit["tasks"]["rotation"]["skipped"][0]["source"], "broken.png");
  for (const Json& line : json_lines(path("out/puzzles.jsonl"))) {
    EXPECT_EQ(line["images"].size(), 2u) << "the original and its turned copy";
    EXPECT_EQ(line["messages"][0]["content"].size(), 3u) << "two images and the question";
    for (const auto& image : line["images"]) EXPECT_TRUE(fs::exists(path("out") / image.get<std::string>()));
  }
}

TEST_F(Program, RewardScoresTextsWithoutAModel) {
  const auto puzzles =
      write("puzzles.jsonl", R"({"id":"rotation/000001","task":"rotation","answer":"90","preset":"hardened"})"
                             "\n"
                             R"({"id":"jigsaw/000002","task":"jigsaw","answer":"2,1,3,4","preset":"hardened"})"
                             "\n");
  const auto responses =
      write("responses.jsonl", R"({"id":"jigsaw/000002","response":"<answer>2,1,4,3</answer>"})"
                               "\n"
                               R"({"id":"rotation/000001","response":"<think>so</think> <answer> 90°. </answer>"})"
                               "\n"
                               R"({"id":"rotation/000001","response":"90"})"
                               "\n");
  const Outcome outcome = run_program({"reward", "--puzzles", puzzles.string(), "--responses", responses.string(),
                                       "--output", path("out.jsonl").string(), "--set", "reward.format=0.5"});
  ASSERT_EQ(outcome.status, 0) << outcome.err;
  const auto lines = json_lines(path("out.jsonl"));
  ASSERT_EQ(lines.size(), 3u);
  EXPECT_EQ(lines[0]["reward"], 0.5);
  EXPECT_EQ(lines[0]["extracted"], "2,1,4,3");
  EXPECT_EQ(lines[1]["rewards"], Json({{"accuracy", 1.0}, {"format", 1.0}}));
  EXPECT_EQ(lines[1]["reward"], 1.5);
  EXPECT_TRUE(lines[2]["extracted"].is_null());
  write("responses.jsonl", "{\"id\": \"rotation/000009\", \"response\": \"\"}\n");
  expect_error(
      run_program({"reward", "--puzzles", puzzles.string(), "--responses", responses.string(), "--output", "-"}), 2,
      "responses.jsonl:1");
}

TEST_F(Program, GenerateAndScoreAgree) {
  const auto input = write(
      "in.jsonl",
      R"({"id":"a","mark":7,"messages":[{"role":"user","content":[{"type":"image","image":"images/000.png"},{"type":"text","text":"Which way up?"}]}]})"
      "\n"
      R"({"id":"b","messages":[{"role":"user","content":"hello"}]})"
      "\n");
  const Outcome generated =
      run_program({"generate", "--model", model(), "--input", input.string(), "--output", path("out.jsonl").string(),
                   "--max-new-tokens", "6", "--num-generations", "2"});
  ASSERT_EQ(generated.status, 0) << generated.err;
  const auto samples = json_lines(path("out.jsonl"));
  ASSERT_EQ(samples.size(), 4u);
  EXPECT_EQ(samples[1]["id"], "a");
  EXPECT_EQ(samples[1]["sample"], 1);
  EXPECT_EQ(samples[1]["mark"], 7) << "unknown fields are copied";
  std::string to_score;
  for (size_t i = 0; i < samples.size(); ++i) {
    Json line = json_lines(input)[i / 2];
    line["completion_ids"] = samples[i]["token_ids"];
    to_score += line.dump() + "\n";
  }
  const Outcome scored =
      run_program({"score", "--model", model(), "--input", write("score.jsonl", to_score).string(), "--output", "-"});
  ASSERT_EQ(scored.status, 0) << scored.err;
  const auto rows = json_lines(write("scored.jsonl", scored.out));
  ASSERT_EQ(rows.size(), 4u);
  for (size_t i = 0; i < 4; ++i) {
    EXPECT_EQ(rows[i]["prompt_ids"].size(), samples[i]["prompt_tokens"].get<size_t>());
    for (size_t t = 0; t < rows[i]["logprobs"].size(); ++t)
      EXPECT_NEAR(rows[i]["logprobs"][t].get<double>(), samples[i]["logprobs"][t].get<double>(), 1e-4);
  }
  EXPECT_FALSE(fs::exists(path("out.jsonl.partial")));
  expect_error(run_program({"score", "--model", model(), "--input",
                            write("bad.jsonl", to_score + "{\"id\": 1\n").string(), "--output", path("x").string()}),
               2, "bad.jsonl:5");
}

TEST_F(Program, ABenchmarksPromptsAndScoresNeedNoModel) {
  std::string tsv = "index\tquestion\tA\tB\tanswer\timage\n";
  for (int i = 0; i < 3; ++i)
    tsv += fmt::format("{}\tWhich one?\tred\tblue\t{}\t{}\n", i, i == 1 ? "B" : "A",
                       io::base64_encode(io::read_file(images() / "000.png")));
  const std::string file = write("own.tsv", tsv).string(), out = path("out").string();
  const Outcome asked = run_program({"eval", "--bench", file, "--dry-run", "--output", out});
  ASSERT_EQ(asked.status, 0) << asked.err;
  const auto prompts = json_lines(path("out/own/prompts.jsonl"));
  ASSERT_EQ(prompts.size(), 3u);
  EXPECT_NE(prompts[2]["messages"].dump().find("A. red"), std::string::npos);

  const auto predictions = write("own.jsonl",
                                 "{\"index\":0,\"prediction\":\"A\"}\n{\"index\":1,\"prediction\":\"A\"}\n"
                                 "{\"index\":2,\"prediction\":\"The answer is A.\"}\n");
  const Outcome scored = run_program({"eval", "--bench", file, "--predictions", predictions.string(), "--output", out});
  ASSERT_EQ(scored.status, 0) << scored.err;
  EXPECT_NEAR(io::read_json(path("out/own/result.json"))["overall"].get<double>(), 200.0 / 3, 1e-9);

  expect_error(run_program({"eval", "--bench", file, "--output", out}), 2, "--model DIR is missing");
  // An undecodable picture ends with 1, as for generate and score.
  write("cut.tsv", tsv.substr(0, tsv.size() / 2));
  expect_error(run_program({"eval", "--bench", path("cut.tsv").string(), "--dry-run", "--output", out}), 1, "cut.tsv");
  expect_error(
      run_program({"eval", "--bench", "mmbench", "--data", path("empty").string(), "--dry-run", "--output", out}), 2,
      "MMBench_DEV_EN.tsv");
}

TEST_F(Program, TheDemoPresetIsATrainableModelWithPictures) {
  ASSERT_EQ(run_program({"init", "--preset", "demo", "--output", path("demo").string(), "--quiet"}).status, 0);
  const Outcome inspected = run_program({"inspect", path("demo").string()});
  EXPECT_NE(inspected.out.find("qwen2_5_vl"), std::string::npos) << inspected.out;
  const fs::path config = fs::path(SSL4RL_SOURCE_DIR) / "configs/demo/sft.yaml";
  const Outcome run =
      run_program({"sft", "--config", config.string(), "--set", "model.path=" + path("demo").string(), "--set",
                   "data.images=" + path("demo/images").string(), "--set", "run.output_dir=" + path("runs").string(),
                   "--set", "train.steps=1", "--set", "train.warmup_steps=1"});
  EXPECT_EQ(run.status, 0) << run.err;
  const Outcome evaluated = run_program(
      {"eval", "--bench", "rotation", "--model", path("runs/sft/checkpoints/step-000001").string(), "--limit", "5"});
  EXPECT_EQ(evaluated.status, 0) << evaluated.err;
  EXPECT_EQ(json_lines(path("runs/sft/eval/rotation/predictions.jsonl")).size(), 6u)
      << "a fingerprint and five predictions";
  expect_error(run_program({"init", "--preset", "demo", "--output", path("demo").string()}), 2,
               "holds a model already");
}

}  // namespace
}  // namespace ssl4rl
