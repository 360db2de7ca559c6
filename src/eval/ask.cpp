#include "ssl4rl/eval/ask.h"

#include <map>

#include "ssl4rl/base/pipeline.h"
#include "ssl4rl/base/progress.h"
#include "ssl4rl/rollout/engine.h"

namespace ssl4rl::eval {
namespace {

constexpr size_t kMostTogether = 16;        // questions about one picture that are encoded as one item
constexpr int64_t kBatchTokens = 32 << 10;  // prompt tokens of one batch; pictures that are shared count once
constexpr size_t kBatchRows = 1024;

// Questions about the same pictures.
struct Bundle {
  std::vector<size_t> rows;
  std::vector<models::Prompt> prompts;
};

Bundle encode(const Dataset& dataset, const PromptStyle& style, std::vector<size_t> rows,
              const models::Processor& processor, bool jpeg_roundtrip) {
  std::vector<image::Image> pictures;
  for (const size_t picture : dataset.row_pictures[rows.front()])
    pictures.push_back(dataset.pictures[picture].decode(jpeg_roundtrip));
  const std::vector<models::ImagePatches> patches = processor.patches(pictures);
  Bundle bundle{std::move(rows), {}};
  for (const size_t row : bundle.rows)
    bundle.prompts.push_back(processor.encode_patches(style.messages(dataset, row), patches));
  return bundle;
}

int64_t new_tokens(const Bundle& bundle) {
  int64_t shared = 0;
  for (const models::ImagePatches& image : bundle.prompts.front().images) shared += image.grid.patches();
  int64_t tokens = 0;
  for (const models::Prompt& prompt : bundle.prompts) tokens += prompt.length();
  return std::max(tokens - shared / 4 * static_cast<int64_t>(bundle.prompts.size() - 1), int64_t{1});
}

}  // namespace

std::vector<std::vector<size_t>> rows_by_pictures(const Dataset& dataset, const std::vector<size_t>& rows) {
  std::vector<std::vector<size_t>> groups;
  std::map<std::vector<size_t>, size_t> open;
  for (const size_t row : rows) {
    const auto [place, is_new] = open.try_emplace(dataset.row_pictures[row], groups.size());
    if (is_new || groups[place->second].size() == kMostTogether) {
      place->second = groups.size();
      groups.emplace_back();
    }
    groups[place->second].push_back(row);
  }
  return groups;
}

void ask(const Dataset& dataset, const PromptStyle& style, const std::vector<size_t>& rows, const models::Model& model,
         const AskSettings& settings, const Log& log, const std::function<void()>& poll,
         const std::function<void(const Response&)>& answered) {
  const models::Processor& processor = model.processor();
  const std::vector<std::vector<size_t>> groups = rows_by_pictures(dataset, rows);
  Pipeline<Bundle> bundles(0, settings.threads, 2 * settings.threads + 32, [&](int64_t i) {
    return i < static_cast<int64_t>(groups.size())
               ? encode(dataset, style, groups[static_cast<size_t>(i)], processor, settings.jpeg_roundtrip)
               : Bundle{};
  });
  const rollout::Engine engine(model);
  const rollout::SamplingPlan plan{{0, 1, 0}, settings.max_new_tokens, {}, 0};
  Progress progress(log, dataset.benchmark.name, static_cast<int64_t>(rows.size()));
  int64_t done = 0;
  for (size_t next = 0; next < groups.size();) {
    std::vector<Bundle> batch;
    std::vector<rollout::Request> requests;
    size_t count = 0;
    std::exception_ptr failure;
    for (int64_t tokens = 0; next < groups.size() && tokens < kBatchTokens && count < kBatchRows && !failure; ++next) {
      try {
        batch.push_back(bundles.next());
      } catch (...) {
        failure = std::current_exception();  // what is in the batch already is answered first
        break;
      }
      tokens += new_tokens(batch.back());
      count += batch.back().rows.size();
    }
    struct Asked {
      size_t row;
      const models::Prompt* prompt;
    };
    std::vector<Asked> asked;
    for (const Bundle& bundle : batch)
      for (size_t i = 0; i < bundle.rows.size(); ++i) {
        asked.push_back({bundle.rows[i], &bundle.prompts[i]});
        requests.push_back({&bundle.prompts[i], 1, bundle.rows[i], 0});
      }
    const auto poll_batch = [&](int64_t finished) {
      if (poll) poll();
      progress.update(done + finished);
    };
    (void)engine.generate(requests, plan, poll_batch, [&](size_t r, int64_t, const rollout::Completion& completion) {
      answered({asked[r].row, processor.tokenizer().decode(completion.ids), asked[r].prompt->length(),
                static_cast<int64_t>(completion.ids.size())});
    });
    done += static_cast<int64_t>(asked.size());
    if (failure) std::rethrow_exception(failure);
  }
}

}  // namespace ssl4rl::eval
