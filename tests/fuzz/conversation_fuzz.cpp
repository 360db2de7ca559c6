// Lines of `generate` and `score`.
#include "../../src/cli/conversation.h"

#include <sstream>

#include "ssl4rl/io/jsonl.h"
#include "target.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace ssl4rl;
  return fuzz::guarded([&] {
    std::istringstream in(std::string(reinterpret_cast<const char*>(data), size));
    io::for_each_json_line(in, "fuzz", [](nlohmann::ordered_json&& object, int64_t number) {
      const cli::InputLine line = cli::parse_line(std::move(object), number, fuzz::folder());
      (void)text::render({.image = "[IMG]"}, line.messages, true);
    });
  });
}
