// resize_normalize: pictures of any size -> the rows of one padded, normalised canvas.
//   images  B tensors (H, W, 3) uint8, any strides;  sizes (B, 2) int64 on the CPU: height, width after resizing
//   -> (B, 3, height, width) float32, float16 or bfloat16 in channels-last memory
// Each picture fills the top left corner; all else is 0. value = (pixel / divisor - mean) / std, in float32.
//   bilinear  normalises, then interpolates between pixel centres, no antialiasing: torch's F.interpolate
//   pillow    the antialiased BILINEAR of Pillow 13 on 8-bit values, bit for bit, then normalises
// The arithmetic stands in resize_filters.h.
#pragma once
#include <algorithm>
#include <cmath>
#include <string>
#include <vector>

#include "check.h"
#include "resize_filters.h"

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

inline Picture picture_of(const Tensor& image, const Tensor& sizes, int64_t index, bool bgr) {
  const int64_t* size = sizes.const_data_ptr<int64_t>() + index * sizes.stride(0);
  const int64_t last = 2 * image.stride(2);
  return {.pixels = image.const_data_ptr<uint8_t>(),
          .row_stride = image.stride(0),
          .column_stride = image.stride(1),
          .red = bgr ? last : 0,
          .green = image.stride(2),
          .blue = bgr ? 0 : last,
          .source_height = image.size(0),
          .source_width = image.size(1),
          .height = size[0],
          .width = size[sizes.stride(1)]};
}

inline Normalisation normalisation_of(const std::vector<double>& mean, const std::vector<double>& std, double divisor) {
  Normalisation normalisation{};
  normalisation.divisor = static_cast<float>(divisor);
  for (int channel = 0; channel < 3; ++channel) {
    normalisation.mean[channel] = static_cast<float>(mean[channel]);
    normalisation.std[channel] = static_cast<float>(std[channel]);
  }
  return normalisation;
}

}  // namespace maskrcnn
