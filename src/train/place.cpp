#include "ssl4rl/train/place.h"

#include <algorithm>
#include <charconv>
#include <cstdlib>

#include "ssl4rl/base/error.h"

namespace ssl4rl::train {
namespace {

constexpr int kFirstPort = 20000, kPorts = 12000;  // below the range that systems hand out by themselves

std::optional<uint64_t> to_number(const std::string& text) {
  uint64_t value = 0;
  const char* const end = text.data() + text.size();
  const auto [rest, error] = std::from_chars(text.data(), end, value);
  if (error != std::errc() || rest != end) return {};
  return value;
}

class Variables {
 public:
  explicit Variables(const Environment& environment) : environment_(environment) {}

  [[nodiscard]] std::string text(const char* name) const {
    const auto value = environment_(name);
    if (!value || value->empty()) fail("the environment variable {} is missing", name);
    return *value;
  }
  [[nodiscard]] uint64_t number(const char* name, uint64_t most) const {
    const std::string value = text(name);
    const auto parsed = to_number(value);
    if (!parsed || *parsed > most)
      fail("the environment variable {}: expected a number of at most {}, found \"{}\"", name, most, value);
    return *parsed;
  }
  [[nodiscard]] uint64_t number(const char* name, uint64_t most, uint64_t otherwise) const {
    return has(name) ? number(name, most) : otherwise;
  }
  [[nodiscard]] bool has(const char* name) const {
    const auto value = environment_(name);
    return value && !value->empty();
  }

 private:
  const Environment& environment_;
};

constexpr uint64_t kMostRanks = 1 << 20, kAny = ~uint64_t{0};

Place checked(const Place& place, const char* rank, const char* ranks) {
  if (place.ranks < 1 || place.rank >= place.ranks)
    fail("the environment variables {}={} and {}={} contradict each other", rank, place.rank, ranks, place.ranks);
  return place;
}

Place from_torchrun(const Variables& variables) {
  Place place{.rank = static_cast<int>(variables.number("RANK", kMostRanks)),
              .ranks = static_cast<int>(variables.number("WORLD_SIZE", kMostRanks))};
  if (place.ranks <= 1) return checked(place, "RANK", "WORLD_SIZE");
  place.local_rank = static_cast<int>(variables.number("LOCAL_RANK", kMostRanks, 0));
  place.local_ranks = static_cast<int>(variables.number("LOCAL_WORLD_SIZE", kMostRanks, 1));
  place.host = variables.text("MASTER_ADDR");
  place.port = static_cast<int>(variables.number("MASTER_PORT", 65535));
  place.served =
      variables.has("TORCHELASTIC_USE_AGENT_STORE") && variables.text("TORCHELASTIC_USE_AGENT_STORE") == "True";
  if (place.served) place.attempt = std::to_string(variables.number("TORCHELASTIC_RESTART_COUNT", kAny, 0));
  if (place.rank == 0 && variables.has("SSL4RL_LISTENER"))
    place.listener = static_cast<int>(variables.number("SSL4RL_LISTENER", 1 << 20));
  return checked(place, "RANK", "WORLD_SIZE");
}

Place from_slurm(const Variables& variables) {
  Place place{.rank = static_cast<int>(variables.number("SLURM_PROCID", kMostRanks)),
              .ranks = static_cast<int>(variables.number("SLURM_NTASKS", kMostRanks, 1))};
  if (place.ranks <= 1) return checked(place, "SLURM_PROCID", "SLURM_NTASKS");
  place.local_rank = static_cast<int>(variables.number("SLURM_LOCALID", kMostRanks, 0));
  if (variables.has("SLURM_STEP_TASKS_PER_NODE"))
    place.local_ranks = tasks_on_node(variables.text("SLURM_STEP_TASKS_PER_NODE"),
                                      static_cast<int>(variables.number("SLURM_NODEID", kMostRanks, 0)));
  place.host = first_host(variables.text("SLURM_STEP_NODELIST"));
  const uint64_t job = variables.number("SLURM_JOB_ID", kAny, 0), step = variables.number("SLURM_STEP_ID", kAny, 0);
  place.port = kFirstPort + static_cast<int>((job * 101 + step) % kPorts);
  return checked(place, "SLURM_PROCID", "SLURM_NTASKS");
}

}  // namespace

Environment process_environment() {
  return [](const std::string& name) -> std::optional<std::string> {
    const char* const value = std::getenv(name.c_str());
    if (!value) return {};
    return value;
  };
}

Place find_place(const Environment& environment) {
  const Variables variables(environment);
  if (variables.has("RANK") && variables.has("WORLD_SIZE")) return from_torchrun(variables);
  // A batch script itself has SLURM_PROCID too; only a step that srun started has its own list of nodes.
  if (variables.has("SLURM_PROCID") && variables.has("SLURM_STEP_NODELIST")) return from_slurm(variables);
  return {};
}

std::string first_host(const std::string& node_list) {
  std::string host;
  for (size_t i = 0; i < node_list.size() && node_list[i] != ','; ++i) {
    if (node_list[i] != '[') {
      host += node_list[i];
      continue;
    }
    const size_t close = node_list.find(']', i);
    if (close == std::string::npos) fail("SLURM_STEP_NODELIST: \"{}\": a bracket is not closed", node_list);
    host += node_list.substr(i + 1, node_list.find_first_of("-,]", i) - i - 1);
    i = close;
  }
  if (host.empty()) fail("SLURM_STEP_NODELIST: \"{}\" names no host", node_list);
  return host;
}

int tasks_on_node(const std::string& tasks_per_node, int node) {
  int first = 0;
  for (size_t begin = 0; begin < tasks_per_node.size();) {
    const size_t end = std::min(tasks_per_node.find(',', begin), tasks_per_node.size());
    const std::string entry = tasks_per_node.substr(begin, end - begin);
    const size_t open = entry.find("(x");
    const auto tasks = to_number(entry.substr(0, open));
    const auto nodes = open == std::string::npos ? std::optional<uint64_t>(1)
                                                 : to_number(entry.substr(open + 2, entry.find(')', open) - open - 2));
    if (!tasks || !nodes)
      fail("SLURM_STEP_TASKS_PER_NODE: expected a list like \"2(x3),1\", found \"{}\"", tasks_per_node);
    first += static_cast<int>(*nodes);
    if (node < first) return static_cast<int>(*tasks);
    begin = end + 1;
  }
  return 1;
}

}  // namespace ssl4rl::train
