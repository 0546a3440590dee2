// Boxes as the three source projects compute with them: x1 y1 x2 y2 in pixels, float32, and every operation
// in the order in which PyTorch does it there, because rounding decides which boxes survive.
//   legacy (maskrcnn-benchmark): a box holds its last pixel, so width = x2 - x1 + 1; `extra` is that 1, else 0.
#pragma once
#include <cmath>
#include <limits>
#include <string>
#include <vector>

#include "check.h"

namespace maskrcnn {

struct Box {
  float x1, y1, x2, y2;
};

C10_HOST_DEVICE inline float extra_pixel(bool legacy) { return legacy ? 1.0f : 0.0f; }

// How two boxes are compared: IoU >= limit suppresses.
struct Overlap {
  float extra;
  float limit;
};

struct BoxWeights {
  float x, y, width, height;
};

// A size may grow at most 62.5 times: the models were trained with this clamp (on the upper side only).
constexpr float kMaxLogScale = 4.135166556742356;  // log(1000 / 16)

// A NaN stays a NaN, as in torch.clamp(max=...).
C10_HOST_DEVICE inline float at_most(float value, float limit) { return value > limit ? limit : value; }
C10_HOST_DEVICE inline float at_least(float value, float limit) { return value < limit ? limit : value; }

// The box that the deltas (dx, dy, dw, dh) make of a reference box (an anchor, a proposal).
C10_HOST_DEVICE inline Box decode(const Box& reference, const float* deltas, const BoxWeights& weights, float extra) {
  const float width = reference.x2 - reference.x1 + extra, height = reference.y2 - reference.y1 + extra;
  const float x = deltas[0] / weights.x * width + (reference.x1 + 0.5f * width);
  const float y = deltas[1] / weights.y * height + (reference.y1 + 0.5f * height);
  const float half_width = 0.5f * (std::exp(at_most(deltas[2] / weights.width, kMaxLogScale)) * width);
  const float half_height = 0.5f * (std::exp(at_most(deltas[3] / weights.height, kMaxLogScale)) * height);
  return {x - half_width, y - half_height, x + half_width - extra, y + half_height - extra};
}

C10_HOST_DEVICE inline Box clip(const Box& box, int64_t height, int64_t width, float extra) {
  const float right = static_cast<float>(width) - extra, bottom = static_cast<float>(height) - extra;
  return {at_most(at_least(box.x1, 0), right), at_most(at_least(box.y1, 0), bottom),
          at_most(at_least(box.x2, 0), right), at_most(at_least(box.y2, 0), bottom)};
}

// False for a box with a NaN side.
C10_HOST_DEVICE inline bool has_sides(const Box& box, float min_size, float extra) {
  return box.x2 - box.x1 + extra >= min_size && box.y2 - box.y1 + extra >= min_size;
}

C10_HOST_DEVICE inline float area(const Box& box, float extra) {
  return (box.x2 - box.x1 + extra) * (box.y2 - box.y1 + extra);
}

// Selections, not fmaxf: they vectorise, and where a NaN is lost here the area keeps it.
C10_HOST_DEVICE inline float larger(float a, float b) { return a < b ? b : a; }
C10_HOST_DEVICE inline float smaller(float a, float b) { return b < a ? b : a; }

C10_HOST_DEVICE inline float intersection(const Box& a, const Box& b, float extra) {
  const float width = smaller(a.x2, b.x2) - larger(a.x1, b.x1) + extra;
  const float height = smaller(a.y2, b.y2) - larger(a.y1, b.y1) + extra;
  return larger(0.0f, width) * larger(0.0f, height);
}

C10_HOST_DEVICE inline bool suppresses(const Box& kept, const Box& box, const Overlap& overlap) {
  const float shared = intersection(kept, box, overlap.extra);
  return shared / (area(kept, overlap.extra) + area(box, overlap.extra) - shared) >= overlap.limit;  // NaN: no
}

C10_HOST_DEVICE inline float sigmoid(float logit) { return 1.0f / (1.0f + std::exp(-logit)); }

// The least float32 that is above the threshold (or on it, where inclusive), so that comparing with it is
// comparing a float32 IoU with the double threshold, as torchvision does. NaN where no float32 is: nothing
// compares with it.
inline Overlap overlap_rule(double threshold, bool legacy, bool inclusive) {
  constexpr float kInfinity = std::numeric_limits<float>::infinity();
  float limit = static_cast<float>(threshold);
  if (limit < threshold || (limit == threshold && !inclusive)) {
    if (limit == kInfinity) return {extra_pixel(legacy), std::numeric_limits<float>::quiet_NaN()};
    limit = std::nextafter(limit, kInfinity);
  }
  return {extra_pixel(legacy), limit};
}

inline BoxWeights to_box_weights(const std::vector<double>& weights) {
  return {static_cast<float>(weights[0]), static_cast<float>(weights[1]), static_cast<float>(weights[2]),
          static_cast<float>(weights[3])};
}

inline void check_box_weights(const char* op, const std::vector<double>& weights) {
  MASKRCNN_CHECK(weights.size() == 4, op, ": box_weights must be 4 numbers (x, y, width, height), got ",
                 weights.size());
  for (const double weight : weights)
    MASKRCNN_CHECK(weight > 0 && std::isfinite(static_cast<float>(weight)),
                   op, ": box_weights must be positive, got ", weight);
}
}  // namespace maskrcnn
