#include "ssl4rl/image/draw.h"

#include <algorithm>
#include <cmath>
#include <numbers>
#include <opencv2/imgproc.hpp>
#include <vector>

namespace ssl4rl::image {
namespace {

constexpr int kShift = 4;  // fractional bits of OpenCV's coordinates

cv::Mat canvas_of(Image& image) { return {image.height, image.width, CV_8UC3, image.pixels.data()}; }
cv::Point fine(double x, double y) {
  return {static_cast<int>(std::lround(x * (1 << kShift))), static_cast<int>(std::lround(y * (1 << kShift)))};
}
int fine(double length) { return static_cast<int>(std::lround(length * (1 << kShift))); }
cv::Scalar paint(const Colour& c) {
  return {static_cast<double>(c[0]), static_cast<double>(c[1]), static_cast<double>(c[2])};
}

const cv::Scalar kWhite{255, 255, 255}, kBlack{0, 0, 0};

void fill(cv::Mat& canvas, Shape shape, double x, double y, double radius, double turn, const cv::Scalar& colour) {
  if (shape == Shape::kCircle)
    return cv::circle(canvas, fine(x, y), fine(radius), colour, cv::FILLED, cv::LINE_AA, kShift);
  const int corners = shape == Shape::kSquare ? 4 : 3;
  std::vector<cv::Point> outline;
  for (int i = 0; i < corners; ++i) {
    const double angle = (turn + 360.0 * i / corners) * std::numbers::pi / 180;
    outline.push_back(fine(x + radius * std::cos(angle), y + radius * std::sin(angle)));
  }
  cv::fillConvexPoly(canvas, outline, colour, cv::LINE_AA, kShift);
}

}  // namespace

void draw_shape(Image& image, Shape shape, double x, double y, double radius, double turn, const Colour& colour) {
  cv::Mat canvas = canvas_of(image);
  const double line = std::max(1.0, radius / 10);
  fill(canvas, shape, x, y, radius, turn, kBlack);
  fill(canvas, shape, x, y, radius - (shape == Shape::kTriangle ? 2 : 1) * line, turn, kWhite);
  fill(canvas, shape, x, y, radius - (shape == Shape::kTriangle ? 4 : 2) * line, turn, paint(colour));
}

void mark_point(Image& image, double x, double y, double radius, const std::string& label) {
  cv::Mat canvas = canvas_of(image);
  const int line = std::max(1, static_cast<int>(std::lround(radius / 5)));
  cv::circle(canvas, fine(x, y), fine(radius), kBlack, line + 2, cv::LINE_AA, kShift);
  cv::circle(canvas, fine(x, y), fine(radius), kWhite, line, cv::LINE_AA, kShift);
  if (label.empty()) return;
  const double disc = radius * 1.2, margin = disc + 1;
  // The disc lies up and to the right, or on another side where the picture ends.
  double dx = radius * 1.6, dy = -radius * 1.6;
  if (x + dx + margin > image.width) dx = -dx;
  if (y + dy - margin < 0) dy = -dy;
  cv::circle(canvas, fine(x + dx, y + dy), fine(disc), kWhite, cv::FILLED, cv::LINE_AA, kShift);
  cv::circle(canvas, fine(x + dx, y + dy), fine(disc), kBlack, 1, cv::LINE_AA, kShift);
  const double scale = disc / 14;
  const int stroke = std::max(1, static_cast<int>(std::lround(disc / 7)));
  int baseline = 0;
  const cv::Size size = cv::getTextSize(label, cv::FONT_HERSHEY_SIMPLEX, scale, stroke, &baseline);
  cv::putText(canvas, label,
              {static_cast<int>(std::lround(x + dx - size.width / 2.0)),
               static_cast<int>(std::lround(y + dy + size.height / 2.0))},
              cv::FONT_HERSHEY_SIMPLEX, scale, kBlack, stroke, cv::LINE_AA);
}

}  // namespace ssl4rl::image
