// deform_conv2d: a convolution whose every tap samples the map where an offset moves it to.
//   features (B, C, H, W) float32, float16 or bfloat16, any strides; channels-last is the fast path
//   weight (O, C / groups, kh, kw);  bias (O) or none
//   offset (B, 2 * offset_groups * kh * kw, H', W'): of each offset group, kernel row and kernel column y, then x
//   mask (B, offset_groups * kh * kw, H', W') or none: what a sample is multiplied by
//   -> (B, O, H', W') in channels-last memory; all of one dtype, any strides
// Samples are bilinear between cells and zero outside the map; one at y <= -1, y >= H, x <= -1 or x >= W, or at a NaN,
// is 0 whatever its mask. Sums are float32.
//
// Both devices sample into columns, a row of channels for each tap of each output cell, and leave the product with the
// weights to PyTorch (deform_product.h), some output cells at a time.
#pragma once
#include <cmath>
#include <optional>

#include "feature_map.h"

namespace maskrcnn {

constexpr int64_t kLongestKernelStep = 32767;  // keeps positions far from overflow

struct DeformConv {
  MapLayout map;
  int64_t images, channels, outputs, groups, offset_groups;
  int64_t kernel_height, kernel_width, stride, padding, dilation;
  int64_t out_height, out_width;

  C10_HOST_DEVICE int64_t taps() const { return kernel_height * kernel_width; }
  C10_HOST_DEVICE int64_t columns() const { return channels * taps(); }
  C10_HOST_DEVICE int64_t cells() const { return out_height * out_width; }
  C10_HOST_DEVICE int64_t group_channels() const { return channels / groups; }
  C10_HOST_DEVICE int64_t offset_group_channels() const { return channels / offset_groups; }

  // Columns go by group, tap, channel of the group, as the weights do in channels-last memory.
  C10_HOST_DEVICE int64_t column_of(int64_t tap, int64_t channel) const {
    if (groups == 1) return tap * channels + channel;  // saves the divisions
    const int64_t group = channel / group_channels();
    return (group * taps() + tap) * group_channels() + channel - group * group_channels();
  }
};

// One of the places that an output cell samples.
struct DeformTap {
  int64_t image, row, column;  // of the output cell
  int64_t kernel_row, kernel_column;
};

// A (B, N, H', W') tensor of any strides.
template <class Value>
struct CellValues {
  const Value* values;
  int64_t image_stride, channel_stride, row_stride, column_stride;

  explicit CellValues(const Tensor& tensor)
      : values(static_cast<const Value*>(tensor.const_data_ptr())), image_stride(tensor.stride(0)),
        channel_stride(tensor.stride(1)), row_stride(tensor.stride(2)), column_stride(tensor.stride(3)) {}

  C10_HOST_DEVICE Value at(const DeformTap& tap, int64_t channel) const {
    return values[tap.image * image_stride + channel * channel_stride + tap.row * row_stride +
                  tap.column * column_stride];
  }
};

// Offsets, and masks where there are any.
template <class Value>
struct TapValues {
  CellValues<Value> offset, mask;
  bool masked;

  TapValues(const Tensor& offset, const std::optional<Tensor>& mask)
      : offset(offset), mask(mask ? *mask : offset), masked(mask.has_value()) {}
};

// The four cells around a sample as elements of the map, -1 where there is no such cell, and their shares in it.
struct Corners {
  int64_t cell[4];
  float share[4];
};

C10_HOST_DEVICE inline float tap_position(int64_t out, int64_t tap, const DeformConv& conv, float offset) {
  return static_cast<float>(out * conv.stride - conv.padding + tap * conv.dilation) + offset;
}

C10_HOST_DEVICE inline Corners corners_at(float y, float x, float scale, int64_t image, const MapLayout& map) {
  Corners corners{{-1, -1, -1, -1}, {0, 0, 0, 0}};
  if (!(y > -1 && y < static_cast<float>(map.height) && x > -1 && x < static_cast<float>(map.width)))
    return corners;  // rejects NaN too
  const float top = std::floor(y), left = std::floor(x), down = y - top, right = x - left;
  for (int i = 0; i < 4; ++i) {
    const int64_t row = static_cast<int64_t>(top) + i / 2, column = static_cast<int64_t>(left) + i % 2;
    if (row < 0 || row >= map.height || column < 0 || column >= map.width) continue;
    corners.cell[i] = image * map.image_stride + row * map.row_stride + column * map.cell_stride;
    corners.share[i] = (i / 2 ? down : 1 - down) * (i % 2 ? right : 1 - right) * scale;
  }
  return corners;
}

// to_float(value): a tap's value as float32.
template <class Value, class ToFloat>
C10_HOST_DEVICE inline Corners corners_of(const DeformConv& conv, const TapValues<Value>& values, const DeformTap& tap,
                                          int64_t offset_group, const ToFloat& to_float) {
  const int64_t place = offset_group * conv.taps() + tap.kernel_row * conv.kernel_width + tap.kernel_column;
  const float y = tap_position(tap.row, tap.kernel_row, conv, to_float(values.offset.at(tap, 2 * place)));
  const float x = tap_position(tap.column, tap.kernel_column, conv, to_float(values.offset.at(tap, 2 * place + 1)));
  const float scale = values.masked ? to_float(values.mask.at(tap, place)) : 1.0f;
  return corners_at(y, x, scale, tap.image, conv.map);
}

}  // namespace maskrcnn
