// Reading and writing of safetensors files (github.com/huggingface/safetensors), single or sharded with an index.
//
// A file is mapped, not read: a tensor is a view of the mapping until somebody converts or copies it. A mapped tensor
// is private: writes to it never reach the file. Everything in the header is checked before a tensor is handed out.
#pragma once

#include <ATen/core/Tensor.h>

#include <filesystem>
#include <functional>
#include <map>
#include <string>
#include <utility>
#include <vector>

namespace ssl4rl::io {

struct TensorInfo {
  std::string dtype;  ///< as in the file: "F32", "BF16", …
  std::vector<int64_t> shape;
  int64_t begin = 0, end = 0;  ///< bytes, relative to the data section
};

class SafetensorsFile {
 public:
  /// Maps the file and checks its header. Throws Error naming the file and what is wrong.
  explicit SafetensorsFile(std::filesystem::path path);

  [[nodiscard]] const std::map<std::string, TensorInfo>& tensors() const { return tensors_; }
  [[nodiscard]] const std::map<std::string, std::string>& metadata() const { return metadata_; }
  [[nodiscard]] const std::filesystem::path& path() const { return path_; }
  /// A view of the mapping (a copy where the data is misaligned for its type). Throws Error on an unknown name or
  /// dtype.
  [[nodiscard]] at::Tensor tensor(const std::string& name) const;
  /// Gives back the memory that reading a tensor has taken; the next reading takes it from the file again.
  void release(const std::string& name) const;

 private:
  std::filesystem::path path_;
  std::map<std::string, TensorInfo> tensors_;
  std::map<std::string, std::string> metadata_;
  at::Tensor data_;  // uint8, the data section
};

/// All tensors of a model directory: model.safetensors, or the shards of model.safetensors.index.json. A path to a file
/// works too.
class SafetensorsModel {
 public:
  explicit SafetensorsModel(const std::filesystem::path& path);

  [[nodiscard]] std::vector<std::string> names() const;
  [[nodiscard]] bool contains(const std::string& name) const { return where_.contains(name); }
  [[nodiscard]] const TensorInfo& info(const std::string& name) const;
  [[nodiscard]] at::Tensor tensor(const std::string& name) const;
  void release(const std::string& name) const;
  [[nodiscard]] const std::vector<SafetensorsFile>& files() const { return files_; }

 private:
  std::vector<SafetensorsFile> files_;
  std::map<std::string, size_t> where_;
};

using NamedTensors = std::vector<std::pair<std::string, at::Tensor>>;

/// Writes the tensors in the given order, atomically, with __metadata__ {"format": "pt"}.
void write_safetensors(const std::filesystem::path& path, const NamedTensors& tensors);

struct TensorSpec {
  std::string name;
  at::ScalarType dtype;
  std::vector<int64_t> shape;
};

/// Writes FOLDER/model.safetensors, or shards of at most `shard_bytes` with an index, as transformers does. `make`
/// gives the i-th tensor, of its specification's type and shape, when its turn comes: one is held at a time.
void write_sharded_safetensors(const std::filesystem::path& folder, const std::vector<TensorSpec>& specs,
                               const std::function<at::Tensor(size_t i)>& make, int64_t shard_bytes = 5'000'000'000);
/// The same for tensors that are there.
void write_sharded_safetensors(const std::filesystem::path& folder, const NamedTensors& tensors,
                               int64_t shard_bytes = 5'000'000'000);

/// "F32" and the like for a tensor's type. Throws Error for a type that the format lacks.
[[nodiscard]] std::string safetensors_dtype(at::ScalarType type);

}  // namespace ssl4rl::io
