#include "ssl4rl/base/config.h"

#include <gtest/gtest.h>

#include <cstdlib>

#include "support/errors.h"

namespace ssl4rl::config {
namespace {

enum class Loss { kGrpo, kDapo };

struct Element {
  std::string name;
  double weight = 1;
  int64_t rows = 2;
  std::string show = "pair";
  void describe(Section& s) {
    s.add("name", name);
    s.add("weight", weight).at_least(0);
    if (name == "jigsaw") s.add("rows", rows).at_least(1);
    if (name == "rotation") s.add("show", show).one_of({"pair", "single"});
  }
};

struct Example {
  int64_t count = 8;
  double rate = 1e-6;
  bool flag = false;
  std::optional<int64_t> threads;
  std::vector<std::string> stop;
  std::filesystem::path folder = "runs";
  std::vector<std::filesystem::path> images;
  Loss loss = Loss::kDapo;
  std::vector<Element> tasks;

  Section describe() {
    Section root;
    Section& a = root.section("rollout", "");
    a.add("num_generations", count).alias("n").at_least(2).help("group size");
    a.add("stop", stop);
    Section& b = root.section("train", "");
    b.add("learning_rate", rate).alias("lr").above(0).at_most(1);
    b.add("flag", flag);
    b.add("threads", threads).at_least(1).unset_means("all cores").changeable("rounding");
    b.add("loss_type", loss, {{"grpo", Loss::kGrpo}, {"dapo", Loss::kDapo}, {"token-mean", Loss::kDapo}});
    Section& c = root.section("data", "");
    c.add("folder", folder);
    c.add("images", images);
    root.add("tasks", SectionList{{"rotation", "jigsaw"},
                                  [this] { tasks.clear(); },
                                  [this](const std::string& name) { tasks.push_back({name}); },
                                  [this] { return tasks.size(); },
                                  [this](size_t i, Section& s) { tasks[i].describe(s); },
                                  [](const std::string& name, Section& s) {
                                    static Element example;
                                    example.name = name;
                                    example.describe(s);
                                  }});
    return root;
  }
};

std::string error_of_yaml(const std::string& yaml) {
  Example example;
  Section root = example.describe();
  return error_of([&] { read_text(root, yaml, "f.yaml", "/base"); });
}

TEST(Config, FillsBoundMembersAndKeepsDefaults) {
  Example e;
  Section root = e.describe();
  read_text(root,
            "rollout: {num_generations: 4, stop: ['</answer>', x]}\ntrain:\n  learning_rate: 2.5e-4\n  flag: true\n",
            "f", "/base");
  EXPECT_EQ(e.count, 4);
  EXPECT_EQ(e.rate, 2.5e-4);
  EXPECT_TRUE(e.flag);
  EXPECT_EQ(e.stop, (std::vector<std::string>{"</answer>", "x"}));
  EXPECT_FALSE(e.threads.has_value());
  EXPECT_EQ(e.folder, "runs");
  EXPECT_TRUE(root.given("rollout.num_generations"));
  EXPECT_FALSE(root.given("train.threads"));
}

TEST(Config, AliasesOfKeysAndValuesMeanTheSame) {
  Example e;
  Section root = e.describe();
  read_text(root, "rollout: {n: 5}\ntrain: {lr: 0.5, loss_type: token-mean}", "f", "/base");
  EXPECT_EQ(e.count, 5);
  EXPECT_EQ(e.rate, 0.5);
  EXPECT_EQ(e.loss, Loss::kDapo);
  EXPECT_NE(to_yaml(root).find("loss_type: dapo"), std::string::npos);
}

TEST(Config, RelativePathsAreTakenFromTheFilesFolder) {
  Example e;
  Section root = e.describe();
  read_text(root, "data: {folder: a/../b, images: [../x, /y]}", "f", "/base/sub");
  EXPECT_EQ(e.folder, "/base/sub/b");
  EXPECT_EQ(e.images, (std::vector<std::filesystem::path>{"/base/x", "/y"}));
}

TEST(Config, OverridesTakeRelativePathsFromTheCurrentFolder) {
  Example e;
  Section root = e.describe();
  read_override(root, "data.images=photos");
  EXPECT_EQ(e.images.at(0), std::filesystem::current_path() / "photos");
}

TEST(Config, EnvironmentVariablesAreExpanded) {
  ASSERT_EQ(setenv("SSL4RL_TEST_ROOT", "/data", 1), 0);
  Example e;
  Section root = e.describe();
  read_text(root, "data: {folder: '${SSL4RL_TEST_ROOT}/x', images: 'a${SSL4RL_TEST_ROOT}${SSL4RL_TEST_ROOT}b'}", "f",
            "/base");
  EXPECT_EQ(e.folder, "/data/x");
  EXPECT_EQ(e.images.at(0), "/base/a/data/datab");
}

TEST(Config, ListElementsHaveKeysByTheirName) {
  Example e;
  Section root = e.describe();
  read_text(root, "tasks:\n- rotation\n- {name: jigsaw, rows: 3, weight: 0.5}", "f", "/");
  ASSERT_EQ(e.tasks.size(), 2u);
  EXPECT_EQ(e.tasks[1].rows, 3);
  read_override(root, "tasks.0.show=single");
  read_override(root, "tasks.jigsaw.weight=2");
  EXPECT_EQ(e.tasks[0].show, "single");
  EXPECT_EQ(e.tasks[1].weight, 2);
  EXPECT_EQ(error_of([&] { read_override(root, "tasks.0.rows=3"); }),
            "--set tasks.0.rows=3: unknown key \"tasks[0].rows\"; did you mean \"tasks[0].show\"?");
}

TEST(Config, ResolvedYamlReadsBackTheSame) {
  Example e;
  Section root = e.describe();
  read_text(root,
            "rollout: {stop: ['a\"b', \"line\\n\", '# x']}\ntrain: {lr: 1.0e-6, threads: 3}\ntasks: [jigsaw]\ndata: "
            "{images: [p]}",
            "f", "/b");
  const std::string yaml = to_yaml(root);
  Example again;
  Section root2 = again.describe();
  read_text(root2, yaml, "g", "/elsewhere");
  EXPECT_EQ(to_yaml(root2), yaml);
  EXPECT_EQ(again.stop, e.stop);
  EXPECT_EQ(again.rate, 1e-6);
  EXPECT_EQ(again.images.at(0), "/b/p");
}

TEST(Config, ErrorsNamePlaceKeyExpectationAndFinding) {
  EXPECT_EQ(error_of_yaml("rollout:\n  num_generation: 3"),
            "f.yaml:2: unknown key \"rollout.num_generation\"; did you mean \"rollout.num_generations\"?");
  EXPECT_EQ(error_of_yaml("train:\n  num_generations: 3"),
            "f.yaml:2: unknown key \"train.num_generations\"; did you mean \"rollout.num_generations\"?");
  EXPECT_EQ(error_of_yaml("rollout: {n: 1}"),
            "f.yaml:1: rollout.num_generations: expected an integer of at least 2, found \"1\"");
  EXPECT_EQ(error_of_yaml("rollout: {n: 2.5}"),
            "f.yaml:1: rollout.num_generations: expected an integer of at least 2, found \"2.5\"");
  EXPECT_EQ(error_of_yaml("rollout: {n: '4'}"),
            "f.yaml:1: rollout.num_generations: expected an integer of at least 2, found \"4\"");
  EXPECT_EQ(error_of_yaml("train: {lr: fast}"),
            "f.yaml:1: train.learning_rate: expected a number above 0 and at most 1, found \"fast\"");
  EXPECT_EQ(error_of_yaml("train: {lr: .nan}"),
            "f.yaml:1: train.learning_rate: expected a number above 0 and at most 1, found \".nan\"");
  EXPECT_EQ(error_of_yaml("train: {flag: yes}"), "f.yaml:1: train.flag: expected true or false, found \"yes\"");
  EXPECT_EQ(error_of_yaml("train: {loss_type: x}"),
            "f.yaml:1: train.loss_type: expected one of grpo, dapo, token-mean, found \"x\"");
  EXPECT_EQ(error_of_yaml("train: [1]"), "f.yaml:1: train: expected a map of keys, found a list");
  EXPECT_EQ(error_of_yaml("rollout: {n: 3, num_generations: 4}"),
            "f.yaml:1: rollout.num_generations is given twice (n means the same)");
  EXPECT_EQ(error_of_yaml("data: {folder: '${SSL4RL_NO_SUCH}/x'}"),
            "f.yaml:1: data.folder: the environment has no variable SSL4RL_NO_SUCH");
  EXPECT_EQ(error_of_yaml("tasks: [{name: rotate}]"),
            "f.yaml:1: tasks[0].name: expected one of rotation, jigsaw, found \"rotate\"; did you mean \"rotation\"?");
  EXPECT_EQ(error_of_yaml("tasks: [{weight: 2}]"),
            "f.yaml:1: tasks[0].name: expected one of rotation, jigsaw, found nothing");
  EXPECT_NE(error_of_yaml("a: [1").find("f.yaml:1: not valid YAML"), std::string::npos);
}

TEST(Config, AMissingFileIsNamed) {
  Example e;
  Section root = e.describe();
  EXPECT_EQ(error_of([&] { read_file(root, "/no/such.yaml"); }),
            "/no/such.yaml: cannot be read: No such file or directory");
  EXPECT_EQ(error_of([&] { read_file(root, "/tmp"); }), "/tmp: cannot be read: is a folder");
}

TEST(Config, ReferenceListsEveryKeyOnce) {
  Example e;
  Section root = e.describe();
  std::vector<std::string> paths;
  for (const auto& entry : reference(root)) paths.push_back(entry.path);
  EXPECT_EQ(paths,
            (std::vector<std::string>{"rollout.num_generations", "rollout.stop", "train.learning_rate", "train.flag",
                                      "train.threads", "train.loss_type", "data.folder", "data.images", "tasks",
                                      "tasks[].name", "tasks[].weight", "tasks[rotation].show", "tasks[jigsaw].rows"}));
  EXPECT_EQ(reference(root)[0].type, "integer of at least 2");
  EXPECT_EQ(reference(root)[4].default_value, "unset: all cores");
}

TEST(Config, NearestPicksTheSmallestEditDistance) {
  const std::vector<std::string> names{"temperature", "top_p", "top_k"};
  EXPECT_EQ(nearest("topk", names), "top_k");
  EXPECT_EQ(nearest("temprature", names), "temperature");
}

TEST(Config, DifferencesAreListedWithWhatAContinuedRunMayChange) {
  const auto read = [](Example& e, const char* yaml) {
    Section root = e.describe();
    read_text(root, yaml, "f", "/base");
  };
  Example was, is;
  read(was, "{train: {threads: 2, lr: 0.5}, tasks: [rotation, {name: jigsaw, rows: 3}]}");
  read(is, "{train: {threads: 3, learning_rate: 0.5, loss_type: grpo}, tasks: [{name: rotation, weight: 2}]}");
  std::vector<std::string> found;
  for (const Difference& d : differences(was.describe(), is.describe()))
    found.push_back(fmt::format("{}: {} -> {}{}", d.path, d.was, d.is, d.changeable ? ", " + d.note : ""));
  EXPECT_EQ(found, (std::vector<std::string>{"train.threads: 2 -> 3, rounding", "train.loss_type: dapo -> grpo",
                                             "tasks[0].weight: 1 -> 2", "tasks[1].name: \"jigsaw\" -> ",
                                             "tasks[1].weight: 1 -> ", "tasks[1].rows: 3 -> "}));
  EXPECT_TRUE(differences(is.describe(), is.describe()).empty());
}

}  // namespace
}  // namespace ssl4rl::config
