#include "ssl4rl/io/hash.h"

#include <gtest/gtest.h>

#include "ssl4rl/io/file.h"
#include "support/errors.h"
#include "support/temporary_folder.h"

namespace ssl4rl::io {
namespace {

TEST(Hash, Sha256MatchesThePublishedVectors) {  // FIPS 180-2, appendix B
  EXPECT_EQ(sha256_hex("abc"), "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
  EXPECT_EQ(sha256_hex(""), "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
  const TemporaryFolder folder;
  write_file(folder.path() / "m", std::string(1000000, 'a'));
  EXPECT_EQ(sha256_hex_of_file(folder.path() / "m"),
            "cdc76e5c9914fb9281a1c7e284d73e67f1809a48a497200e046d39ccc7112cd0");
}

TEST(Hash, Base64RoundTripsAndRejectsRubbish) {
  for (const std::string text : {"", "f", "fo", "foo", "foob", "fooba", "foobar"})
    EXPECT_EQ(base64_decode(base64_encode(text)), text);
  EXPECT_EQ(base64_encode("foobar"), "Zm9vYmFy");
  EXPECT_EQ(base64_decode("Zm9v\nYmE="), "fooba");
  EXPECT_EQ(error_of([] { (void)base64_decode("Zm9v!mFy"); }), "not valid base64");
  EXPECT_EQ(error_of([] { (void)base64_decode("Zm9vY"); }), "not valid base64");
}

}  // namespace
}  // namespace ssl4rl::io
