// ssl4rl preview: draws puzzles as the trainer would, with a contact sheet and an audit.
#include <fmt/ranges.h>

#include <iostream>
#include <nlohmann/json.hpp>

#include "commands.h"
#include "experiment.h"
#include "ssl4rl/base/error.h"
#include "ssl4rl/base/pipeline.h"
#include "ssl4rl/base/progress.h"
#include "ssl4rl/image/codec.h"
#include "ssl4rl/io/file.h"
#include "ssl4rl/io/jsonl.h"
#include "ssl4rl/report/page.h"
#include "ssl4rl/rewards/reward.h"
#include "ssl4rl/tasks/audit.h"

namespace ssl4rl::cli {
namespace {
namespace fs = std::filesystem;

struct Options {
  ConfigOptions config;
  int64_t count = 64;
  fs::path output;
};

struct Drawn {
  tasks::Puzzle puzzle;
  std::vector<std::string> pngs;
  tasks::Audit::Observation observation;
  report::Card card;
};

report::Card make_card(const tasks::Puzzle& puzzle, const models::Processor* processor) {
  report::Card card{.title = puzzle.id, .subtitle = puzzle.source, .text = puzzle.question};
  card.tags = {{"task", puzzle.task}, {"preset", tasks::preset_name(puzzle.preset)}};
  for (size_t k = 0; k < puzzle.images.size(); ++k) {
    const image::Image& image = puzzle.images[k];
    const int side = puzzle.images.size() <= 2 ? 150 : 92;
    card.pictures.push_back(report::picture(
        image, side, fmt::format("image {}: {}×{}", k + 1, image.width, image.height), tasks::image_name(puzzle, k)));
  }
  card.facts = {{"answer", puzzle.answer}, {"preset", tasks::preset_name(puzzle.preset)}};
  if (puzzle.level) {
    card.facts.emplace_back("level", std::to_string(*puzzle.level));
    card.tags["level"] = std::to_string(*puzzle.level);
  }
  if (!puzzle.label.empty()) card.facts.emplace_back("label", puzzle.label);
  if (processor) {
    const auto messages = tasks::messages_of(puzzle);
    card.facts.emplace_back("prompt", fmt::format("{} tokens", processor->encode(messages, puzzle.images).length()));
    card.details.emplace_back("prompt as the model reads it", processor->render(messages));
  }
  card.details.emplace_back("ground truth", puzzle.meta->dump());
  return card;
}

// The model's tokenizer and configuration, if model.path is set and they can be read: a preview needs no model.
std::unique_ptr<models::Processor> find_processor(const RunConfig& config, const Log& log) {
  if (config.model.path.empty()) return nullptr;
  try {
    return std::make_unique<models::Processor>(config.model.path, config.model.min_pixels, config.model.max_pixels);
  } catch (const Error& e) {
    log.warn("the prompts are shown without their tokens: {}", e.what());
    return nullptr;
  }
}

std::string verdict(const tasks::TaskAudit& audit, const std::string& predictor) {
  return audit.at_chance(predictor) ? "" : audit.is_shortcut(predictor) ? "above chance" : "content";
}

constexpr int64_t kEnough = 40;  // puzzles of a task below which its figures say nothing

std::string audit_html(const std::vector<tasks::TaskAudit>& audits) {
  std::string html =
      "<h2>Audit</h2>\n<p class=\"lead\">Mean reward of predictors that see one property of the images alone, fitted "
      "on half of the puzzles and tested on the other. "
      "A figure more than four standard errors above the best constant answer's is marked: ▲ where it is a shortcut, △ "
      "where it may be content (sky is above ground).</p>\n";
  std::vector<std::vector<std::string>> rows;
  for (const auto& audit : audits) {
    const bool enough = audit.count >= kEnough;
    std::string blind = enough ? "<ul>" : fmt::format("{} puzzles needed", kEnough);
    for (const auto& [name, value] : audit.blind) {
      if (!enough) break;
      const std::string word = verdict(audit, name);
      blind += fmt::format("<li{}>{} {:.3f}{}</li>", word == "above chance" ? " class=\"leak\"" : "", name, value,
                           word.empty()        ? ""
                           : word == "content" ? " △"
                                               : " ▲");
    }
    rows.push_back(
        {audit.name,
         fmt::format("{}<br>{} duplicates<br>{} images skipped", audit.count, audit.duplicates, audit.skipped.size()),
         fmt::format("{:.3f}", audit.chance),
         enough ? fmt::format("{:.3f} ± {:.3f}", audit.constant, audit.constant_error) : "–",
         enough ? blind + "</ul>" : blind,
         audit.histogram.size() <= 12 ? report::bars(audit.histogram)
                                      : fmt::format("{} different answers", audit.histogram.size()),
         audit.chi_square > 0 ? fmt::format("χ² {:.1f}<br>p {:.2f}", audit.chi_square, audit.chi_square_p) : "–"});
  }
  return html + report::table(std::vector<std::string>{"task", "puzzles", "chance", "best constant", "blind predictors",
                                                       "answers", "uniform?"},
                              rows);
}

void print_audit(const std::vector<tasks::TaskAudit>& audits) {
  for (const auto& audit : audits) {
    std::cout << fmt::format(
        "{}: {} puzzles, {} different answers, chance {:.3f}, best constant answer {:.3f} ± {:.3f}, {} duplicates, {} "
        "images skipped\n",
        audit.name, audit.count, audit.histogram.size(), audit.chance, audit.constant, audit.constant_error,
        audit.duplicates, audit.skipped.size());
    if (audit.chi_square > 0)
      std::cout << fmt::format("  answers: chi-square {:.1f}, p {:.3f}\n", audit.chi_square, audit.chi_square_p);
    if (audit.count < kEnough) continue;
    for (const auto& [name, value] : audit.blind) {
      const std::string word = verdict(audit, name);
      std::cout << fmt::format("  blind by {:<12} {:.3f}{}{}\n", name, value, word.empty() ? "" : "  ", word);
    }
  }
}

// Images of an earlier, longer preview in the same folder.
void remove_stale_images(const fs::path& folder) {
  std::vector<fs::path> stale;
  for (const auto& entry : fs::directory_iterator(folder)) {
    const std::string name = entry.path().filename().string();
    const size_t digits = name.find_first_not_of("0123456789");
    if (digits >= 6 && digits != std::string::npos && name[digits] == '_' && name.ends_with(".png"))
      stale.push_back(entry.path());
  }
  for (const fs::path& path : stale) fs::remove(path);
}

int run(App& app, const Options& options) {
  RunConfig config;
  read_run_config(config, options.config.file, options.config.overrides);
  tasks::resolve_tasks(config.tasks, config.curriculum.mode != tasks::CurriculumConfig::Mode::kNone);
  const tasks::SplitImages images = tasks::split_images(config.data, static_cast<uint64_t>(config.run.seed));
  const auto mixture = make_mixture(config, images.training);

  const auto processor = find_processor(config, app.log());

  app.begin_work();
  constexpr int64_t kMostCards = 400;  // a page with all of a long preview would not open
  io::make_folder(options.output / "images");
  remove_stale_images(options.output / "images");
  Pipeline<Drawn> pipeline(0, data_threads(config.data.workers), 32, [&](int64_t i) {
    if (i >= options.count) return Drawn{};
    Drawn drawn{mixture->draw(i), {}, {}, {}};
    std::vector<size_t> sizes;
    for (const image::Image& image : drawn.puzzle.images)
      sizes.push_back(drawn.pngs.emplace_back(image::encode_png(image)).size());
    drawn.observation = tasks::Audit::observe(drawn.puzzle, sizes);
    if (i < kMostCards) drawn.card = make_card(drawn.puzzle, processor.get());
    return drawn;
  });
  tasks::Audit audit;
  std::vector<report::Card> cards;
  io::AtomicFile puzzles(options.output / "puzzles.jsonl");
  Progress progress(app.log(), "drawing", options.count);
  for (int64_t i = 0; i < options.count; ++i) {
    Drawn drawn = pipeline.next();
    puzzles.write(io::to_line(tasks::to_json(drawn.puzzle)) + "\n");
    for (size_t k = 0; k < drawn.pngs.size(); ++k)
      io::write_file(options.output / tasks::image_name(drawn.puzzle, k), drawn.pngs[k]);
    audit.add(std::move(drawn.observation));
    if (i < kMostCards) cards.push_back(std::move(drawn.card));
    progress.update(i + 1);
  }
  puzzles.commit();
  const auto reward = [](const tasks::TaskConfig& task, const std::string& guess, const std::string& truth) {
    return rewards::answer_reward({task.name, task.preset, task.reward_function(), truth, task.task->columns()}, guess)
        .value_or(0);
  };
  const auto audits = audit.finish(*mixture, reward);
  io::write_file(options.output / "audit.json", tasks::to_json(audits).dump(2) + "\n");
  const std::string lead = fmt::format(
      "{} puzzles of {} training images, seed {}{}", options.count, images.training->size(), config.run.seed,
      options.count > kMostCards ? fmt::format("; the first {} are shown", kMostCards) : "");
  io::write_file(options.output / "index.html",
                 report::page("Puzzles", lead, audit_html(audits) + "<h2>Puzzles</h2>\n" + report::cards(cards)));
  print_audit(audits);
  report_skipped(*images.training, app.log());
  app.log().info("wrote {}", (options.output / "index.html").string());
  return kDone;
}

}  // namespace

Action add_preview(CLI::App& command) {
  auto options = std::make_shared<Options>();
  command.add_option("--config", options->config.file, "run configuration (YAML); no model is needed")
      ->required()
      ->type_name("FILE");
  command.add_option("--set", options->config.overrides, "overrides a configuration key; may be given several times")
      ->type_name("KEY=VALUE")
      ->allow_extra_args(false);
  command.add_option("--count", options->count, "puzzles to draw")
      ->check(CLI::PositiveNumber)
      ->capture_default_str()
      ->type_name("N");
  command.add_option("--output", options->output, "folder for puzzles.jsonl, images, index.html and audit.json")
      ->required()
      ->type_name("DIR");
  return [options](App& app) { return run(app, *options); };
}

}  // namespace ssl4rl::cli
