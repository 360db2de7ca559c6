#include "ssl4rl/io/safetensors.h"

#include <sys/mman.h>
#include <unistd.h>

#include <ATen/ATen.h>
#include <ATen/MapAllocator.h>

#include <algorithm>
#include <array>
#include <bit>
#include <fstream>
#include <limits>
#include <nlohmann/json.hpp>
#include <optional>
#include <set>
#include <span>

#include "ssl4rl/base/error.h"
#include "ssl4rl/io/file.h"
#include "ssl4rl/io/jsonl.h"

namespace ssl4rl::io {
namespace fs = std::filesystem;
namespace {

using Json = nlohmann::json;

static_assert(std::endian::native == std::endian::little, "safetensors are little-endian");

constexpr int64_t kMaxHeader = 100'000'000;  // the reference's limit

struct Dtype {
  const char* name;
  at::ScalarType type;
  int64_t size;
};
constexpr std::array<Dtype, 10> kDtypes{{{"F64", at::kDouble, 8},
                                         {"F32", at::kFloat, 4},
                                         {"F16", at::kHalf, 2},
                                         {"BF16", at::kBFloat16, 2},
                                         {"I64", at::kLong, 8},
                                         {"I32", at::kInt, 4},
                                         {"I16", at::kShort, 2},
                                         {"I8", at::kChar, 1},
                                         {"U8", at::kByte, 1},
                                         {"BOOL", at::kBool, 1}}};

const Dtype* find_dtype(const std::string& name) {
  for (const Dtype& dtype : kDtypes)
    if (name == dtype.name) return &dtype;
  return nullptr;
}

// Parses the header; duplicate tensor names are an error (nlohmann alone would keep the last).
Json parse_header(const std::string& text, const fs::path& path) {
  std::set<std::string> names;
  std::optional<std::string> duplicate;
  const auto note_names = [&](int depth, Json::parse_event_t event, Json& value) {
    if (event == Json::parse_event_t::key && depth == 1 && !names.insert(value.get<std::string>()).second)
      duplicate = value.get<std::string>();
    return true;
  };
  try {
    Json header = Json::parse(text, note_names);
    if (!header.is_object()) fail("{}: the safetensors header is not an object", path.string());
    if (duplicate) fail("{}: tensor {} stands twice in the safetensors header", path.string(), *duplicate);
    return header;
  } catch (const Json::exception& e) {
    fail("{}: the safetensors header is not valid JSON: {}", path.string(), parse_error_text(e));
  }
}

TensorInfo parse_entry(const Json& entry, const std::string& name, const fs::path& path) {
  TensorInfo info;
  try {
    info.dtype = entry.at("dtype").get<std::string>();
    for (const char* key : {"shape", "data_offsets"})
      for (const Json& number : entry.at(key))
        if (!number.is_number_integer())
          fail("{}: tensor {}: \"{}\" holds {}, expected integers", path.string(), name, key, number.dump());
    entry.at("shape").get_to(info.shape);
    const auto offsets = entry.at("data_offsets").get<std::array<int64_t, 2>>();
    info.begin = offsets[0];
    info.end = offsets[1];
  } catch (const Json::exception& e) {
    fail("{}: tensor {}: bad header entry: {}", path.string(), name, parse_error_text(e));
  }
  int64_t count = 1;
  for (const int64_t extent : info.shape)
    if (extent < 0 || __builtin_mul_overflow(count, extent, &count))
      fail("{}: tensor {}: impossible shape", path.string(), name);
  if (info.begin < 0 || info.end < info.begin) fail("{}: tensor {}: impossible data_offsets", path.string(), name);
  int64_t bytes = 0;
  if (const Dtype* dtype = find_dtype(info.dtype))
    if (__builtin_mul_overflow(count, dtype->size, &bytes) || bytes != info.end - info.begin)
      fail("{}: tensor {}: {} {} values need {} bytes, data_offsets hold {}", path.string(), name, count, info.dtype,
           bytes, info.end - info.begin);
  return info;
}

}  // namespace

std::string safetensors_dtype(at::ScalarType type) {
  for (const Dtype& dtype : kDtypes)
    if (dtype.type == type) return dtype.name;
  fail("safetensors cannot hold the type {}", c10::toString(type));
}

SafetensorsFile::SafetensorsFile(fs::path path) : path_(std::move(path)) {
  std::ifstream in(path_, std::ios::binary);
  if (!in || fs::is_directory(path_))
    fail("{}: cannot be read: {}", path_.string(), fs::is_directory(path_) ? "is a folder" : errno_text());
  const auto size = static_cast<int64_t>(fs::file_size(path_));
  uint64_t header_size = 0;
  in.read(reinterpret_cast<char*>(&header_size), sizeof header_size);
  if (!in) fail("{}: not a safetensors file: only {} bytes long", path_.string(), size);
  if (header_size > static_cast<uint64_t>(kMaxHeader))
    fail("{}: not a safetensors file: a header of {} bytes", path_.string(), header_size);
  const int64_t data_begin = 8 + static_cast<int64_t>(header_size);
  if (data_begin > size)
    fail("{}: truncated: the header alone needs {} bytes, the file has {}", path_.string(), data_begin, size);
  std::string text(header_size, '\0');
  in.read(text.data(), static_cast<std::streamsize>(text.size()));
  if (!in) fail("{}: cannot be read: {}", path_.string(), errno_text());

  const Json header = parse_header(text, path_);
  for (const auto& [name, entry] : header.items()) {
    if (name == "__metadata__") {
      for (const auto& [key, value] : entry.items())
        metadata_[key] = value.is_string() ? value.get<std::string>() : value.dump();
    } else {
      tensors_[name] = parse_entry(entry, name, path_);
    }
  }

  std::vector<std::pair<const TensorInfo*, const std::string*>> in_order;
  for (const auto& [name, info] : tensors_) in_order.emplace_back(&info, &name);
  std::sort(in_order.begin(), in_order.end(), [](const auto& a, const auto& b) {
    return std::pair(a.first->begin, a.first->end) < std::pair(b.first->begin, b.first->end);
  });
  int64_t end = 0;
  for (const auto& [info, name] : in_order) {
    if (info->begin != end)
      fail("{}: tensor {}: its data {} another tensor's", path_.string(), *name,
           info->begin < end ? "overlaps" : "leaves a hole after");
    end = info->end;
  }
  if (data_begin + end != size)
    fail("{}: {}: the header describes {} bytes, the file has {}", path_.string(),
         data_begin + end > size ? "truncated" : "has bytes beyond its data", data_begin + end, size);

  data_ = end == 0 ? at::empty({0}, at::kByte)
                   : at::from_file(path_.string(), /*shared=*/false, size, at::TensorOptions().dtype(at::kByte))
                         .slice(0, data_begin);
}

at::Tensor SafetensorsFile::tensor(const std::string& name) const {
  const auto found = tensors_.find(name);
  if (found == tensors_.end()) fail("{}: has no tensor {}", path_.string(), name);
  const TensorInfo& info = found->second;
  const Dtype* const dtype = find_dtype(info.dtype);
  if (!dtype) fail("{}: tensor {}: the type {} is not supported", path_.string(), name, info.dtype);
  if (info.begin == info.end) return at::empty(info.shape, dtype->type);
  at::Tensor bytes = data_.slice(0, info.begin, info.end);
  if (reinterpret_cast<uintptr_t>(bytes.const_data_ptr()) % static_cast<uintptr_t>(dtype->size) != 0)
    bytes = bytes.clone();
  // view(dtype) wants the storage offset to be a multiple of the item size, which a mapping need not give.
  return at::from_blob(
      bytes.mutable_data_ptr(), info.shape, [bytes](void*) {}, at::TensorOptions().dtype(dtype->type));
}

void SafetensorsFile::release(const std::string& name) const {
  const TensorInfo& info = tensors_.at(name);
  if (info.begin == info.end) return;
  // Whole pages inside the tensor; the mapping is private and was not written to, so nothing is lost.
  const auto page = static_cast<uintptr_t>(sysconf(_SC_PAGESIZE));
  const auto begin = reinterpret_cast<uintptr_t>(data_.const_data_ptr()) + static_cast<uintptr_t>(info.begin);
  const uintptr_t end = begin + static_cast<uintptr_t>(info.end - info.begin), first = (begin + page - 1) / page * page,
                  last = end / page * page;
  if (first < last) madvise(reinterpret_cast<void*>(first), last - first, MADV_DONTNEED);
}

SafetensorsModel::SafetensorsModel(const fs::path& path) {
  if (!fs::exists(path)) fail("{}: no such model", path.string());
  std::map<std::string, std::set<std::string>> promised;  // file → tensors
  if (!fs::is_directory(path)) {
    files_.emplace_back(path);
  } else if (fs::exists(path / "model.safetensors")) {
    files_.emplace_back(path / "model.safetensors");
  } else if (const fs::path index = path / "model.safetensors.index.json"; fs::exists(index)) {
    const auto json = read_json(index);
    if (!json.is_object() || !json.contains("weight_map") || !json["weight_map"].is_object())
      fail("{}: has no \"weight_map\"", index.string());
    for (const auto& [name, file] : json["weight_map"].items()) {
      if (!file.is_string() || fs::path(file.get<std::string>()).filename() != file.get<std::string>())
        fail("{}: tensor {}: expected the name of a file in the same folder", index.string(), name);
      promised[file.get<std::string>()].insert(name);
    }
    for (const auto& [file, names] : promised) {
      if (!fs::exists(path / file)) fail("{}: names the shard {}, which is missing", index.string(), file);
      files_.emplace_back(path / file);
      for (const std::string& name : names)
        if (!files_.back().tensors().contains(name))
          fail("{}: puts {} into {}, which lacks it", index.string(), name, file);
    }
  } else {
    fail("{}: found neither model.safetensors nor model.safetensors.index.json", path.string());
  }
  for (size_t i = 0; i < files_.size(); ++i)
    for (const auto& [name, info] : files_[i].tensors())
      if (!where_.emplace(name, i).second) fail("{}: tensor {} stands in two shards", path.string(), name);
}

std::vector<std::string> SafetensorsModel::names() const {
  std::vector<std::string> names;
  for (const auto& [name, file] : where_) names.push_back(name);
  return names;
}

const TensorInfo& SafetensorsModel::info(const std::string& name) const {
  return files_[where_.at(name)].tensors().at(name);
}

at::Tensor SafetensorsModel::tensor(const std::string& name) const {
  const auto found = where_.find(name);
  if (found == where_.end()) fail("{}: has no tensor {}", files_.front().path().parent_path().string(), name);
  return files_[found->second].tensor(name);
}

void SafetensorsModel::release(const std::string& name) const { files_[where_.at(name)].release(name); }

namespace {

int64_t bytes_of(const TensorSpec& spec) {
  int64_t bytes = static_cast<int64_t>(c10::elementSize(spec.dtype));
  for (const int64_t extent : spec.shape) bytes *= extent;
  return bytes;
}

void write_tensors(const fs::path& path, std::span<const TensorSpec> specs,
                   const std::function<at::Tensor(size_t)>& make) {
  std::string header = R"({"__metadata__":{"format":"pt"})";
  std::set<std::string> names;
  int64_t offset = 0;
  for (const TensorSpec& spec : specs) {
    SSL4RL_CHECK(names.insert(spec.name).second, "tensor {} twice", spec.name);
    const int64_t bytes = bytes_of(spec);
    const nlohmann::ordered_json entry{
        {"dtype", safetensors_dtype(spec.dtype)}, {"shape", spec.shape}, {"data_offsets", {offset, offset + bytes}}};
    header += fmt::format(",{}:{}", nlohmann::ordered_json(spec.name).dump(), entry.dump());
    offset += bytes;
  }
  header += "}";
  header.resize((header.size() + 7) / 8 * 8, ' ');
  const uint64_t size = header.size();
  AtomicFile file(path);
  file.write({reinterpret_cast<const char*>(&size), sizeof size});
  file.write(header);
  for (size_t i = 0; i < specs.size(); ++i) {
    const at::Tensor host = make(i).to(at::kCPU).contiguous();
    SSL4RL_CHECK(host.scalar_type() == specs[i].dtype && host.sizes() == at::IntArrayRef(specs[i].shape),
                 "tensor {} is not as announced", specs[i].name);
    file.write({static_cast<const char*>(host.const_data_ptr()), static_cast<size_t>(host.nbytes())});
  }
  file.commit();
}

std::vector<TensorSpec> specs_of(const NamedTensors& tensors) {
  std::vector<TensorSpec> specs;
  for (const auto& [name, tensor] : tensors) specs.push_back({name, tensor.scalar_type(), tensor.sizes().vec()});
  return specs;
}

}  // namespace

void write_safetensors(const fs::path& path, const NamedTensors& tensors) {
  write_tensors(path, specs_of(tensors), [&](size_t i) { return tensors[i].second; });
}

void write_sharded_safetensors(const fs::path& folder, const std::vector<TensorSpec>& specs,
                               const std::function<at::Tensor(size_t)>& make, int64_t shard_bytes) {
  std::vector<size_t> begins{0};  // the first tensor of each shard
  int64_t in_shard = 0, total = 0;
  for (size_t i = 0; i < specs.size(); ++i) {
    const int64_t bytes = bytes_of(specs[i]);
    if (in_shard + bytes > shard_bytes && i > begins.back()) {
      begins.push_back(i);
      in_shard = 0;
    }
    in_shard += bytes;
    total += bytes;
  }
  if (begins.size() == 1) return write_tensors(folder / "model.safetensors", specs, make);
  nlohmann::json weight_map = nlohmann::json::object();
  for (size_t shard = 0; shard < begins.size(); ++shard) {
    const std::string name = fmt::format("model-{:05}-of-{:05}.safetensors", shard + 1, begins.size());
    const size_t begin = begins[shard], end = shard + 1 < begins.size() ? begins[shard + 1] : specs.size();
    write_tensors(folder / name, std::span(specs).subspan(begin, end - begin),
                  [&](size_t i) { return make(begin + i); });
    for (size_t i = begin; i < end; ++i) weight_map[specs[i].name] = name;
  }
  const nlohmann::ordered_json index{{"metadata", {{"total_size", total}}}, {"weight_map", weight_map}};
  write_file(folder / "model.safetensors.index.json", index.dump(2) + "\n");
}

void write_sharded_safetensors(const fs::path& folder, const NamedTensors& tensors, int64_t shard_bytes) {
  write_sharded_safetensors(
      folder, specs_of(tensors), [&](size_t i) { return tensors[i].second; }, shard_bytes);
}

}  // namespace ssl4rl::io
