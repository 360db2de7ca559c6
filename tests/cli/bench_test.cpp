// ssl4rl bench: what it prints; the figures themselves are the machine's.
#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

#include "support/data.h"
#include "support/program.h"

namespace ssl4rl {
namespace {

using Json = nlohmann::ordered_json;

TEST(Bench, MeasuresEveryCombinationOfShapes) {
  const Outcome outcome = run_program({"bench", "--model", (test_data() / "tiny_qwen2_5_vl").string(), "--prompts", "1",
                                       "--num-generations", "2,3", "--new-tokens", "4", "--image-size", "56",
                                       "--prompt-tokens", "60,90", "--repeats", "1", "--json", "--quiet"});
  ASSERT_EQ(outcome.status, 0) << outcome.err;
  const Json result = Json::parse(outcome.out);
  EXPECT_EQ(result["dtype"], "float32");
  EXPECT_GT(result["machine"]["sgemm_gflops"].get<double>(), 0);
  EXPECT_GT(result["machine"]["read_gb_per_s"].get<double>(), 0);
  ASSERT_EQ(result["cases"].size(), 4u);
  double last = 0;
  for (const Json& row : result["cases"]) {
    EXPECT_LE(row["prompt_tokens"].get<int>(), row["prompt_tokens"].get<int>() > 60 ? 90 : 60);
    EXPECT_EQ(row["image_tokens"], 8) << "two images of 56 pixels a side, 28 a token";
    for (const char* part : {"generation", "update"}) {
      EXPECT_GT(row[part]["tokens_per_second"].get<double>(), 0) << part;
      EXPECT_GT(row[part]["share_of_sgemm_peak"].get<double>(), 0) << part;
      EXPECT_GT(row["peak_memory_gib"][part].get<double>(), 0) << part;
    }
    // A backward pass takes two forward passes' work.
    EXPECT_NEAR(row["update"]["gflop"].get<double>(), 3 * row["generation"]["gflop"].get<double>(),
                0.01 * row["update"]["gflop"].get<double>());
    EXPECT_GT(row["update"]["gflop"].get<double>(), last) << "longer prompts and more samples are more work";
    last = row["update"]["gflop"].get<double>();
  }
}

TEST(Bench, ComplainsOfWrongShapes) {
  const std::string model = (test_data() / "tiny_qwen2_5_vl").string();
  const auto expect_error = [](const std::vector<std::string>& arguments, const std::string& part) {
    const Outcome outcome = run_program(arguments);
    EXPECT_EQ(outcome.status, 2);
    EXPECT_NE(outcome.err.find(part), std::string::npos) << outcome.err;
  };
  expect_error({"bench"}, "either --model or --preset");
  expect_error({"bench", "--model", model, "--prompt-tokens", "3"}, "--prompt-tokens 3");
  expect_error({"bench", "--model", model, "--num-generations", "2,0"}, "at least 1");
}

}  // namespace
}  // namespace ssl4rl
