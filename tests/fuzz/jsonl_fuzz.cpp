// JSON Lines, and base64 in their strings.
#include <nlohmann/json.hpp>
#include <sstream>

#include "ssl4rl/io/hash.h"
#include "ssl4rl/io/jsonl.h"
#include "target.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace ssl4rl;
  return fuzz::guarded([&] {
    std::istringstream in(std::string(reinterpret_cast<const char*>(data), size));
    io::for_each_json_line(in, "fuzz", [](nlohmann::ordered_json&& object, int64_t) {
      (void)io::to_line(object);
      for (const auto& [key, value] : object.items())
        if (value.is_string()) (void)io::base64_decode(value.get<std::string>());
    });
  });
}
