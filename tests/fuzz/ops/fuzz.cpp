// What libFuzzer calls with each input.
#include <iterator>

#include "ops.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  fuzz::Bytes bytes(data, size);
  fuzz::kOps[bytes.below(std::size(fuzz::kOps))](bytes);
  return 0;
}
