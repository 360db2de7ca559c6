#include "ssl4rl/train/place.h"

#include <gtest/gtest.h>

#include <map>

#include "support/errors.h"

namespace ssl4rl::train {
namespace {

Place place_in(const std::map<std::string, std::string>& variables) {
  return find_place([&](const std::string& name) -> std::optional<std::string> {
    const auto found = variables.find(name);
    if (found == variables.end()) return {};
    return found->second;
  });
}

std::map<std::string, std::string> slurm_step() {
  return {{"SLURM_PROCID", "5"},
          {"SLURM_NTASKS", "7"},
          {"SLURM_LOCALID", "1"},
          {"SLURM_NODEID", "2"},
          {"SLURM_JOB_ID", "4711"},
          {"SLURM_STEP_ID", "0"},
          {"SLURM_STEP_NODELIST", "gpu[07-08,11]"},
          {"SLURM_STEP_TASKS_PER_NODE", "2(x3),1"}};
}

TEST(Place, WithoutAnybodysVariablesIsAProcessAlone) {
  EXPECT_EQ(place_in({}).ranks, 1);
  EXPECT_EQ(place_in({{"RANK", "3"}}).ranks, 1) << "half of torchrun's is none";
}

TEST(Place, OfASlurmStepIsReadFromItsEnvironment) {
  const Place place = place_in(slurm_step());
  EXPECT_EQ(place.rank, 5);
  EXPECT_EQ(place.ranks, 7);
  EXPECT_EQ(place.local_rank, 1);
  EXPECT_EQ(place.local_ranks, 2);
  EXPECT_EQ(place.host, "gpu07");
  auto other_rank = slurm_step(), other_step = slurm_step(), other_job = slurm_step();
  other_rank["SLURM_PROCID"] = "0";
  other_step["SLURM_STEP_ID"] = "1";
  other_job["SLURM_JOB_ID"] = "4712";
  EXPECT_EQ(place_in(other_rank).port, place.port);
  EXPECT_NE(place_in(other_step).port, place.port);
  EXPECT_NE(place_in(other_job).port, place.port);
  EXPECT_TRUE(place.port > 1024 && place.port < 32768) << place.port;
}

TEST(Place, OfABatchScriptItselfIsAProcessAlone) {
  auto variables = slurm_step();
  variables.erase("SLURM_STEP_NODELIST");
  EXPECT_EQ(place_in(variables).ranks, 1);
}

TEST(Place, OfTorchrunIsReadFromItsEnvironmentEvenInsideSlurm) {
  auto variables = slurm_step();
  variables.insert({{"RANK", "1"},
                    {"WORLD_SIZE", "4"},
                    {"LOCAL_RANK", "1"},
                    {"LOCAL_WORLD_SIZE", "2"},
                    {"MASTER_ADDR", "10.0.0.7"},
                    {"MASTER_PORT", "29400"}});
  const Place place = place_in(variables);
  EXPECT_EQ(place.rank, 1);
  EXPECT_EQ(place.ranks, 4);
  EXPECT_EQ(place.local_ranks, 2);
  EXPECT_EQ(place.host, "10.0.0.7");
  EXPECT_EQ(place.port, 29400);
  EXPECT_FALSE(place.served);
  variables.insert({{"TORCHELASTIC_USE_AGENT_STORE", "True"}, {"TORCHELASTIC_RESTART_COUNT", "2"}});
  EXPECT_TRUE(place_in(variables).served);
  EXPECT_EQ(place_in(variables).attempt, "2");
}

TEST(Place, NamesTheVariableThatIsMissingOrWrong) {
  EXPECT_NE(error_of([] {
              (void)place_in({{"RANK", "0"}, {"WORLD_SIZE", "2"}});
            }).find("MASTER_ADDR is missing"),
            std::string::npos);
  EXPECT_NE(error_of([] {
              (void)place_in({{"RANK", "x"}, {"WORLD_SIZE", "2"}});
            }).find("RANK: expected a number"),
            std::string::npos);
  EXPECT_NE(error_of([] {
              (void)place_in({{"RANK", "2"}, {"WORLD_SIZE", "2"}, {"MASTER_ADDR", "h"}, {"MASTER_PORT", "1"}});
            }).find("contradict"),
            std::string::npos);
}

TEST(Place, ReadsSlurmsListsOfHosts) {
  const std::pair<const char*, const char*> cases[] = {{"node7", "node7"},
                                                       {"node[01-04,07]", "node01"},
                                                       {"node[5,8-9],login", "node5"},
                                                       {"a,b[1-2]", "a"},
                                                       {"rack[1-2]n[03-04]-ib", "rack1n03-ib"},
                                                       {"cn-[0009-0010].cluster", "cn-0009.cluster"}};
  for (const auto& [list, host] : cases) EXPECT_EQ(first_host(list), host);
  EXPECT_NE(error_of([] { (void)first_host("node[1-2"); }), "");
  EXPECT_NE(error_of([] { (void)first_host(""); }), "");
}

TEST(Place, ReadsSlurmsListsOfTasks) {
  EXPECT_EQ(tasks_on_node("4", 0), 4);
  EXPECT_EQ(tasks_on_node("2(x3),1", 2), 2);
  EXPECT_EQ(tasks_on_node("2(x3),1", 3), 1);
  EXPECT_NE(error_of([] { (void)tasks_on_node("two", 0); }), "");
}

}  // namespace
}  // namespace ssl4rl::train
