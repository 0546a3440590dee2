// A score and its number in one word, which every device orders alike: what propose and select_detections choose by.
#pragma once
#include <bit>
#include <cmath>
#include <cstdint>
#include <limits>

#include <torch/headeronly/macros/Macros.h>

namespace maskrcnn {

// The larger word is the better score, or of equal scores the lower number. So the order is total, and no sort needs
// to be stable.
using RankedScore = uint64_t;

C10_HOST_DEVICE inline RankedScore ranked(float score, uint32_t number) {
  const float value = std::isnan(score) ? -std::numeric_limits<float>::infinity() : score + 0.0f;  // -0 is 0
  const uint32_t bits = std::bit_cast<uint32_t>(value);
  const uint32_t ordered = bits & 0x80000000u ? ~bits : bits | 0x80000000u;
  return RankedScore{ordered} << 32 | ~number;
}

C10_HOST_DEVICE inline float score_of(RankedScore entry) {
  const uint32_t ordered = static_cast<uint32_t>(entry >> 32);
  return std::bit_cast<float>(ordered & 0x80000000u ? ordered & 0x7fffffffu : ~ordered);
}

C10_HOST_DEVICE inline uint32_t number_of(RankedScore entry) { return ~static_cast<uint32_t>(entry); }
}  // namespace maskrcnn
