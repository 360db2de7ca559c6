// What the tasks read: wordings (YAML), lists of images (text and JSON lines), a curriculum's state.
#include "ssl4rl/tasks/curriculum.h"

#include <nlohmann/json.hpp>

#include "ssl4rl/tasks/image_source.h"
#include "ssl4rl/tasks/mixture.h"
#include "ssl4rl/tasks/wording.h"
#include "target.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace ssl4rl;
  const std::string_view bytes(reinterpret_cast<const char*>(data), size);
  static const std::vector<tasks::TaskConfig> two = [] {
    std::vector<tasks::TaskConfig> list{tasks::make_task_config("rotation"), tasks::make_task_config("jigsaw")};
    tasks::resolve_tasks(list, /*curriculum=*/true);
    return list;
  }();
  std::string messages;
  const auto try_to = [&messages](const std::function<void()>& action) {
    fuzz::guarded(action);
    messages += fuzz::outcome();
  };
  try_to([&] {
    tasks::PromptConfig config;
    config.wording = (fuzz::folder() / "prompts.yaml").string();
    fuzz::put(*config.wording, bytes);
    const tasks::Wording wording(config, two);
  });
  for (const char* name : {"list.txt", "list.jsonl"})
    try_to([&] {
      tasks::DataConfig config;
      config.images = {fuzz::folder() / name};
      fuzz::put(config.images.front(), bytes);
      const auto split = tasks::split_images(config, 1);
      for (int64_t i = 0; i < std::min<int64_t>(split.training->size(), 4); ++i) (void)split.training->load(i, "fuzz");
    });
  try_to([&] {
    tasks::CurriculumConfig config;
    config.mode = tasks::CurriculumConfig::Mode::kAuto;
    tasks::Curriculum curriculum(config, two, 4);
    curriculum.restore(std::string(bytes));
    const auto next = nlohmann::json::parse(curriculum.state())["step"].get<int64_t>() + 1;
    for (int64_t step = next; step < next + tasks::Curriculum::kLag; ++step) {
      (void)curriculum.levels(step);
      curriculum.record(step, {});
    }
  });
  fuzz::outcome() = messages;
  return 0;
}
