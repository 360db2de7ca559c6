#include "ssl4rl/cli/app.h"

#include <c10/util/Exception.h>

#include <cstdio>
#include <new>

#include "commands.h"
#include "ssl4rl/base/config.h"
#include "ssl4rl/base/error.h"
#include "ssl4rl/base/interrupt.h"
#include "ssl4rl/base/memory.h"
#include "ssl4rl/rl/run.h"

namespace ssl4rl::cli {
namespace {

struct Command {
  const char* name;
  const char* help;
  Action (*add)(CLI::App&);
};

constexpr Command kCommands[] = {
    {"train", "RL fine-tuning on self-supervised tasks", add_train},
    {"sft", "supervised start on the same tasks", add_sft},
    {"eval", "evaluate a model on public benchmarks and on self-supervised tasks", add_eval},
    {"generate", "sample completions of prompts from a JSONL file", add_generate},
    {"score", "log-probabilities of given completions", add_score},
    {"preview", "draw puzzles as the trainer would, with a contact sheet and an audit", add_preview},
    {"reward", "score response texts against puzzles; no model, no images", add_reward},
    {"inspect", "what is in a model directory, a checkpoint or a safetensors file", add_inspect},
    {"merge", "fold a LoRA adapter into a full model directory", add_merge},
    {"init", "write a small random model directory and drawn images", add_init},
    {"bench", "measure generation and update throughput beside the machine's limits", add_bench},
};

void add_common_options(CLI::App& command, CommonOptions& options) {
  command.add_option("--device", options.device, "auto, cpu, cuda or cuda:N [auto]")->type_name("NAME");
  command.add_option("--dtype", options.dtype, "auto, float32 or bfloat16: type of the weights in memory [auto]")
      ->check(CLI::IsMember({"auto", "float32", "bfloat16"}))
      ->type_name("NAME");
  command.add_option("--threads", options.threads, "threads of the tensor operations [all cores]")
      ->check(CLI::PositiveNumber)
      ->type_name("N");
  command.add_option("--log-level", options.log_level, "debug, info, warn, error or off [info]")
      ->check(CLI::IsMember({"debug", "info", "warn", "error", "off"}))
      ->type_name("NAME");
  command.add_flag("--quiet", options.quiet, "show warnings and errors only");
}

// The first line of a LibTorch error: the rest is a stack trace.
std::string first_line(std::string text) {
  text = text.substr(0, text.find('\n'));
  return text;
}

constexpr const char* kSmaller =
    "lower train.micro_batch_tokens, rollout.num_generations or model.max_pixels, or set model.gradient_checkpointing";

// What is asked for stands in LibTorch's message.
std::string out_of_memory(const std::string& what) {
  const double left = static_cast<double>(available_memory().value_or(0)) / (1 << 30);
  return fmt::format("out of memory: {}; this process has held up to {:.1f} GiB, {:.1f} GiB are left; {}", what,
                     rl::peak_memory_gib(at::kCPU), left, kSmaller);
}

int complain(const std::string& message, int status) {
  std::fprintf(stderr, "ssl4rl: error: %s\n", message.c_str());
  return status;
}

// The end of a command that failed: of all the run's processes, where there are several.
int give_up(App& app, const std::string& message, int status) {
  app.log().status("");
  if (app.communicator().ranks() > 1) app.communicator().end(status, message);
  return complain(message, status);
}

int guarded(App& app, const Action& action) {
  std::string message;
  try {
    return action(app);
  } catch (const Interrupted& stop) {
    return InterruptGuard::exit_status(stop.signal);
  } catch (const Error& e) {
    message = e.what();
  } catch (const InternalError& e) {
    return give_up(app, fmt::format("internal error: {}; please report it", e.what()), kFailed);
  } catch (const c10::OutOfMemoryError& e) {
    message = fmt::format("out of memory on the device: {}; {}", first_line(e.what_without_backtrace()), kSmaller);
  } catch (const c10::Error& e) {
    message = first_line(e.what_without_backtrace());
    if (message.find("can't allocate memory") != std::string::npos) message = out_of_memory(message);
  } catch (const std::bad_alloc&) {
    message = out_of_memory("an allocation failed");
  } catch (const std::exception& e) {
    message = e.what();
  }
  return give_up(app, message, app.working() ? kFailed : kUsage);
}

}  // namespace

App::App(CommonOptions options)
    : options_(std::move(options)), log_(options_.quiet ? Log::Level::kWarn : Log::Level::kInfo) {
  if (!options_.log_level.empty()) log_.set_level(Log::level_from_name(options_.log_level));
}

void App::join(const train::Place& place, std::chrono::seconds patience) {
  if (place.ranks == 1) return;
  log_.keep(/*show=*/place.rank == 0);
  communicator_ = std::make_unique<train::Communicator>(place, patience, log_);
}

namespace {

int run_command(int argc, char** argv) {
  keep_freed_memory(true);  // large tensors come and go with every layer

  CLI::App parser("ssl4rl: RL fine-tuning of vision-language models on puzzles made from unlabelled images", "ssl4rl");
  parser.require_subcommand(1);
  parser.set_version_flag("--version", std::string("ssl4rl ") + SSL4RL_VERSION);
  parser.get_formatter()->column_width(34);
  CommonOptions options;
  std::vector<std::pair<CLI::App*, Action>> commands;
  for (const Command& command : kCommands) {
    CLI::App* const sub = parser.add_subcommand(command.name, command.help);
    commands.emplace_back(sub, command.add(*sub));
    add_common_options(*sub, options);
  }
  try {
    parser.parse(argc, argv);
  } catch (const CLI::Success& e) {
    return parser.exit(e);
  } catch (const CLI::ParseError& e) {
    std::string where = "ssl4rl";
    for (const auto& [sub, action] : commands)
      if (sub->parsed()) where += " " + sub->get_name();
    if (where == "ssl4rl" && argc > 1 && argv[1][0] != '-') {
      std::vector<std::string> names;
      for (const Command& command : kCommands) names.emplace_back(command.name);
      return complain(fmt::format("unknown command \"{0}\"; did you mean \"{1}\"? (see ssl4rl --help)", argv[1],
                                  config::nearest(argv[1], names)),
                      kUsage);
    }
    return complain(fmt::format("{} (see {} --help)", e.what(), where), kUsage);
  }
  App app(std::move(options));
  for (const auto& [sub, action] : commands)
    if (sub->parsed()) return guarded(app, action);
  return kUsage;
}

}  // namespace

int run(int argc, char** argv) {
  try {
    return run_command(argc, argv);
  } catch (const std::exception& e) {
    return complain(e.what(), kUsage);
  }
}

}  // namespace ssl4rl::cli
