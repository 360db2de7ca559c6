// Drawn pictures with a clear up direction, for the demo and the tests: sky, ground, sun, clouds, hills, house, trees,
// people; nearer is bigger.
#pragma once

#include "ssl4rl/base/rng.h"
#include "ssl4rl/image/image.h"

namespace ssl4rl::image {

/// A square picture of `side` pixels.
[[nodiscard]] Image draw_scene(int side, Rng& rng);

}  // namespace ssl4rl::image
