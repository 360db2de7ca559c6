// A run's configuration, read into the program's own table of keys, written, and read back.
#include "ssl4rl/cli/run_config.h"
#include "target.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace ssl4rl;
  return fuzz::guarded([&] {
    cli::RunConfig config, again;
    config::Section keys = config.describe(), others = again.describe();
    config::read_text(keys, std::string(reinterpret_cast<const char*>(data), size), "fuzz.yaml", "/nowhere");
    const std::string written = config::to_yaml(config.describe());
    if (written.find("${") == std::string::npos) {  // a value may name another variable than the file did
      config::read_text(others, written, "written.yaml", "/nowhere");
      if (!config::differences(config.describe(), again.describe()).empty()) std::abort();
    }
  });
}
