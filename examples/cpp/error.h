// What the user must change: printed as one line, exit code 2.
#pragma once
#include <stdexcept>

struct UserError : std::runtime_error {
  using std::runtime_error::runtime_error;
};
