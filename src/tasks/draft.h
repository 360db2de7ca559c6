// What the tasks' files share when they put a puzzle together. Not for others.
#pragma once

#include <memory>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "ssl4rl/image/geometry.h"
#include "ssl4rl/tasks/task.h"

namespace ssl4rl::tasks {

using Json = nlohmann::ordered_json;

/// A box as JSON: [x, y, width, height].
[[nodiscard]] std::vector<int> box_json(const image::Box& box);

/// The meta of a draft: the task's own ground truth, then source_size and crop.
[[nodiscard]] std::shared_ptr<Json> make_meta(Json own, const image::Image& picture, const image::Box& crop);

/// "2,4,1,3".
[[nodiscard]] std::string list_text(const std::vector<int>& items);

/// The numbers from 1 to n in a random order.
[[nodiscard]] std::vector<int> random_order(int64_t n, Rng& rng);
/// The n-th of all orders of 1…count, in lexicographic order, from 0.
[[nodiscard]] std::vector<int> nth_order(int64_t count, int64_t n);
/// The inverse permutation, 1-based.
[[nodiscard]] std::vector<int> inverse(const std::vector<int>& order);
[[nodiscard]] int64_t factorial(int64_t n);

/// The best constant answer's expected reward where the truth is a uniform permutation of 1…n, standing in rows of
/// `columns` (0: one row); without the identity some constant earns nothing there, so all the rest counts N/(N−1) fold.
[[nodiscard]] double permutation_chance(const std::string& reward, int64_t n, int64_t columns, bool identity_allowed);

/// Two boxes inside `box`, smaller by the same 7 pixels for every answer and at random places of their own: JPEG leaves
/// a grid of 8 pixels in a photo, and where it lies in one piece, or in two of them, would tell how the piece was
/// turned or mirrored. Pictures below 128 pixels stay whole.
[[nodiscard]] std::pair<image::Box, image::Box> off_the_grid(const image::Box& box, Rng& rng);

/// Throws Unusable where a shown side would be too short.
void check_shown(int width, int height, const char* what);

}  // namespace ssl4rl::tasks
