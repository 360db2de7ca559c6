// The tiny model of the fixtures and the reference's results on it.
#pragma once

#include <ATen/ATen.h>

#include <memory>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "ssl4rl/image/codec.h"
#include "ssl4rl/io/jsonl.h"
#include "ssl4rl/models/model.h"
#include "support/data.h"

namespace ssl4rl {

inline std::filesystem::path tiny_model() { return test_data() / "tiny_qwen2_5_vl"; }

inline std::unique_ptr<models::Model> load_tiny(const std::filesystem::path& folder = tiny_model(),
                                                at::ScalarType dtype = at::kFloat) {
  return std::make_unique<models::Model>(folder, std::make_shared<const models::Processor>(folder), at::kCPU, dtype);
}

struct ModelCase {
  std::string id;
  std::vector<text::Message> messages;
  std::vector<image::Image> images;
  std::optional<int64_t> min_pixels, max_pixels;
  std::vector<int64_t> prompt_ids, token_ids, greedy_ids;
  std::vector<double> logprobs, logprobs_at_0_7;
};

inline std::vector<ModelCase> parse_model_cases(const nlohmann::ordered_json& list) {
  std::vector<ModelCase> cases;
  for (const auto& json : list) {
    ModelCase c{.id = json["id"],
                .prompt_ids = json["prompt_ids"],
                .token_ids = json["token_ids"],
                .greedy_ids = json["greedy_ids"],
                .logprobs = json["logprobs"],
                .logprobs_at_0_7 = json["logprobs_at_0_7"]};
    if (json.contains("min_pixels")) c.min_pixels = json["min_pixels"].get<int64_t>();
    if (json.contains("max_pixels")) c.max_pixels = json["max_pixels"].get<int64_t>();
    for (const auto& m : json["messages"]) {
      text::Message message{m["role"], {}};
      if (m["content"].is_string()) {
        message.content.push_back({text::ContentPart::Kind::kText, m["content"]});
      } else {
        for (const auto& part : m["content"]) {
          const bool is_image = part["type"] == "image";
          message.content.push_back({is_image ? text::ContentPart::Kind::kImage : text::ContentPart::Kind::kText,
                                     part[is_image ? "image" : "text"]});
          if (is_image) c.images.push_back(image::load(test_data() / part["image"].get<std::string>()));
        }
      }
      c.messages.push_back(std::move(message));
    }
    cases.push_back(std::move(c));
  }
  return cases;
}

inline std::vector<ModelCase> model_cases(const std::string& file = "model_cases.json") {
  return parse_model_cases(io::read_json(test_data() / file));
}

}  // namespace ssl4rl
