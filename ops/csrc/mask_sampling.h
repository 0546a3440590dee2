// How paste_masks and encode_rle read one instance's M x M mask at one pixel: bilinearly, at an affine
// position on each axis, with one ring of zeros around the mask.
//
// Each step is a correctly rounded monotone operation. So down a column of pixels the value rises or falls
// between two mask rows, never both, even after rounding. encode_rle rests on this: where the first and the
// last pixel of such a stretch agree, all between agree; where they differ, one flip lies between.
#pragma once
#include <cfloat>
#include <cmath>
#include <cstdint>
#include <string>

#include "check.h"

namespace maskrcnn {

enum class PasteRule { kExact, kInteger };

inline PasteRule paste_rule(const char* op, const std::string& rule) {
  MASKRCNN_CHECK(rule == "exact" || rule == "integer", op, ": rule must be 'exact' or 'integer', got '", rule, "'");
  return rule == "exact" ? PasteRule::kExact : PasteRule::kInteger;
}

// Pixel to position on the padded mask, in cells: 0 is the centre of the first zero, M + 1 that of the last.
// By default every position is -1, off the mask: for boxes that are empty, inverted or not finite.
struct MaskAxis {
  float origin = 0, divisor = 1, factor = 0, offset = -1;
};

C10_HOST_DEVICE inline float position(const MaskAxis& axis, int32_t pixel) {
  return std::fma((static_cast<float>(pixel) + 0.5f - axis.origin) / axis.divisor, axis.factor, axis.offset);
}

// A pixel off the padded mask never belongs to the instance, whatever the threshold.
C10_HOST_DEVICE inline bool on_mask(float position, int32_t size) {
  return position >= 0 && position <= static_cast<float>(size + 1);
}

// Detectron2: the mask spans [low, high] exactly; pixels are sampled at their centres. The division stays one,
// because a pixel centre on the edge of the box must fall on exactly half a cell.
C10_HOST_DEVICE inline MaskAxis exact_axis(float low, float high, int32_t size) {
  const float extent = high - low;
  if (!(extent > 0 && extent <= FLT_MAX)) return {};
  return {low, extent, static_cast<float>(size), 0.5f};
}

// torchvision, maskrcnn-benchmark: the padded mask spans the pixels of the box that is widened with it and cut
// to integers. Operation by operation as there, since the cut turns a last digit into a pixel.
C10_HOST_DEVICE inline MaskAxis integer_axis(float low, float high, int32_t size) {
  const float scale = static_cast<float>(static_cast<double>(size + 2) / size);
  const float half = (high - low) * 0.5f * scale, centre = (high + low) * 0.5f;
  const float first = std::trunc(centre - half), last = std::trunc(centre + half);
  const float extent = last - first + 1;
  if (!(extent >= 1 && extent <= FLT_MAX)) return {};
  return {first, 1, static_cast<float>(size + 2) / extent, -0.5f};
}

// The first pixel of [0, length) for which `reached` holds; it holds for all after the first.
template <class Reached>
C10_HOST_DEVICE int32_t first_pixel(int32_t length, const Reached& reached) {
  int32_t low = 0, high = length;
  while (low < high) {
    const int32_t middle = (low + high) / 2;
    if (reached(middle)) high = middle;
    else low = middle + 1;
  }
  return low;
}

// Where the pixels of [0, length) that lie in or past a cell of the padded mask begin. The last cell, M, takes the
// centre of the last zero too, so those past the mask begin after it.
C10_HOST_DEVICE inline int32_t first_pixel_of_cell(const MaskAxis& axis, int32_t cell, int32_t length) {
  return first_pixel(length, [&](int32_t pixel) { return position(axis, pixel) >= static_cast<float>(cell); });
}
C10_HOST_DEVICE inline int32_t first_pixel_past_mask(const MaskAxis& axis, int32_t size, int32_t length) {
  return first_pixel(length, [&](int32_t pixel) { return position(axis, pixel) > static_cast<float>(size + 1); });
}

struct MaskFrame {
  MaskAxis x, y;
};

// box: x1 y1 x2 y2 in pixels of the image.
C10_HOST_DEVICE inline MaskFrame mask_frame(const float* box, int32_t size, PasteRule rule) {
  if (rule == PasteRule::kExact) return {exact_axis(box[0], box[2], size), exact_axis(box[1], box[3], size)};
  return {integer_axis(box[0], box[2], size), integer_axis(box[1], box[3], size)};
}

// Between the padded mask's cells `cell` and `cell + 1`, `fraction` of the way.
struct MaskPoint {
  int32_t cell;
  float fraction;
};

// `position` must be on the mask.
C10_HOST_DEVICE inline MaskPoint locate(float position, int32_t size) {
  const int32_t whole = static_cast<int32_t>(position), cell = whole < size ? whole : size;
  return {cell, position - static_cast<float>(cell)};
}

// NaN becomes 0, so that one bad cell hides itself only, and no infinity breaks the monotony.
C10_HOST_DEVICE inline float clean_probability(float prob) { return prob > 0 ? (prob < 1 ? prob : 1.0f) : 0.0f; }

C10_HOST_DEVICE inline float lerp(float from, float to, float fraction) { return std::fma(fraction, to - from, from); }

// One cell of the padded mask.
C10_HOST_DEVICE inline float padded_cell(const float* mask, int32_t size, int32_t row, int32_t column) {
  const bool inside = row >= 1 && row <= size && column >= 1 && column <= size;
  return inside ? clean_probability(mask[int64_t{row - 1} * size + column - 1]) : 0.0f;
}

// The mask at one pixel: along the rows first, as everywhere.
C10_HOST_DEVICE inline float sample_mask(const float* mask, int32_t size, const MaskPoint& x, const MaskPoint& y) {
  const float top = lerp(padded_cell(mask, size, y.cell, x.cell), padded_cell(mask, size, y.cell, x.cell + 1), x.fraction);
  const float bottom =
      lerp(padded_cell(mask, size, y.cell + 1, x.cell), padded_cell(mask, size, y.cell + 1, x.cell + 1), x.fraction);
  return lerp(top, bottom, y.fraction);
}

// The first row after `low` whose membership is not that of `low` but that of `high`, with one flip between them.
template <class Belongs>
C10_HOST_DEVICE int32_t flip_between(int32_t low, int32_t high, const Belongs& belongs) {
  const bool before = belongs(low);
  while (high - low > 1) {
    const int32_t middle = (low + high) / 2;
    const bool same = belongs(middle) == before;
    low = same ? middle : low;
    high = same ? high : middle;
  }
  return high;
}

// The least value that belongs: one comparison (>=) then serves `inclusive` and its opposite.
C10_HOST_DEVICE inline float least_member(float threshold, bool inclusive) {
  return inclusive ? threshold : std::nextafter(threshold, INFINITY);
}

}  // namespace maskrcnn
