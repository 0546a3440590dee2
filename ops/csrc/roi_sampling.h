// Sampling arithmetic of roi_align and pyramid_roi_align, one axis at a time: a bin's samples form a grid, so
// its value is a sum over rows of a sum over columns, and no sample needs both coordinates at once.
//
// A roi axis with a NaN, an Inf or a length that overflows has no samples: its bins are 0.
#pragma once
#include <algorithm>
#include <cfloat>
#include <cmath>
#include <cstdint>

#include <torch/headeronly/macros/Macros.h>

namespace maskrcnn {

// Longest grid that may be asked for; a longer one can only be adaptive.
constexpr int64_t kMaxSamplingRatio = 1024;

// An adaptive bin that needs more samples than float32 can number is 0: of so many, those that land on the
// map weigh less than 2e-4 together.
constexpr float kMaxAdaptiveSamples = 16777216;

// One roi along one axis, in cells of the map: bin b's samples lie evenly in [start + b * bin, start + (b + 1) * bin].
struct RoiAxis {
  float start = 0, bin = 0;
  int64_t samples = 0;  // per bin; 0: all bins are 0
};

// One sample between its two neighbouring cells; at the map's last cell both are that cell.
struct Neighbours {
  int64_t low, high;
  float toward_high;
};

// Weight of a row or column of cells in one bin.
struct Tap {
  int64_t offset;  // cell index times stride
  float weight;
};

struct SampleRange {
  int64_t begin, end;
};

C10_HOST_DEVICE inline int64_t adaptive_samples(float bin) {
  const float samples = std::ceil(bin);
  return samples > 0 && samples <= kMaxAdaptiveSamples ? static_cast<int64_t>(samples) : 0;
}

// low, high: the box's two coordinates along this axis, in pixels of the image.
C10_HOST_DEVICE inline RoiAxis roi_axis(float low, float high, float scale, int64_t bins, int64_t sampling_ratio,
                                        bool aligned) {
  const float shift = aligned ? 0.5f : 0.0f;
  const float start = low * scale - shift;
  float length = (high * scale - shift) - start;
  if (!(std::fabs(length) <= FLT_MAX)) return {};  // start is then finite too
  if (!aligned) length = std::fmax(length, 1.0f);
  const float bin = length / static_cast<float>(bins);
  return {start, bin, sampling_ratio > 0 ? sampling_ratio : adaptive_samples(bin)};
}

C10_HOST_DEVICE inline float bin_start(const RoiAxis& axis, int64_t bin) {
  return axis.start + static_cast<float>(bin) * axis.bin;
}

C10_HOST_DEVICE inline float sample_position(const RoiAxis& axis, float bin_start, int64_t sample) {
  return bin_start + (static_cast<float>(sample) + 0.5f) * axis.bin / static_cast<float>(axis.samples);
}

// The samples of a bin that can land on a map of `size` cells: a box of 1e9 pixels must not take 1e9 steps.
// A longer grid than may be asked for is adaptive, its samples lie more than half a cell apart.
C10_HOST_DEVICE inline SampleRange samples_near_map(const RoiAxis& axis, float bin_start, int64_t size) {
  if (axis.samples <= kMaxSamplingRatio) return {0, axis.samples};
  const double step = static_cast<double>(axis.bin) / static_cast<double>(axis.samples);
  const double count = static_cast<double>(axis.samples);
  const double first = (-1.0 - bin_start) / step - 2, last = (static_cast<double>(size) - bin_start) / step + 2;
  return {static_cast<int64_t>(std::fmin(std::fmax(first, 0.0), count)),
          static_cast<int64_t>(std::fmin(std::fmax(last, 0.0), count))};
}

// False where the sample lies outside [-1, size] and counts as 0.
C10_HOST_DEVICE inline bool locate(float position, int64_t size, Neighbours& cell) {
  if (!(position >= -1 && position <= static_cast<float>(size)) || size == 0) return false;  // rejects NaN too
  const float inside = std::fmax(position, 0.0f);
  const int64_t low = static_cast<int64_t>(inside);
  if (low >= size - 1)
    cell = {size - 1, size - 1, 0};
  else
    cell = {low, low + 1, inside - static_cast<float>(low)};
  return true;
}

// Adds a weight to one of the last three taps or starts a new one, so that each cell gets one tap: samples move one
// way, and a cell met before is one of the last two where they go up. Where they go down (an inverted box) it may be
// the one before: the first sample's upper cell lies behind its lower one and the second sample's.
C10_HOST_DEVICE inline int64_t add_tap(Tap* taps, int64_t count, int64_t offset, float weight) {
  for (int64_t back = 1; back <= 3 && back <= count; ++back)
    if (taps[count - back].offset == offset) {
      taps[count - back].weight += weight;
      return count;
    }
  taps[count] = {offset, weight};
  return count + 1;
}

// The cells that bin b reads along one axis, with the summed weights of its samples.
// taps holds min(2 * samples, size) entries; returns how many were written.
C10_HOST_DEVICE inline int64_t bin_taps(const RoiAxis& axis, int64_t bin, int64_t size, int64_t stride, float scale,
                                        Tap* taps) {
  int64_t count = 0;
  const float start = bin_start(axis, bin);
  const SampleRange range = samples_near_map(axis, start, size);
  for (int64_t sample = range.begin; sample < range.end; ++sample) {
    Neighbours cell;
    if (!locate(sample_position(axis, start, sample), size, cell)) continue;
    count = add_tap(taps, count, cell.low * stride, (1 - cell.toward_high) * scale);
    if (cell.high != cell.low) count = add_tap(taps, count, cell.high * stride, cell.toward_high * scale);
  }
  return count;
}

}  // namespace maskrcnn
