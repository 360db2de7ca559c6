#include "ssl4rl/eval/benchmark.h"

#include <algorithm>

#include "ssl4rl/text/unicode.h"

namespace ssl4rl::eval {
namespace {

Benchmark known(std::string name, std::string dataset, Kind kind, std::vector<std::string> md5) {
  Benchmark b{.name = std::move(name), .dataset = std::move(dataset), .kind = kind, .md5 = std::move(md5)};
  b.file = b.dataset + ".tsv";
  b.image_folder = b.dataset;
  return b;
}

Benchmark mmbench(std::string name, std::string dataset, std::string images, std::vector<std::string> md5) {
  Benchmark b = known(std::move(name), std::move(dataset), Kind::kMultipleChoice, std::move(md5));
  b.circular = true;
  b.inference_only = b.dataset.find("TEST") != std::string::npos;
  b.image_folder = std::move(images);
  return b;
}

Benchmark mme_realworld_lite() {
  Benchmark b =
      known("mme_realworld_lite", "MME-RealWorld-Lite", Kind::kMmeRealWorld, {"4c17057d7d3b6c4a0d4397c3dae0881c"});
  b.file = "mme_realworld_lite.tsv";
  return b;
}

Benchmark imagenet() {
  Benchmark b = known("imagenet", "ImageNet", Kind::kMultipleChoice, {});
  b.folder_of_classes = true;
  return b;
}

}  // namespace

const std::vector<Benchmark>& benchmarks() {
  static const std::vector<Benchmark> all{
      mmbench("mmbench", "MMBench_DEV_EN", "MMBench", {"b6caf1133a01c6bb705cf753bb527ed8"}),
      mmbench("mmbench_v11", "MMBench_DEV_EN_V11", "MMBench_V11", {"30c05be8f2f347a50be25aa067248184"}),
      mmbench("mmbench_test", "MMBench_TEST_EN", "MMBench", {"6939fadb0ce626fefc0bdc9c64efc528"}),
      mmbench("mmbench_test_v11", "MMBench_TEST_EN_V11", "MMBench_V11",
              {"8d1a704e791df6f5d9fb3ef782b65365", "26f0f15381a21720255091d3e0316ce6"}),
      known("seedbench", "SEEDBench_IMG", Kind::kMultipleChoice, {"68017231464752261a2526d6ca3a10c0"}),
      known("mmstar", "MMStar", Kind::kMultipleChoice, {"e1ecd2140806c1b1bbf54b43372efb9e"}),
      known("realworldqa", "RealWorldQA", Kind::kMultipleChoice, {"4de008f55dc4fd008ca9e15321dc44b7"}),
      known("blink", "BLINK", Kind::kMultipleChoice,
            {"d5e8af148b10ac69f535ff7b23f3f989", "3b6649b6a662184ea046908e5506260e"}),
      known("vstar", "VStarBench", Kind::kMultipleChoice, {"b18854d7075574be06b631cd5f7d2d6a"}),
      known("ai2d", "AI2D_TEST", Kind::kMultipleChoice, {"0f593e0d1c7df9a3d69bf1f947e71975"}),
      known("ai2d_no_mask", "AI2D_TEST_NO_MASK", Kind::kMultipleChoice, {"fd8f463634d4fe9fbd23b876e8eea5be"}),
      known("scienceqa_val", "ScienceQA_VAL", Kind::kMultipleChoice, {"96320d05e142e585e7204e72affd29f3"}),
      known("scienceqa_test", "ScienceQA_TEST", Kind::kMultipleChoice, {"e42e9e00f9c59a80d8a5db35bc32b71f"}),
      known("mmvp", "MMVP", Kind::kMmvp, {"8cb732b141a0cba5b42159df2839e557"}),
      known("cvbench2d", "CV-Bench-2D", Kind::kCvBench, {"a7cff4cc2857cc237ee2b89e62bccb2d"}),
      known("cvbench3d", "CV-Bench-3D", Kind::kCvBench, {"bb94c0d568d652d15b60e001ac40a170"}),
      mme_realworld_lite(),
      known("hallusionbench", "HallusionBench", Kind::kHallusionBench, {"0c23ac0dc9ef46832d7a24504f2a0c7c"}),
      known("pope", "POPE", Kind::kPope, {"c12f5acb142f2ef1f85a26ba2fbe41d5"}),
      known("mme", "MME", Kind::kMme, {"b36b43c3f09801f5d368627fb92187c3"}),
      imagenet(),
  };
  return all;
}

const Benchmark* find_benchmark(std::string_view name) {
  const std::string wanted = text::ascii_lower(name);
  for (const Benchmark& b : benchmarks())
    if (b.name == wanted || text::ascii_lower(b.dataset) == wanted) return &b;
  return nullptr;
}

Benchmark custom_benchmark(const std::string& stem, std::span<const std::string> columns, bool yes_no_answers) {
  if (const Benchmark* const same = find_benchmark(stem); same && !same->folder_of_classes) {
    Benchmark b = *same;
    b.name = stem;
    return b;
  }
  const auto has = [columns](std::string_view name) {
    return std::find(columns.begin(), columns.end(), name) != columns.end();
  };
  Benchmark b{.name = stem, .dataset = stem, .image_folder = stem, .custom = true};
  const std::string lower = text::ascii_lower(stem);
  if (has("A") && has("B")) {
    b.kind = Kind::kMultipleChoice;
    for (const char* part : {"mmbench", "ccbench", "circular", "mmcr"})
      b.circular = b.circular || lower.find(part) != std::string::npos;
  } else {
    b.kind = yes_no_answers ? Kind::kYesNo : Kind::kExactAnswer;
  }
  return b;
}

const char* kind_name(Kind kind) {
  switch (kind) {
    case Kind::kMultipleChoice:
      return "multiple choice";
    case Kind::kMmvp:
      return "multiple choice in pairs";
    case Kind::kCvBench:
      return "multiple choice (CV-Bench)";
    case Kind::kMmeRealWorld:
      return "multiple choice (MME-RealWorld)";
    case Kind::kYesNo:
      return "yes/no";
    case Kind::kHallusionBench:
      return "yes/no (HallusionBench)";
    case Kind::kPope:
      return "yes/no (POPE)";
    case Kind::kMme:
      return "yes/no (MME)";
    case Kind::kExactAnswer:
      return "exact answer";
  }
  return "";
}

bool is_multiple_choice(Kind kind) {
  return kind == Kind::kMultipleChoice || kind == Kind::kMmvp || kind == Kind::kCvBench;
}

bool is_yes_no(Kind kind) {
  return kind == Kind::kYesNo || kind == Kind::kHallusionBench || kind == Kind::kPope || kind == Kind::kMme;
}

}  // namespace ssl4rl::eval
