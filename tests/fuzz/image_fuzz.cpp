// Image files: our own reading of headers and metadata, then the decoders.
#include "ssl4rl/image/codec.h"
#include "target.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace ssl4rl;
  return fuzz::guarded([&] {
    const image::Image image = image::decode({reinterpret_cast<const char*>(data), size}, image::Orientation::kApply);
    if (image.width < 1 || image.height < 1 || image.pixels.size() != size_t(image.width) * size_t(image.height) * 3)
      std::abort();
  });
}
