// An 8-bit RGB picture, rows from the top, pixels interleaved. Coordinates: origin top-left, boxes [x, y, width,
// height].
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

namespace ssl4rl::image {

struct Box {
  int x = 0, y = 0, width = 0, height = 0;

  [[nodiscard]] int right() const { return x + width; }
  [[nodiscard]] int bottom() const { return y + height; }
  [[nodiscard]] bool overlaps(const Box& other) const {
    return x < other.right() && other.x < right() && y < other.bottom() && other.y < bottom();
  }
  bool operator==(const Box&) const = default;
};

struct Image {
  int width = 0, height = 0;
  std::vector<uint8_t> pixels;  ///< height × width × 3

  Image() = default;
  Image(int w, int h) : width(w), height(h), pixels(static_cast<size_t>(w) * static_cast<size_t>(h) * 3) {}

  [[nodiscard]] uint8_t* row(int y) { return pixels.data() + offset(y); }
  [[nodiscard]] const uint8_t* row(int y) const { return pixels.data() + offset(y); }
  [[nodiscard]] uint8_t* at(int x, int y) { return row(y) + static_cast<ptrdiff_t>(x) * 3; }
  [[nodiscard]] const uint8_t* at(int x, int y) const { return row(y) + static_cast<ptrdiff_t>(x) * 3; }
  [[nodiscard]] Box box() const { return {0, 0, width, height}; }
  bool operator==(const Image&) const = default;

 private:
  [[nodiscard]] ptrdiff_t offset(int y) const { return static_cast<ptrdiff_t>(y) * width * 3; }
};

}  // namespace ssl4rl::image
