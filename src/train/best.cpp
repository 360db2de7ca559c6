#include "ssl4rl/train/best.h"

#include <algorithm>
#include <nlohmann/json.hpp>

#include "ssl4rl/base/error.h"
#include "ssl4rl/io/file.h"
#include "ssl4rl/io/jsonl.h"

namespace ssl4rl::train {
namespace fs = std::filesystem;
namespace {

using Json = nlohmann::ordered_json;

struct Scored {
  int64_t step = 0;
  double score = 0;
};

fs::path file_of(const fs::path& run_folder) { return run_folder / "eval" / "best.json"; }

std::vector<Scored> read(const fs::path& run_folder) {
  std::vector<Scored> all;
  const fs::path file = file_of(run_folder);
  if (!fs::exists(file)) return all;
  const Json json = io::read_json(file);
  try {
    for (const Json& entry : json.at("evaluations")) all.push_back({entry.at("step"), entry.at("score")});
  } catch (const Json::exception& e) {
    fail("{}: {}", file.string(), io::parse_error_text(e));
  }
  return all;
}

std::vector<int64_t> best_of(std::vector<Scored> all, int64_t count) {
  std::stable_sort(all.begin(), all.end(), [](const Scored& a, const Scored& b) { return a.score > b.score; });
  std::vector<int64_t> steps;
  for (const Scored& scored : all)
    if (static_cast<int64_t>(steps.size()) < count) steps.push_back(scored.step);
  return steps;
}

}  // namespace

std::vector<int64_t> note_score(const fs::path& run_folder, int64_t step, double score, int64_t count) {
  std::vector<Scored> all = read(run_folder);
  std::erase_if(all, [step](const Scored& scored) { return scored.step >= step; });
  all.push_back({step, score});
  const std::vector<int64_t> best = best_of(all, count);
  Json evaluations = Json::array();
  for (const Scored& scored : all) evaluations.push_back({{"step", scored.step}, {"score", scored.score}});
  io::make_folder(file_of(run_folder).parent_path());
  io::write_file(file_of(run_folder), Json{{"best", best}, {"evaluations", evaluations}}.dump(2) + "\n");
  return best;
}

std::vector<int64_t> best_steps(const fs::path& run_folder, int64_t count) { return best_of(read(run_folder), count); }

}  // namespace ssl4rl::train
