#include "ssl4rl/base/pipeline.h"

#include <gtest/gtest.h>

#include <atomic>
#include <chrono>
#include <stdexcept>

namespace ssl4rl {
namespace {

TEST(Pipeline, HandsOutItemsInOrderWhateverTheThreads) {
  for (const int threads : {0, 1, 2, 7}) {
    Pipeline<int64_t> pipeline(5, threads, 4, [](int64_t i) {
      std::this_thread::sleep_for(std::chrono::microseconds(i * 7919 % 300));
      return i * i;
    });
    for (int64_t i = 5; i < 60; ++i) ASSERT_EQ(pipeline.next(), i * i);
  }
}

TEST(Pipeline, NeverRunsFurtherAheadThanAllowed) {
  std::atomic<int64_t> highest = -1;
  Pipeline<int64_t> pipeline(0, 3, 4, [&](int64_t i) {
    int64_t seen = highest;
    while (seen < i && !highest.compare_exchange_weak(seen, i)) {
    }
    return i;
  });
  std::this_thread::sleep_for(std::chrono::milliseconds(50));
  EXPECT_EQ(highest, 3);
  EXPECT_EQ(pipeline.next(), 0);
}

TEST(Pipeline, AnExceptionComesOutAtItsItemAndLaterItemsFollow) {
  for (const int threads : {0, 2}) {
    Pipeline<int> pipeline(0, threads, 3, [](int64_t i) {
      if (i == 2) throw std::runtime_error("two");
      return static_cast<int>(i);
    });
    EXPECT_EQ(pipeline.next(), 0);
    EXPECT_EQ(pipeline.next(), 1);
    EXPECT_THROW((void)pipeline.next(), std::runtime_error);
    EXPECT_EQ(pipeline.next(), 3);
  }
}

TEST(Pipeline, CanBeDestroyedWhileWorkIsUnderWay) {
  Pipeline<int> pipeline(0, 2, 100, [](int64_t) {
    std::this_thread::sleep_for(std::chrono::milliseconds(1));
    return 0;
  });
  (void)pipeline.next();
}

}  // namespace
}  // namespace ssl4rl
