// resize_normalize: pictures of any size -> the rows of one padded, normalised canvas.
//   images  B tensors (H, W, 3) uint8, any strides;  sizes (B, 2) int64 on the CPU: height, width after resizing
//   -> (B, 3, height, width) float32, float16 or bfloat16 in channels-last memory
// Each picture fills the top left corner; all else is 0. value = (pixel / divisor - mean) / std, in float32.
//   bilinear  normalises, then interpolates between pixel centres, no antialiasing: torch's F.interpolate
//   pillow    the antialiased BILINEAR of Pillow 13 on 8-bit values, bit for bit, then normalises
#pragma once
#include <algorithm>
#include <cmath>
#include <string>
#include <vector>

#include "check.h"

namespace maskrcnn {

// Above it float32 no longer names every pixel.
constexpr int64_t kLongestPictureSide = int64_t{1} << 24;

inline void check_picture(const Tensor& image, const Tensor& first, size_t index) {
  // TorchScript merges equal lists, and the stable ABI empties a list as it reads it.
  MASKRCNN_CHECK(image.defined(), "resize_normalize: images[", index, "] must be a tensor, got none: two calls of one ",
                 "graph were given the same images; give each call its own, or join the calls");
  MASKRCNN_CHECK(image.scalar_type() == ScalarType::Byte && image.dim() == 3 && image.size(2) == 3,
                 "resize_normalize: images[", index, "] must be (H, W, 3) uint8, got ", shape_of(image), " ",
                 dtype_of(image));
  MASKRCNN_CHECK(std::min(image.size(0), image.size(1)) >= 1 && std::max(image.size(0), image.size(1)) <= kLongestPictureSide,
                 "resize_normalize: images[", index, "] must have sides in [1, ", kLongestPictureSide, "], got ",
                 shape_of(image));
  check_same_device("resize_normalize", text("images[", index, "]").c_str(), image, first);
}

inline void check_sizes(const Tensor& sizes, int64_t count, int64_t height, int64_t width) {
  MASKRCNN_CHECK(sizes.scalar_type() == ScalarType::Long && sizes.dim() == 2 && sizes.size(0) == count &&
                     sizes.size(1) == 2 && sizes.is_cpu(),
                 "resize_normalize: sizes must be (", count, ", 2) int64 on the CPU, got ", shape_of(sizes), " ",
                 dtype_of(sizes), sizes.is_cpu() ? "" : " on another device");
  MASKRCNN_CHECK(std::min(height, width) >= 1 && std::max(height, width) <= kLongestPictureSide,
                 "resize_normalize: height and width must be in [1, ", kLongestPictureSide, "], got ", height, " and ", width);
  const int64_t* size = sizes.const_data_ptr<int64_t>();
  for (int64_t index = 0; index < count; ++index, size += sizes.stride(0)) {
    const int64_t rows = size[0], columns = size[sizes.stride(1)];
    MASKRCNN_CHECK(rows >= 1 && rows <= height && columns >= 1 && columns <= width, "resize_normalize: sizes[", index,
                   "] must be within (1, 1) and (", height, ", ", width, "), got (", rows, ", ", columns, ")");
  }
}

// Three numbers, one a channel, as float32 will hold them.
inline void check_channels(const char* name, const std::vector<double>& values, bool divides) {
  bool fits = values.size() == 3;
  for (double value : values) fits = fits && std::isfinite(float(value)) && !(divides && float(value) == 0);
  std::ostringstream got;
  for (double value : values) got << " " << value;
  MASKRCNN_CHECK(fits, "resize_normalize: ", name, " must be 3 finite numbers", divides ? " other than 0" : "",
                 ", got", values.empty() ? " none" : got.str());
}

inline void check_resize_normalize(const std::vector<Tensor>& images, const Tensor& sizes, int64_t height,
                                   int64_t width, const std::vector<double>& mean, const std::vector<double>& std,
                                   double divisor, const std::string& filter, ScalarType dtype) {
  for (size_t index = 0; index < images.size(); ++index) check_picture(images[index], images[0], index);
  check_sizes(sizes, static_cast<int64_t>(images.size()), height, width);
  check_channels("mean", mean, false);
  check_channels("std", std, true);
  MASKRCNN_CHECK(std::isfinite(float(divisor)) && float(divisor) != 0,
                 "resize_normalize: divisor must be finite and not 0, got ", divisor);
  MASKRCNN_CHECK(filter == "bilinear" || filter == "pillow",
                 "resize_normalize: filter must be 'bilinear' or 'pillow', got '", filter, "'");
  MASKRCNN_CHECK(is_feature_dtype(dtype), "resize_normalize: dtype must be float32, float16 or bfloat16, got ",
                 torch::headeronly::toString(dtype));
}

C10_HOST_DEVICE inline float normalised(uint8_t pixel, float divisor, float mean, float std) {
  return (static_cast<float>(pixel) / divisor - mean) / std;
}

// One output index of the bilinear filter: it lies `fraction` of the way from source index `first` to `second`.
struct BilinearTap {
  int64_t first, second;
  float fraction;
};

// scale = source size / output size, divided in float32. The fma rounds as torch's compiled interpolate does.
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

C10_HOST_DEVICE inline PillowTap pillow_tap(int64_t output, int64_t source_size, double scale) {
  const double reach = scale < 1 ? 1 : scale, centre = (static_cast<double>(output) + 0.5) * scale;
  const int64_t low = static_cast<int64_t>(centre - reach + 0.5), high = static_cast<int64_t>(centre + reach + 0.5);
  const int64_t first = low > 0 ? low : 0, end = high < source_size ? high : source_size;
  return {first, end - first, centre, 1 / reach};
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
