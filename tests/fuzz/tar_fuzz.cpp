// Tar shards: headers, long names, pax records, members' bytes.
#include "ssl4rl/io/tar.h"
#include "target.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace ssl4rl;
  return fuzz::guarded([&] {
    const auto path = fuzz::folder() / "shard.tar";
    fuzz::put(path, {reinterpret_cast<const char*>(data), size});
    io::for_each_tar_member(path, [&](const io::TarMember& member) {
      if (member.offset > size || member.size > size - member.offset) std::abort();
      (void)io::read_part(path, member.offset, member.size);
    });
  });
}
