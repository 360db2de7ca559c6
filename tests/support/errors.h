// What an action complains of.
#pragma once

#include <functional>
#include <string>

#include "ssl4rl/base/error.h"

namespace ssl4rl {

/// The message of the Error that the action throws, or "no error".
inline std::string error_of(const std::function<void()>& action) {
  try {
    action();
  } catch (const Error& e) {
    return e.what();
  }
  return "no error";
}

}  // namespace ssl4rl
