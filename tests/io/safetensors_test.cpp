#include "ssl4rl/io/safetensors.h"

#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include "ssl4rl/io/file.h"
#include "support/errors.h"
#include "support/temporary_folder.h"

namespace ssl4rl::io {
namespace {

// A file of the given header and this many data bytes.
std::string raw(const std::string& header, size_t data_bytes) {
  uint64_t size = header.size();
  return std::string(reinterpret_cast<char*>(&size), 8) + header + std::string(data_bytes, '\1');
}

class Safetensors : public testing::Test {
 protected:
  std::string error_of_file(const std::string& bytes) {
    write_file(path_, bytes);
    std::string message = error_of([&] { const SafetensorsFile file(path_); });
    const size_t at = message.find(path_.string() + ": ");
    return at == 0 ? message.substr(path_.string().size() + 2) : message;
  }

  TemporaryFolder folder_;
  std::filesystem::path path_ = folder_.path() / "x.safetensors";
};

TEST_F(Safetensors, RoundTripsEveryTypeShapeAndOrder) {
  NamedTensors tensors;
  for (const auto type : {at::kDouble, at::kFloat, at::kHalf, at::kBFloat16, at::kLong, at::kInt, at::kShort, at::kChar,
                          at::kByte, at::kBool})
    tensors.emplace_back(fmt::format("t.{}", c10::toString(type)), (at::arange(6).reshape({2, 3}) % 2).to(type));
  tensors.emplace_back("scalar", at::scalar_tensor(3.5));
  tensors.emplace_back("empty", at::empty({0, 4}));
  tensors.emplace_back("strided", at::arange(6.0f).reshape({2, 3}).t());
  write_safetensors(path_, tensors);
  const SafetensorsFile file(path_);
  EXPECT_EQ(file.tensors().size(), tensors.size());
  EXPECT_EQ(file.metadata().at("format"), "pt");
  for (const auto& [name, tensor] : tensors) {
    EXPECT_EQ(file.tensor(name).scalar_type(), tensor.scalar_type()) << name;
    EXPECT_TRUE(at::equal(file.tensor(name), tensor)) << name;
  }
}

TEST_F(Safetensors, WritingToAMappedTensorNeverReachesTheFile) {
  write_safetensors(path_, {{"a", at::zeros({4})}});
  SafetensorsFile(path_).tensor("a").fill_(7);
  EXPECT_EQ(SafetensorsFile(path_).tensor("a").sum().item<float>(), 0);
}

TEST_F(Safetensors, MisalignedDataIsReadToo) {
  write_file(
      path_,
      raw(R"({"a":{"dtype":"U8","shape":[1],"data_offsets":[0,1]},"b":{"dtype":"I32","shape":[1],"data_offsets":[1,5]}})",
          5));
  EXPECT_EQ(SafetensorsFile(path_).tensor("b").item<int32_t>(), 0x01010101);
}

TEST_F(Safetensors, BrokenFilesAreErrorsThatSayWhatIsWrong) {
  const std::string good = raw(R"({"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8]}})", 8);
  EXPECT_EQ(error_of_file(good), "no error");
  EXPECT_EQ(error_of_file(good.substr(0, 5)), "not a safetensors file: only 5 bytes long");
  EXPECT_EQ(error_of_file(good.substr(0, 20)), "truncated: the header alone needs 62 bytes, the file has 20");
  EXPECT_EQ(error_of_file(good.substr(0, good.size() - 3)),
            "truncated: the header describes 70 bytes, the file has 67");
  EXPECT_EQ(error_of_file(good + "x"), "has bytes beyond its data: the header describes 70 bytes, the file has 71");
  EXPECT_EQ(error_of_file(std::string(16, '\x7f')).substr(0, 42), "not a safetensors file: a header of 918720");
  EXPECT_EQ(error_of_file(raw("[1]", 0)), "the safetensors header is not an object");
  EXPECT_NE(error_of_file(raw("{", 0)).find("not valid JSON"), std::string::npos);
  EXPECT_EQ(error_of_file(raw(R"({"a":{"dtype":"F32","shape":[3],"data_offsets":[0,8]}})", 8)),
            "tensor a: 3 F32 values need 12 bytes, data_offsets hold 8");
  EXPECT_EQ(error_of_file(raw(R"({"a":{"dtype":"F32","shape":[-1],"data_offsets":[0,8]}})", 8)),
            "tensor a: impossible shape");
  EXPECT_EQ(error_of_file(raw(R"({"a":{"dtype":"F32","shape":[4294967296,4294967296],"data_offsets":[0,8]}})", 8)),
            "tensor a: impossible shape");
  EXPECT_EQ(
      error_of_file(raw(
          R"({"a":{"dtype":"U8","shape":[2],"data_offsets":[0,2]},"b":{"dtype":"U8","shape":[2],"data_offsets":[1,3]}})",
          3)),
      "tensor b: its data overlaps another tensor's");
  EXPECT_EQ(
      error_of_file(raw(
          R"({"a":{"dtype":"U8","shape":[1],"data_offsets":[0,1]},"b":{"dtype":"U8","shape":[1],"data_offsets":[2,3]}})",
          3)),
      "tensor b: its data leaves a hole after another tensor's");
  EXPECT_EQ(
      error_of_file(raw(
          R"({"a":{"dtype":"U8","shape":[0],"data_offsets":[0,0]},"a":{"dtype":"U8","shape":[0],"data_offsets":[0,0]}})",
          0)),
      "tensor a stands twice in the safetensors header");
  EXPECT_NE(error_of_file(raw(R"({"a":{"dtype":"U8","shape":[1]}})", 1)).find("tensor a: bad header entry"),
            std::string::npos);
}

TEST_F(Safetensors, ShardsAreWrittenWithAnIndexAndReadAsOneModel) {
  NamedTensors tensors;
  for (int i = 0; i < 5; ++i) tensors.emplace_back(fmt::format("t{}", i), at::full({10}, 1.0f * static_cast<float>(i)));
  write_sharded_safetensors(folder_.path(), tensors, 100);
  EXPECT_TRUE(std::filesystem::exists(folder_.path() / "model-00003-of-00003.safetensors"));
  const SafetensorsModel model(folder_.path());
  EXPECT_EQ(model.names().size(), 5u);
  EXPECT_TRUE(at::equal(model.tensor("t4"), tensors[4].second));
  std::filesystem::remove(folder_.path() / "model-00002-of-00003.safetensors");
  EXPECT_NE(error_of([&] {
              const SafetensorsModel again(folder_.path());
            }).find("names the shard model-00002-of-00003.safetensors, which is missing"),
            std::string::npos);
}

TEST_F(Safetensors, AFolderWithoutWeightsIsAnError) {
  EXPECT_NE(error_of([&] { const SafetensorsModel model(folder_.path()); }).find("found neither model.safetensors nor"),
            std::string::npos);
}

}  // namespace
}  // namespace ssl4rl::io
