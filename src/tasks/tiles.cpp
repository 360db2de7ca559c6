#include "tiles.h"

#include <algorithm>
#include <cmath>
#include <cstring>

namespace ssl4rl::tasks {

void Grid::describe(config::Section& section) {
  section.add("rows", rows).at_least(1).at_most(6).help("rows of tiles");
  section.add("cols", cols).at_least(1).at_most(6).help("columns of tiles");
  section.add("trim", trim)
      .at_least(0)
      .at_most(0.2)
      .help("share of a tile's shorter side that is cut from each of its edges, so that seams do not match");
}

std::vector<image::Box> Grid::boxes(const image::Box& part) const {
  const int width = part.width / static_cast<int>(cols), height = part.height / static_cast<int>(rows);
  const int cut = static_cast<int>(std::lround(std::min(width, height) * trim));
  check_shown(width - 2 * cut, height - 2 * cut, "tiles");
  std::vector<image::Box> boxes;
  for (int row = 0; row < rows; ++row)
    for (int column = 0; column < cols; ++column)
      boxes.push_back({part.x + column * width + cut, part.y + row * height + cut, width - 2 * cut, height - 2 * cut});
  return boxes;
}

image::Image Grid::compose(const std::vector<image::Image>& tiles) const {
  const int width = tiles.front().width, height = tiles.front().height;
  image::Image out(width * static_cast<int>(cols), height * static_cast<int>(rows));
  for (size_t i = 0; i < tiles.size(); ++i) {
    const int left = static_cast<int>(i) % static_cast<int>(cols) * width,
              top = static_cast<int>(i) / static_cast<int>(cols) * height;
    for (int y = 0; y < height; ++y)
      std::memcpy(out.at(left, top + y), tiles[i].row(y), static_cast<size_t>(width) * 3);
  }
  return out;
}

}  // namespace ssl4rl::tasks
