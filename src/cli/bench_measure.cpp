#include "bench_measure.h"

#include <ATen/ATen.h>

#include <algorithm>
#include <functional>

#include "ssl4rl/base/error.h"
#include "ssl4rl/base/rng.h"
#include "ssl4rl/base/stopwatch.h"
#include "ssl4rl/image/scene.h"
#include "ssl4rl/rl/micro_batch.h"
#include "ssl4rl/rollout/engine.h"

namespace ssl4rl::cli {
namespace {

using at::Tensor;

// Waits for the device: everything before it is done when one of its values is known.
void finish(const Tensor& result) { (void)result.flatten()[0].item<double>(); }

double seconds_of(const std::function<void()>& work) {
  const Stopwatch watch;
  work();
  return watch.seconds();
}

double median(std::vector<double> values) {
  std::sort(values.begin(), values.end());
  const size_t middle = values.size() / 2;
  return values.size() % 2 ? values[middle] : (values[middle - 1] + values[middle]) / 2;
}

// The best of the runs that fit into half a second.
double best_seconds(const std::function<void()>& work) {
  work();
  double best = seconds_of(work);
  for (double spent = best; spent < 0.5;) {
    const double seconds = seconds_of(work);
    best = std::min(best, seconds);
    spent += seconds;
  }
  return best;
}

models::Prompt prompt_with_words(const models::Processor& processor, const std::vector<image::Image>& pictures,
                                 int64_t words, int64_t pixels) {
  text::Message message{"user", {}};
  for (size_t i = 0; i < pictures.size(); ++i) message.content.push_back({text::ContentPart::Kind::kImage, ""});
  std::string text = "Which way up is it?";
  for (int64_t i = 0; i < words; ++i) text += " a";
  message.content.push_back({text::ContentPart::Kind::kText, text});
  const int64_t least = processor.config().vision.token_pixels();
  return processor.encode(std::vector{message}, pictures, least * least, std::max(pixels, least * least));
}

}  // namespace

MachineLimits measure_machine(at::Device device, at::ScalarType dtype) {
  const at::NoGradGuard no_grad;
  const auto options = at::TensorOptions(device).dtype(dtype);
  MachineLimits limits;
  for (const int64_t size : {1024, 2048, 8192}) {
    if (size > 2048 && !device.is_cuda()) continue;
    const Tensor a = at::randn({size, size}, options), b = at::randn({size, size}, options);
    Tensor c = at::empty({size, size}, options);
    const double seconds = best_seconds([&] {
      at::mm_out(c, a, b);
      finish(c);
    });
    limits.flops = std::max(limits.flops, 2 * static_cast<double>(size * size * size) / seconds);
  }
  const Tensor large = at::ones({int64_t{1} << 26}, at::TensorOptions(device).dtype(at::kFloat));
  limits.bytes_per_second = static_cast<double>(large.nbytes()) / best_seconds([&] { finish(large.sum()); });
  return limits;
}

std::vector<models::Prompt> bench_prompts(const models::Processor& processor, const BenchShape& shape) {
  std::vector<models::Prompt> prompts;
  const int64_t images = processor.config().reads_images() ? shape.images : 0;
  const int64_t pixels = shape.image_size * shape.image_size;
  for (int64_t p = 0; p < shape.prompts; ++p) {
    std::vector<image::Image> pictures;
    for (int64_t i = 0; i < images; ++i) {
      Rng rng(0, Stream::kScene, {static_cast<uint64_t>(p), static_cast<uint64_t>(i)});
      pictures.push_back(image::draw_scene(static_cast<int>(shape.image_size), rng));
    }
    models::Prompt prompt = prompt_with_words(processor, pictures, 0, pixels);
    if (shape.prompt_tokens) {
      constexpr int64_t kWords = 64;
      const int64_t least = prompt.length();
      if (least > *shape.prompt_tokens)
        fail("--prompt-tokens {}: {} images of {} pixels a side and a question take {} tokens already",
             *shape.prompt_tokens, images, shape.image_size, least);
      const int64_t per_words = prompt_with_words(processor, pictures, kWords, pixels).length() - least;
      prompt = prompt_with_words(processor, pictures, (*shape.prompt_tokens - least) * kWords / per_words, pixels);
    }
    prompts.push_back(std::move(prompt));
  }
  return prompts;
}

GenerationSpeed measure_generation(const models::Model& model, const std::vector<models::Prompt>& prompts,
                                   const BenchShape& shape, const MachineLimits& machine, int repeats) {
  std::vector<rollout::Request> requests;
  for (size_t p = 0; p < prompts.size(); ++p) requests.push_back({&prompts[p], shape.samples, p, 0});
  rollout::SamplingPlan plan;
  plan.max_new_tokens = shape.new_tokens;
  plan.past_end = true;
  const rollout::Engine engine(model, rollout::limits_for(model, {.cuda_graphs = shape.cuda_graphs},
                                                          [](const std::string& what) { fail("{}", what); }));
  std::vector<double> seconds, prefill;
  GenerationSpeed speed;
  for (int repeat = 0; repeat <= repeats; ++repeat) {
    rollout::Generation drawn;
    const double taken = seconds_of([&] { drawn = engine.generate(requests, plan); });
    if (repeat == 0) continue;  // warms up
    seconds.push_back(taken);
    prefill.push_back(drawn.prefill_seconds);
    speed.tokens = drawn.tokens;
  }
  speed.seconds = median(seconds);
  speed.prefill_seconds = median(prefill);

  // A decoding step reads the decoder's weights, the output layer, and the keys and values once.
  const models::TextConfig& text = model.config().text;
  double decoding = 0, first = 0, cached = 0;
  for (const models::Prompt& prompt : prompts) {
    const models::Work work = models::forward_work(model.config(), prompt, shape.samples, shape.new_tokens);
    speed.flop += work.total();
    first += work.vision + work.prompt;
    decoding += work.completion + work.head;
    cached += static_cast<double>(prompt.length() + shape.samples * shape.new_tokens / 2) *
              static_cast<double>(rollout::cache_bytes_per_token(text, model.dtype()));
  }
  double weights = static_cast<double>(model.weights().head.nbytes());
  for (const models::DecoderLayer& layer : model.weights().layers)
    for (const models::Linear* linear : {&layer.qkv, &layer.out, &layer.gate_up, &layer.down})
      weights += static_cast<double>(linear->weight.nbytes());
  speed.floor_seconds = first / machine.flops +
                        std::max(decoding / machine.flops,
                                 static_cast<double>(shape.new_tokens) * (weights + cached) / machine.bytes_per_second);
  return speed;
}

UpdateSpeed measure_update(models::Model& model, const std::vector<models::Prompt>& prompts, const BenchShape& shape,
                           int64_t micro_batch_tokens, int repeats) {
  Rng rng(0, Stream::kSample);
  const int64_t drawable = model.processor().tokenizer().size() / 2;
  std::vector<std::vector<std::vector<int64_t>>> completions(prompts.size());
  std::vector<rl::GroupLengths> lengths;
  UpdateSpeed speed;
  for (size_t p = 0; p < prompts.size(); ++p) {
    for (int64_t s = 0; s < shape.samples; ++s) {
      auto& ids = completions[p].emplace_back(static_cast<size_t>(shape.new_tokens));
      for (int64_t& id : ids) id = rng.below(drawable);
    }
    lengths.push_back(
        {prompts[p].length(), std::vector<int64_t>(static_cast<size_t>(shape.samples), shape.new_tokens)});
    speed.tokens += prompts[p].length() + shape.samples * shape.new_tokens;
    speed.flop += 3 * models::forward_work(model.config(), prompts[p], shape.samples, shape.new_tokens).total();
  }
  train::AdamW optimizer(model.parameters(), {}, {});
  const auto update = [&] {
    for (const rl::MicroBatch& cut : rl::micro_batches(lengths, micro_batch_tokens)) {
      std::vector<models::PackedGroup> groups;
      for (const rl::GroupPart& part : cut) {
        groups.push_back({&prompts[part.group], {}});
        for (const size_t s : part.samples) groups.back().completions.emplace_back(completions[part.group][s]);
      }
      const Tensor logprobs =
          model.completion_logprobs(models::pack(groups, model.config().ids.image, model.device()), 1).logprob_T;
      // Alternating advantages, as a group's are: some tokens become likelier, others less likely.
      const Tensor advantages = at::arange(logprobs.size(0), logprobs.options()).remainder(2) * 2 - 1;
      (-(logprobs * advantages).mean()).backward();
    }
    optimizer.clip_gradients(optimizer.gradient_norm(), 1);
    optimizer.step(1e-6);
    optimizer.clear_gradients();
    finish(model.weights().embedding.detach());
  };
  update();  // warms up
  std::vector<double> seconds;
  for (int repeat = 0; repeat < repeats; ++repeat) seconds.push_back(seconds_of(update));
  speed.seconds = median(seconds);
  for (auto& parameter : model.parameters()) parameter.tensor->set_requires_grad(false);
  return speed;
}

}  // namespace ssl4rl::cli
