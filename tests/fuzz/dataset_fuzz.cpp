// A benchmark's table (in a form that the input's length chooses) with its options, indices and pictures, and files of
// predictions for another.
#include "ssl4rl/eval/dataset.h"
#include "ssl4rl/eval/predictions.h"
#include "target.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace ssl4rl;
  const std::string_view bytes(reinterpret_cast<const char*>(data), size);
  static const Log log(Log::Level::kOff);
  constexpr const char* kForms[] = {"table.tsv", "MMBench_DEV_EN.tsv", "MME-RealWorld-Lite.tsv", "HallusionBench.tsv",
                                    "MMVP.tsv",  "POPE.tsv",           "CV-Bench-2D.tsv"};
  const auto file = fuzz::folder() / kForms[size % std::size(kForms)], answers = fuzz::folder() / "answers.jsonl";
  fuzz::put(file, bytes);
  fuzz::put(answers, bytes);
  static const eval::Dataset whole =
      eval::load_dataset(SSL4RL_SOURCE_DIR "/tests/data/fuzz/dataset/choice.tsv", fuzz::folder(), false, log);
  std::string messages;
  for (const auto& action : std::vector<std::function<void()>>{
           [&] {
             const eval::Dataset dataset = eval::load_dataset(file.string(), fuzz::folder(), size % 2 == 1, log);
             for (const auto& picture : dataset.pictures) (void)picture.bytes();
           },
           [&] { (void)eval::read_predictions(answers, whole); }, [&] { (void)eval::read_predictions(file, whole); }}) {
    fuzz::guarded(action);
    messages += fuzz::outcome();
  }
  (void)eval::parse_python_list(bytes);
  std::filesystem::remove(file);
  fuzz::outcome() = messages;
  return 0;
}
