// Puzzles a second on one thread, for each task: decoding, making, wording; no tokenizer.
//
//   SSL4RL_BENCH_IMAGES=FOLDER build/release/bin/tasks_benchmark      (frames needs a folder of numbered frames)
#include <benchmark/benchmark.h>

#include <cstdlib>

#include "ssl4rl/base/error.h"
#include "ssl4rl/tasks/mixture.h"

namespace {

using namespace ssl4rl;

void draw(benchmark::State& state, const std::string& task, tasks::Preset preset,
          const std::shared_ptr<const tasks::ImagePool>& pool) {
  std::vector<tasks::TaskConfig> configured{tasks::make_task_config(task)};
  configured[0].preset = preset;
  tasks::resolve_tasks(configured);
  const tasks::Mixture mixture(configured, tasks::Wording({}, configured), pool, 1, false);
  int64_t index = 0;
  try {
    for (auto _ : state) benchmark::DoNotOptimize(mixture.draw(index++));
  } catch (const Error& e) {
    state.SkipWithError(e.what());
  }
  state.SetItemsProcessed(state.iterations());
}

}  // namespace

int main(int argc, char** argv) {
  benchmark::Initialize(&argc, argv);
  const char* const folder = std::getenv("SSL4RL_BENCH_IMAGES");
  if (!folder) {
    std::fprintf(stderr, "tasks_benchmark: set SSL4RL_BENCH_IMAGES to a folder of images\n");
    return 2;
  }
  try {
    const auto pool = std::make_shared<const tasks::ImagePool>(tasks::find_images({folder}), 56);
    for (const std::string& task : tasks::task_names())
      for (const tasks::Preset preset : {tasks::Preset::kHardened, tasks::Preset::kPaper})
        if (preset == tasks::Preset::kHardened || tasks::make_task(task)->in_paper())
          benchmark::RegisterBenchmark((task + "/" + tasks::preset_name(preset)).c_str(),
                                       [=](benchmark::State& state) { draw(state, task, preset, pool); });
    benchmark::RunSpecifiedBenchmarks();
  } catch (const Error& e) {
    std::fprintf(stderr, "tasks_benchmark: %s\n", e.what());
    return 2;
  }
}
