// The configurations that are shipped and the page that describes the keys.
#include <gtest/gtest.h>

#include <cstdlib>

#include "ssl4rl/cli/run_config.h"
#include "ssl4rl/io/file.h"
#include "ssl4rl/tasks/mixture.h"

namespace ssl4rl::cli {
namespace {
namespace fs = std::filesystem;

const fs::path kSource = SSL4RL_SOURCE_DIR;

TEST(Configs, EachOneReadsAndHoldsTogether) {
  int count = 0;
  for (const auto& entry : fs::recursive_directory_iterator(kSource / "configs")) {
    if (entry.path().extension() != ".yaml" || entry.path().filename() == "prompts.yaml") continue;
    SCOPED_TRACE(entry.path().string());
    RunConfig config;
    read_run_config(config, entry.path(), {});
    config.train.check();
    tasks::resolve_tasks(config.tasks);
    EXPECT_NO_THROW(tasks::Wording(config.prompt, config.tasks));
    ++count;
  }
  EXPECT_GE(count, 3);
}

TEST(Configs, TheResolvedOneReadsBackToTheSame) {
  RunConfig config, again;
  read_run_config(config, kSource / "configs/demo/grpo.yaml",
                  {"algorithm.kl_loss_coef=0.25", "tasks.rotation.weight=2"});
  EXPECT_EQ(config.algorithm.beta, 0.25);
  EXPECT_EQ(config.tasks[0].weight, 2);
  const std::string yaml = config::to_yaml(config.describe());
  config::Section root = again.describe();
  config::read_text(root, yaml, "resolved", "/");
  EXPECT_EQ(config::to_yaml(again.describe()), yaml);
}

// docs/configuration.md is made from the table of keys: SSL4RL_WRITE_DOCS=1 build/release/bin/cli_test
TEST(Configs, TheDocumentationListsTheKeysAsTheyAre) {
  const fs::path page = kSource / "docs/configuration.md";
  if (std::getenv("SSL4RL_WRITE_DOCS")) io::write_file(page, configuration_markdown());
  EXPECT_TRUE(io::read_file(page) == configuration_markdown()) << "run: SSL4RL_WRITE_DOCS=1 build/release/bin/cli_test";
}

}  // namespace
}  // namespace ssl4rl::cli
