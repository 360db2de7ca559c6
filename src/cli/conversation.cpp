#include "conversation.h"

#include <poll.h>
#include <unistd.h>

#include <iostream>

#include "ssl4rl/base/error.h"
#include "ssl4rl/image/codec.h"
#include "ssl4rl/io/hash.h"
#include "ssl4rl/io/jsonl.h"

namespace ssl4rl::cli {
namespace fs = std::filesystem;
namespace {

using Json = nlohmann::ordered_json;

std::string text_of(const Json& object, const char* key, const char* what) {
  if (!object.contains(key) || !object[key].is_string()) fail("{}: expected \"{}\": a text", what, key);
  return object[key].get<std::string>();
}

text::ContentPart parse_part(const Json& part, const fs::path& folder) {
  if (!part.is_object()) fail("content: expected objects with a \"type\", found {}", part.type_name());
  const std::string type = text_of(part, "type", "content");
  if (type == "text") return {text::ContentPart::Kind::kText, text_of(part, "text", "content of type text")};
  if (type != "image") fail("content: expected the type text or image, found \"{}\"", type);
  const std::string image = text_of(part, "image", "content of type image");
  if (image.starts_with("data:")) {
    if (!image.starts_with("data:image/") || image.find(";base64,") == std::string::npos)
      fail("image: expected data:image/TYPE;base64,… or a path");
    return {text::ContentPart::Kind::kImage, image};
  }
  const fs::path path = fs::absolute(folder / image).lexically_normal();
  if (!fs::is_regular_file(path)) fail("image: {}: no such file", path.string());
  return {text::ContentPart::Kind::kImage, path.string()};
}

text::Message parse_message(const Json& json, const fs::path& folder) {
  if (!json.is_object()) fail("messages: expected objects with \"role\" and \"content\", found {}", json.type_name());
  text::Message message{text_of(json, "role", "messages"), {}};
  if (!json.contains("content")) fail("messages: a message of {} has no \"content\"", message.role);
  const Json& content = json["content"];
  if (content.is_string()) {
    message.content.push_back({text::ContentPart::Kind::kText, content.get<std::string>()});
  } else if (content.is_array()) {
    for (const Json& part : content) message.content.push_back(parse_part(part, folder));
  } else {
    fail("content: expected a text or a list, found {}", content.type_name());
  }
  return message;
}

std::optional<int64_t> pixels(const Json& object, const char* key) {
  if (!object.contains(key) || object[key].is_null()) return {};
  if (!object[key].is_number_integer() || object[key].get<int64_t>() < 1) fail("{}: expected a positive integer", key);
  return object[key].get<int64_t>();
}

std::string place(const std::string& name, int64_t number) { return fmt::format("{}:{}", name, number); }

}  // namespace

InputLine parse_line(Json&& object, int64_t number, const fs::path& folder) {
  InputLine line{.number = number};
  line.id = object.contains("id") ? object["id"] : Json(std::to_string(number));
  if (!object.contains("messages") || !object["messages"].is_array() || object["messages"].empty())
    fail("expected \"messages\": a list of messages");
  for (const Json& message : object["messages"]) line.messages.push_back(parse_message(message, folder));
  if (object.contains("completion") && !object["completion"].is_null()) {
    if (!object["completion"].is_string()) fail("completion: expected a text");
    line.completion = object["completion"].get<std::string>();
  }
  if (object.contains("completion_ids") && !object["completion_ids"].is_null()) {
    const Json& ids = object["completion_ids"];
    if (!ids.is_array() || !std::all_of(ids.begin(), ids.end(), [](const Json& id) { return id.is_number_integer(); }))
      fail("completion_ids: expected a list of token ids");
    line.completion_ids = ids.get<std::vector<int64_t>>();
  }
  line.min_pixels = pixels(object, "min_pixels");
  line.max_pixels = pixels(object, "max_pixels");
  for (const char* key : {"id", "messages", "completion", "completion_ids", "min_pixels", "max_pixels"})
    object.erase(key);
  line.extra = std::move(object);
  return line;
}

std::vector<InputLine> read_lines(const fs::path& file) {
  std::vector<InputLine> lines;
  const std::string name = file == "-" ? "standard input" : file.string();
  io::for_each_json_line(file, [&](Json&& object, int64_t number) {
    lines.push_back(parse_line(std::move(object), number, file == "-" ? fs::current_path() : file.parent_path()));
    lines.back().where = place(name, number);
  });
  return lines;
}

void for_each_available_batch(size_t most, const std::function<void(const InputLine&)>& check,
                              const std::function<void(std::vector<InputLine>&&)>& visit) {
  std::string buffer;
  int64_t number = 0;
  bool open = true;
  while (open || !buffer.empty()) {
    std::vector<InputLine> batch;
    while (batch.size() < most) {
      const size_t end = buffer.find('\n');
      if (end == std::string::npos) {
        // Nothing whole is left: with lines at hand take only what has come already, else wait.
        pollfd input{STDIN_FILENO, POLLIN, 0};
        if (open && (batch.empty() || poll(&input, 1, 0) > 0)) {
          char chunk[1 << 16];
          const ssize_t got = read(STDIN_FILENO, chunk, sizeof chunk);
          if (got < 0) fail("standard input: cannot be read: {}", errno_text());
          open = got > 0;
          buffer.append(chunk, static_cast<size_t>(std::max<ssize_t>(got, 0)));
          if (!open && !buffer.empty() && buffer.back() != '\n') buffer += '\n';
          if (open || !buffer.empty()) continue;
        }
        break;
      }
      std::istringstream text(buffer.substr(0, end));
      buffer.erase(0, end + 1);
      try {
        std::optional<InputLine> line;
        const auto parse = [&](Json&& object, int64_t) {
          line = parse_line(std::move(object), number, fs::current_path());
        };
        io::for_each_json_line(text, "standard input", parse, ++number);
        if (!line) continue;
        line->where = place("standard input", number);
        check(*line);
        batch.push_back(std::move(*line));
      } catch (const Error&) {  // what came before it is answered first
        if (!batch.empty()) visit(std::move(batch));
        throw;
      }
    }
    if (!batch.empty()) visit(std::move(batch));
    if (!open && buffer.find('\n') == std::string::npos) return;
  }
}

void check_prompt(const models::Processor& processor, const InputLine& line) {
  try {
    processor.check(line.messages, line.min_pixels, line.max_pixels);
  } catch (const Error& e) {
    fail("{}: {}", line.where, e.what());
  }
}

bool same_prompt(const InputLine& a, const InputLine& b) {
  return a.messages == b.messages && a.min_pixels == b.min_pixels && a.max_pixels == b.max_pixels;
}

models::Prompt encode(const models::Processor& processor, const InputLine& line) {
  try {
    std::vector<image::Image> images;
    for (const text::Message& message : line.messages)
      for (const text::ContentPart& part : message.content) {
        if (part.kind != text::ContentPart::Kind::kImage) continue;
        if (part.value.starts_with("data:")) {
          images.push_back(
              image::decode(io::base64_decode(std::string_view(part.value).substr(part.value.find(',') + 1)),
                            image::Orientation::kApply));
        } else {
          images.push_back(image::load(part.value));
        }
      }
    return processor.encode(line.messages, images, line.min_pixels, line.max_pixels);
  } catch (const Error& e) {
    fail("{}: {}", line.where, e.what());
  }
}

}  // namespace ssl4rl::cli
