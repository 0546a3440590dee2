// What greedy suppression must have done, computed again in double. Only of ordinary boxes: with sides in order, and so
// large and so near to the origin that no rounding of float32 can be more than kSlack of an IoU.
#pragma once
#include <vector>

#include "results.h"

namespace fuzz {

constexpr double kSlack = 1e-5, kFarthest = 1e4, kShortest = 1e-2;
constexpr int64_t kMostCompared = 256;  // boxes, each with every other

struct Corners {
  double x1, y1, x2, y2;

  bool ordered() const { return x1 <= x2 && y1 <= y2; }

  bool ordinary() const {
    for (const double each : {x1, y1, x2, y2})
      if (!(std::fabs(each) <= kFarthest)) return false;
    return x2 - x1 >= kShortest && y2 - y1 >= kShortest;
  }
};

// How boxes of a call overlap: above the limit, or on it where inclusive, the worse one goes.
struct Suppression {
  double limit;
  bool legacy;

  double iou(const Corners& a, const Corners& b) const {
    const double extra = legacy ? 1 : 0;
    const auto area = [&](const Corners& box) { return (box.x2 - box.x1 + extra) * (box.y2 - box.y1 + extra); };
    const double width = std::fmin(a.x2, b.x2) - std::fmax(a.x1, b.x1) + extra,
                 height = std::fmin(a.y2, b.y2) - std::fmax(a.y1, b.y1) + extra;
    const double shared = std::fmax(0, width) * std::fmax(0, height);
    return shared / (area(a) + area(b) - shared);
  }

  bool must_go(const Corners& better, const Corners& box) const { return iou(better, box) > limit + kSlack; }
  bool may_go(const Corners& better, const Corners& box) const { return iou(better, box) >= limit - kSlack; }
};

// The box whose first coordinate is at `begin`, `step` elements from the next.
inline Corners corners_at(const Tensor& boxes, int64_t begin, int64_t step) {
  const auto* at = static_cast<const float*>(boxes.const_data_ptr()) + begin;
  return {at[0], at[step], at[2 * step], at[3 * step]};
}

// Of float32 boxes (..., 4) the sides are put in order, in place: those of noise seldom are.
inline void put_sides_in_order(const Tensor& boxes) {
  const int64_t rank = boxes.dim();
  if (boxes.scalar_type() != ScalarType::Float || rank < 2 || rank > 3 || boxes.size(rank - 1) != 4) return;
  if (boxes.numel() == 0 || boxes.numel() > kMostElements) return;  // an empty one may still have endless planes
  auto* data = static_cast<float*>(const_cast<void*>(boxes.const_data_ptr()));
  const int64_t planes = rank == 3 ? boxes.size(0) : 1, step = boxes.stride(rank - 1);
  for (int64_t plane = 0; plane < planes; ++plane)
    for (int64_t row = 0; row < boxes.size(rank - 2); ++row) {
      float* box = data + (rank == 3 ? plane * boxes.stride(0) : 0) + row * boxes.stride(rank - 2);
      for (const int64_t axis : {0, 1})
        if (box[(axis + 2) * step] < box[axis * step]) std::swap(box[(axis + 2) * step], box[axis * step]);
    }
}

// None of `kept`, best first, may be one that a better one suppresses.
inline void must_be_apart(const char* op, const std::vector<Corners>& kept, const Suppression& rule) {
  if (static_cast<int64_t>(kept.size()) > kMostCompared) return;
  for (size_t i = 0; i < kept.size(); ++i)
    for (size_t j = 0; j < i; ++j)
      must(!kept[i].ordinary() || !kept[j].ordinary() || !rule.must_go(kept[j], kept[i]), op,
           "two boxes that overlap too much are kept");
}

}  // namespace fuzz
