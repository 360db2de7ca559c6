// Event files that TensorBoard reads: TFRecords of protobuf messages (tensorflow/core/util/event.proto), scalars only.
#pragma once

#include <filesystem>
#include <memory>
#include <string_view>

namespace ssl4rl::io {

class EventWriter {
 public:
  /// Creates FOLDER/events.out.tfevents.TIME.HOST.PID. Points of an earlier file at steps ≥ `first_step` are superseded
  /// (TensorBoard drops them when it sees the restart).
  EventWriter(const std::filesystem::path& folder, int64_t first_step);
  ~EventWriter();

  void scalar(std::string_view tag, int64_t step, double value);
  void flush();

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace ssl4rl::io
