// Items made ahead of time on threads and handed out in order: puzzles drawn and images decoded while the trainer
// works.
#pragma once

#include <condition_variable>
#include <cstdint>
#include <exception>
#include <functional>
#include <map>
#include <mutex>
#include <optional>
#include <thread>
#include <vector>

namespace ssl4rl {

/// Computes make(first), make(first + 1), … on `threads` threads, at most `ahead` items beyond the last one taken, and
/// hands them out in that order. An exception thrown by make(i) comes out of the next() that would have returned item
/// i.
template <typename T>
class Pipeline {
 public:
  Pipeline(int64_t first, int threads, int64_t ahead, std::function<T(int64_t)> make)
      : make_(std::move(make)), ahead_(ahead), to_make_(first), to_take_(first) {
    for (int i = 0; i < threads; ++i) workers_.emplace_back([this](const std::stop_token& stop) { work(stop); });
  }
  ~Pipeline() {
    for (auto& worker : workers_) worker.request_stop();
    workers_.clear();  // joins
  }
  Pipeline(const Pipeline&) = delete;
  Pipeline& operator=(const Pipeline&) = delete;

  /// The next item; waits for it. With no threads it is made here and now.
  [[nodiscard]] T next() {
    if (workers_.empty()) return make_(to_take_++);
    std::unique_lock lock(mutex_);
    changed_.wait(lock, [&] { return ready_.contains(to_take_); });
    Slot slot = std::move(ready_.extract(to_take_).mapped());
    ++to_take_;
    lock.unlock();
    changed_.notify_all();
    if (slot.error) std::rethrow_exception(slot.error);
    return std::move(*slot.item);
  }

 private:
  struct Slot {
    std::optional<T> item;
    std::exception_ptr error;
  };

  void work(const std::stop_token& stop) {
    std::unique_lock lock(mutex_);
    while (true) {
      if (!changed_.wait(lock, stop, [&] { return to_make_ < to_take_ + ahead_; })) return;
      const int64_t index = to_make_++;
      lock.unlock();
      Slot slot;
      try {
        slot.item = make_(index);
      } catch (...) {
        slot.error = std::current_exception();
      }
      lock.lock();
      ready_.emplace(index, std::move(slot));
      changed_.notify_all();
    }
  }

  std::function<T(int64_t)> make_;
  const int64_t ahead_;
  std::mutex mutex_;
  std::condition_variable_any changed_;
  std::map<int64_t, Slot> ready_;
  int64_t to_make_, to_take_;
  std::vector<std::jthread> workers_;  // last: joined before the rest is destroyed
};

}  // namespace ssl4rl
