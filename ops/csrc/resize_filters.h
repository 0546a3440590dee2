// The arithmetic of resize_normalize: which source pixels an output index reads, with which weights.
#pragma once
#include <algorithm>
#include <cmath>
#include <cstdint>

#include <torch/headeronly/macros/Macros.h>

namespace maskrcnn {

struct Picture {
  const uint8_t* pixels;
  int64_t row_stride, column_stride;  // in bytes
  int64_t red, green, blue;           // where the output's channels 0, 1, 2 lie in a pixel, in bytes
  int64_t source_height, source_width, height, width;
};

struct Normalisation {
  float divisor, mean[3], std[3];
};

C10_HOST_DEVICE inline float normalised(const Normalisation& by, int channel, uint8_t pixel) {
  return (static_cast<float>(pixel) / by.divisor - by.mean[channel]) / by.std[channel];
}

// One output index of the bilinear filter: it lies `fraction` of the way from source index `first` to `second`.
struct BilinearTap {
  int64_t first, second;
  float fraction;
};

C10_HOST_DEVICE inline float bilinear_scale(int64_t source_size, int64_t size) {
  return static_cast<float>(source_size) / static_cast<float>(size);
}

// The fma rounds as torch's compiled interpolate does.
C10_HOST_DEVICE inline BilinearTap bilinear_tap(int64_t output, int64_t source_size, float scale) {
  const float position = fmaf(static_cast<float>(output) + 0.5f, scale, -0.5f);
  if (!(position > 0)) return {0, source_size > 1, 0};
  const int64_t floor = static_cast<int64_t>(position), last = source_size - 1;
  const int64_t first = floor < last ? floor : last;
  const float fraction = position - static_cast<float>(first);
  return {first, first < last ? first + 1 : last, fraction < 1 ? fraction : 1};
}

// One output index of Pillow's filter: a triangle around `centre`, as wide as the picture shrinks, over the
// source indices first .. first + count - 1.
struct PillowTap {
  int64_t first, count;
  double centre, sharpness;
};

C10_HOST_DEVICE inline double pillow_scale(int64_t source_size, int64_t size) {
  return static_cast<double>(source_size) / static_cast<double>(size);
}

C10_HOST_DEVICE inline PillowTap pillow_tap(int64_t output, int64_t source_size, double scale) {
  const double reach = scale < 1 ? 1 : scale, centre = (static_cast<double>(output) + 0.5) * scale;
  const int64_t low = static_cast<int64_t>(centre - reach + 0.5), high = static_cast<int64_t>(centre + reach + 0.5);
  const int64_t first = low > 0 ? low : 0, end = high < source_size ? high : source_size;
  return {first, end - first, centre, 1 / reach};
}

// No tap reads more source indices: its triangle is two reaches wide, and both ends may be cut.
inline int64_t pillow_longest(int64_t source_size, int64_t size) {
  const double scale = pillow_scale(source_size, size);
  return std::min(source_size, static_cast<int64_t>(2 * std::max(scale, 1.0)) + 2);
}

C10_HOST_DEVICE inline double pillow_weight(const PillowTap& tap, int64_t index) {
  const double distance = fabs((static_cast<double>(index + tap.first) - tap.centre + 0.5) * tap.sharpness);
  return distance < 1 ? 1 - distance : 0;
}

C10_HOST_DEVICE inline double pillow_total(const PillowTap& tap) {
  double total = 0;
  for (int64_t index = 0; index < tap.count; ++index) total += pillow_weight(tap, index);
  return total;
}

// Weights and sums are integers with this many binary places. Rounding at most doubles a weight, and 255 times twice
// their sum, 1, is still below 2 ** 31.
constexpr int kPillowBits = 22;
constexpr int32_t kPillowHalf = 1 << (kPillowBits - 1);

C10_HOST_DEVICE inline int32_t pillow_fixed_weight(const PillowTap& tap, int64_t index, double total) {
  return static_cast<int32_t>(0.5 + pillow_weight(tap, index) / total * (1 << kPillowBits));
}

// Each pass rounds to 8 bits, so their order shows. Pillow 13 brought this rule; before it, columns went first.
C10_HOST_DEVICE inline bool pillow_rows_first(int64_t source_height, int64_t source_width, int64_t height,
                                              int64_t width) {
  const int64_t fewer_rows = source_height - height, fewer_columns = source_width - width;
  return fewer_rows > 0 && fewer_rows > 2 * fewer_columns;
}

// sum starts at kPillowHalf; no weight is negative, so only the upper end can overshoot.
C10_HOST_DEVICE inline uint8_t pillow_pixel(int32_t sum) {
  const int32_t value = sum >> kPillowBits;
  return static_cast<uint8_t>(value < 255 ? value : 255);
}
}  // namespace maskrcnn
