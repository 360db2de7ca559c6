// Speed of the tokenizer on one thread.
//
//     tokenizer_benchmark TOKENIZER.json TEXT [Google Benchmark's options]
//
// scripts/tokenizer_speed.py makes both files, runs this and Hugging Face's tokenizers on them, and compares the ids.
#include <benchmark/benchmark.h>

#include <cstdio>
#include <filesystem>
#include <string>
#include <vector>

#include "ssl4rl/io/file.h"
#include "ssl4rl/io/hash.h"
#include "ssl4rl/text/tokenizer.h"

namespace {

using ssl4rl::text::Tokenizer;

// Documents of about 4 KiB, cut at line breaks.
std::vector<std::string> documents_of(const std::string& text) {
  constexpr size_t kBytes = 4096;
  std::vector<std::string> documents;
  for (size_t begin = 0; begin < text.size();) {
    const size_t end = begin + kBytes < text.size() ? text.find('\n', begin + kBytes) : std::string::npos;
    const size_t stop = end == std::string::npos ? text.size() : end + 1;
    documents.push_back(text.substr(begin, stop - begin));
    begin = stop;
  }
  return documents;
}

}  // namespace

int main(int argc, char** argv) {
  if (argc < 3) {
    std::fprintf(stderr, "usage: tokenizer_benchmark TOKENIZER.json TEXT [benchmark options]\n");
    return 2;
  }
  const std::filesystem::path file = argv[1];
  const std::string text = ssl4rl::io::read_file(argv[2]);
  const std::vector<std::string> documents = documents_of(text);
  argv[2] = argv[0];
  argc -= 2;
  benchmark::Initialize(&argc, argv + 2);

  benchmark::RegisterBenchmark("load", [&](benchmark::State& state) {
    for (auto _ : state) benchmark::DoNotOptimize(Tokenizer(file).size());
  })->Unit(benchmark::kMillisecond);
  const Tokenizer tokenizer(file);
  benchmark::RegisterBenchmark("encode", [&](benchmark::State& state) {
    for (auto _ : state)
      for (const std::string& document : documents) benchmark::DoNotOptimize(tokenizer.encode(document).data());
    state.SetBytesProcessed(static_cast<int64_t>(state.iterations()) * static_cast<int64_t>(text.size()));
  })->Unit(benchmark::kMillisecond);
  std::vector<std::vector<int64_t>> encoded;
  for (const std::string& document : documents) encoded.push_back(tokenizer.encode(document));
  benchmark::RegisterBenchmark("decode", [&](benchmark::State& state) {
    for (auto _ : state)
      for (const auto& ids : encoded) benchmark::DoNotOptimize(tokenizer.decode(ids).data());
    state.SetBytesProcessed(static_cast<int64_t>(state.iterations()) * static_cast<int64_t>(text.size()));
  })->Unit(benchmark::kMillisecond);
  benchmark::RunSpecifiedBenchmarks();

  // All ids, so that another program can see that it made the same.
  ssl4rl::io::Sha256 hash;
  int64_t count = 0;
  for (const auto& ids : encoded) {
    for (const int64_t id : ids) hash.update(std::to_string(id) + " ");
    count += static_cast<int64_t>(ids.size());
  }
  std::printf("tokens %ld sha256 %s\n", static_cast<long>(count), ssl4rl::io::hex(hash.digest()).c_str());
  return 0;
}
