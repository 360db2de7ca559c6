#include "ssl4rl/eval/bench.h"

#include <algorithm>
#include <nlohmann/json.hpp>

#include "bench_page.h"
#include "comparison.h"
#include "ssl4rl/base/error.h"
#include "ssl4rl/base/pipeline.h"
#include "ssl4rl/base/progress.h"
#include "ssl4rl/image/codec.h"
#include "ssl4rl/io/file.h"
#include "ssl4rl/io/hash.h"
#include "ssl4rl/io/jsonl.h"

namespace ssl4rl::eval {
namespace fs = std::filesystem;
namespace {

using Json = nlohmann::ordered_json;

fs::path folder_of(const fs::path& output, const Dataset& dataset) { return output / dataset.benchmark.name; }

Json index_json(const Dataset& dataset, size_t row) {
  return dataset.integer_index ? Json(std::stoll(dataset.index[row])) : Json(dataset.index[row]);
}

// What fixes the predictions, with the model.
Json asking_json(const Dataset& dataset, const PromptStyle& style, const BenchSettings& settings) {
  return {{"dataset", dataset.benchmark.dataset},
          {"md5", dataset.md5},
          {"prompt", style.identity()},
          {"keep_none", settings.keep_none},
          {"jpeg_roundtrip", settings.asking.jpeg_roundtrip},
          {"max_new_tokens", settings.asking.max_new_tokens}};
}

Json scoring_json(const BenchSettings& settings) {
  return {{"extract", extract_name(settings.scoring.extract)},
          {"verbose_guard", settings.scoring.matcher.verbose_guard}};
}

Json line_of(const Dataset& dataset, const Scorer& scorer, const Response& response) {
  const Answer answer = scorer.read(response.row, response.text);
  return {{"index", index_json(dataset, response.row)},
          {"prediction", response.text},
          {"extracted", answer.extracted ? Json(*answer.extracted) : Json()},
          {"hit", static_cast<int>(answer.hit)},
          {"prompt_tokens", response.prompt_tokens},
          {"tokens", response.tokens}};
}

// The share of a guesser who knows nothing, on the scale of `overall`.
std::optional<double> chance_of(const Dataset& dataset, const Scorer& scorer, const Scores& scores) {
  if (dataset.benchmark.kind != Kind::kMultipleChoice || scores.units.empty()) return {};
  double sum = 0;
  for (const Unit& unit : scores.units) {
    double all_right = 1;
    for (const size_t row : unit.rows)
      all_right /= static_cast<double>(std::max<size_t>(1, scorer.options(row).size()));
    sum += all_right;
  }
  return 100 * sum / static_cast<double>(scores.units.size());
}

// Scores and writes all files but predictions.jsonl.
SummaryLine finish(const Dataset& dataset, const BenchSettings& settings, const std::vector<io::Cell>& predictions,
                   const Json& result_settings, const fs::path& folder, const Log& log) {
  io::write_file(folder / "predictions.tsv", predictions_tsv(dataset, predictions));
  if (settings.xlsx)
    write_xlsx(folder / fmt::format("{}_{}.xlsx", settings.model_name, dataset.benchmark.dataset), dataset,
               predictions);
  SummaryLine line{.bench = dataset.benchmark.name, .samples = static_cast<int64_t>(dataset.rows())};
  const Profile profile = settings.scoring.matcher.profile;
  if (!dataset.has_answers()) {
    log.info("{}: the file has no answers; predictions.tsv{} is what a submission server takes", dataset.benchmark.name,
             settings.xlsx ? " and the .xlsx" : "");
    write_results(folder, dataset, nullptr, profile, result_settings);
    return line;
  }
  const Scorer scorer(dataset, settings.scoring);
  const Scores scores = scorer.score(predictions);
  write_results(folder, dataset, &scores, profile, result_settings);
  std::optional<Comparison> comparison;
  if (settings.baseline) {
    comparison = compare(dataset, scorer, scores, *settings.baseline);
    io::write_file(folder / "comparison.json", to_json(*comparison, dataset).dump(2) + "\n");
    log.info("{}: {}", dataset.benchmark.name, comparison->headline());
  }
  write_page(folder / "index.html", dataset, scorer, scores, predictions, profile, comparison ? &*comparison : nullptr);
  line.overall = scores.overall;
  line.standard_error = scores.standard_error;
  line.chance = chance_of(dataset, scorer, scores);
  const auto unparsed = std::count_if(scores.answers.begin(), scores.answers.end(),
                                      [](const Answer& answer) { return !answer.extracted; });
  line.unparsed = static_cast<double>(unparsed) / static_cast<double>(scores.answers.size());
  return line;
}

std::vector<size_t> rows_of_shard(const Dataset& dataset, const std::optional<Shard>& shard) {
  std::vector<size_t> all(dataset.rows());
  for (size_t row = 0; row < all.size(); ++row) all[row] = row;
  if (!shard) return all;
  std::vector<size_t> mine;  // questions about one picture stay together
  const auto groups = rows_by_pictures(dataset, all);
  for (size_t g = 0; g < groups.size(); ++g)
    if (static_cast<int64_t>(g) % shard->count == shard->index)
      mine.insert(mine.end(), groups[g].begin(), groups[g].end());
  return mine;
}

const char* image_type(std::string_view bytes) {
  if (bytes.starts_with("\xFF\xD8")) return "jpeg";
  if (bytes.starts_with("GIF8")) return "gif";
  if (bytes.starts_with("BM")) return "bmp";
  if (bytes.size() > 12 && bytes.starts_with("RIFF") && bytes.substr(8, 4) == "WEBP") return "webp";
  return "png";
}

// A picture as an image part of a message shows it: as it stands, unless reading it there would give something else.
std::string image_reference(const Picture& picture, bool jpeg_roundtrip, const fs::path& folder) {
  constexpr int kPillowQuality = 75;
  const std::string bytes = picture.bytes();
  const image::Image shown = picture.decode(jpeg_roundtrip);  // also: can it be decoded
  const auto uri = [](const char* type, std::string_view content) {
    return fmt::format("data:image/{};base64,{}", type, io::base64_encode(content));
  };
  if (picture.is_lossy(jpeg_roundtrip))
    return uri("jpeg", image::encode_jpeg(image::decode(bytes, image::Orientation::kIgnore), kPillowQuality));
  const bool turned =
      bytes.find("Exif") != std::string::npos && !(image::decode(bytes, image::Orientation::kApply) == shown);
  if (turned) return uri("png", image::encode_png(shown));
  return picture.path.empty() ? uri(image_type(bytes), bytes)
                              : picture.path.lexically_relative(folder).generic_string();
}

}  // namespace

std::optional<SummaryLine> run_bench(const Dataset& dataset, const PromptStyle& style, const BenchSettings& settings,
                                     const models::Model& model, const std::string& model_fingerprint,
                                     const fs::path& output, const Log& log, const std::function<void()>& poll) {
  const fs::path folder = folder_of(output, dataset);
  Json asking = asking_json(dataset, style, settings);
  asking["min_pixels"] = model.config().image.min_pixels;
  asking["max_pixels"] = model.config().image.max_pixels;
  asking["dtype"] = c10::toString(model.dtype());
  PredictionFile file(folder, {{"model", model_fingerprint}, {"settings", asking}}, settings.shard, log);
  const std::vector<size_t> mine = rows_of_shard(dataset, settings.shard);
  std::vector<size_t> open;
  for (const size_t row : mine)
    if (!file.lines().contains(dataset.index[row])) open.push_back(row);
  if (open.size() < mine.size())
    log.info("{}: {} of {} questions are answered already", dataset.benchmark.name, mine.size() - open.size(),
             mine.size());
  {
    const Scorer scorer(dataset, settings.scoring);
    ask(dataset, style, open, model, settings.asking, log, poll,
        [&](const Response& response) { file.append(line_of(dataset, scorer, response)); });
    file.sync();
  }
  if (!file.complete(dataset.index)) {
    log.info("{}: shard {} of {} is done; the last shard to finish scores", dataset.benchmark.name,
             settings.shard->index, settings.shard->count);
    return {};
  }
  std::vector<io::Cell> predictions;
  for (const std::string& index : dataset.index)
    predictions.emplace_back(file.lines().at(index)["prediction"].get<std::string>());
  asking.update(scoring_json(settings));
  asking["model"] = model_fingerprint;
  return finish(dataset, settings, predictions, asking, folder, log);
}

Scores ask_and_score(const Dataset& dataset, const models::Model& model, const AskSettings& settings, const Log& log,
                     const std::function<void()>& poll) {
  std::vector<size_t> rows(dataset.rows());
  for (size_t row = 0; row < rows.size(); ++row) rows[row] = row;
  std::vector<io::Cell> predictions(dataset.rows());
  ask(dataset, PromptStyle("toolkit"), rows, model, settings, log, poll,
      [&](const Response& response) { predictions[response.row] = response.text; });
  return Scorer(dataset, {}).score(predictions);
}

double share_of_best(Kind kind, double overall) {
  constexpr double kMmeBest = 2800;
  return overall / (kind == Kind::kMme ? kMmeBest : 100);
}

void check_baseline(const Dataset& dataset, const fs::path& baseline) { (void)read_baseline(dataset, baseline); }

void check_bench(const Dataset& dataset, const BenchSettings& settings, const GivenPredictions& predictions) {
  if (!dataset.has_answers()) return;
  const Scorer scorer(dataset, settings.scoring);
  const Scores scores = scorer.score(predictions.by_row);
  if (settings.baseline) (void)compare(dataset, scorer, scores, *settings.baseline);
}

SummaryLine score_bench(const Dataset& dataset, const PromptStyle& style, const BenchSettings& settings,
                        const GivenPredictions& predictions, const fs::path& output, const Log& log) {
  const fs::path folder = folder_of(output, dataset), target = folder / "predictions.jsonl";
  Json asking{{"dataset", dataset.benchmark.dataset},
              {"md5", dataset.md5},
              {"prompt", style.name()},
              {"keep_none", settings.keep_none},
              {"predictions", io::sha256_hex_of_file(predictions.file)}};
  io::make_folder(folder);
  if (!fs::exists(target) || !fs::equivalent(predictions.file, target)) {  // else: an earlier run is scored anew
    const Scorer scorer(dataset, settings.scoring);
    std::string lines;
    for (size_t row = 0; row < dataset.rows(); ++row) {
      const std::string text = predictions.by_row[row].value_or("");
      const Answer answer = scorer.read(row, text);
      lines += io::to_line({{"index", index_json(dataset, row)},
                            {"prediction", text},
                            {"extracted", answer.extracted ? Json(*answer.extracted) : Json()},
                            {"hit", static_cast<int>(answer.hit)}}) +
               "\n";
    }
    replace_predictions(folder, {{"settings", asking}}, lines, log);
  }
  asking.update(scoring_json(settings));
  return finish(dataset, settings, predictions.by_row, asking, folder, log);
}

void write_prompts(const Dataset& dataset, const PromptStyle& style, const BenchSettings& settings,
                   const fs::path& output, const Log& log) {
  const fs::path folder = fs::absolute(folder_of(output, dataset)).lexically_normal();
  io::make_folder(folder);
  Pipeline<std::string> lines(0, settings.asking.threads, 64, [&](int64_t i) -> std::string {
    const auto row = static_cast<size_t>(i);
    if (row >= dataset.rows()) return {};
    Json content = Json::array();
    for (const size_t picture : dataset.row_pictures[row])
      content.push_back(
          {{"type", "image"},
           {"image", image_reference(dataset.pictures[picture], settings.asking.jpeg_roundtrip, folder)}});
    content.push_back({{"type", "text"}, {"text", style.text(dataset, row)}});
    return io::to_line({{"index", index_json(dataset, row)},
                        {"messages", Json::array({{{"role", "user"}, {"content", std::move(content)}}})}}) +
           "\n";
  });
  io::AtomicFile file(folder / "prompts.jsonl");
  Progress progress(log, dataset.benchmark.name, static_cast<int64_t>(dataset.rows()));
  for (size_t row = 0; row < dataset.rows(); ++row) {
    file.write(lines.next());
    progress.update(static_cast<int64_t>(row) + 1);
  }
  file.commit();
  log.info("{}: {} prompts in {}", dataset.benchmark.name, dataset.rows(), (folder / "prompts.jsonl").string());
}

}  // namespace ssl4rl::eval
