// Looks at what an op has returned.
#pragma once
#include <cmath>

#include "call.h"

namespace fuzz {

inline void must_be(const char* op, const Tensor& tensor, const Shape& shape, ScalarType dtype) {
  must(tensor.scalar_type() == dtype, op, "the result has another dtype");
  must(tensor.dim() == static_cast<int64_t>(shape.size()), op, "the result has another rank");
  for (size_t axis = 0; axis < shape.size(); ++axis)
    must(tensor.size(static_cast<int64_t>(axis)) == shape[axis], op, "the result has another shape");
}

inline float bits_to_float(uint32_t bits) {
  float value;
  std::memcpy(&value, &bits, 4);
  return value;
}

inline float half_to_float(uint16_t bits) {
  const float magnitude = (bits & 0x7c00) == 0        ? static_cast<float>(bits & 0x3ff) * 0x1p-24f
                          : (bits & 0x7c00) == 0x7c00 ? (bits & 0x3ff ? NAN : INFINITY)
                                                      : bits_to_float(((bits & 0x7fffu) << 13) + (112u << 23));
  return bits & 0x8000 ? -magnitude : magnitude;
}

// Element i in memory of a float32, float16 or bfloat16 tensor.
inline float element(const Tensor& tensor, int64_t i) {
  if (tensor.scalar_type() == ScalarType::Float) return static_cast<const float*>(tensor.const_data_ptr())[i];
  const uint16_t bits = static_cast<const uint16_t*>(tensor.const_data_ptr())[i];
  return tensor.scalar_type() == ScalarType::Half ? half_to_float(bits) : bits_to_float(uint32_t{bits} << 16);
}

// No element may be larger than `most`; a NaN is.
inline void must_be_within(const char* op, const Tensor& tensor, float most) {
  for (int64_t i = 0; i < tensor.numel(); ++i)
    must(std::fabs(element(tensor, i)) <= most, op, "a value is out of range");
}

// boxes (B, N, 4), scores (B, N), counts (B): what propose and select_detections share.
inline void must_be_ranked(const char* op, const Tensor& boxes, const Tensor& scores, const Tensor& counts) {
  const int64_t images = scores.size(0), rows = scores.size(1);
  must_be(op, boxes, {images, rows, 4}, ScalarType::Float);
  must_be(op, scores, {images, rows}, ScalarType::Float);
  must_be(op, counts, {images}, ScalarType::Long);
  for (int64_t image = 0; image < images; ++image) {
    const int64_t count = counts.const_data_ptr<int64_t>()[image];
    must(count >= 0 && count <= rows, op, "counts must be within the rows");
    const float* score = scores.const_data_ptr<float>() + image * rows;
    const float* box = boxes.const_data_ptr<float>() + image * rows * 4;
    for (int64_t row = 0; row < rows; ++row, box += 4) {
      if (row >= count) {
        must(score[row] == 0 && box[0] == 0 && box[1] == 0 && box[2] == 0 && box[3] == 0, op,
             "a row past counts is not 0");
        continue;
      }
      must(!std::isnan(score[row]) && (row == 0 || score[row] <= score[row - 1]), op, "scores must come best first");
      for (int i = 0; i < 4; ++i) must(std::isfinite(box[i]), op, "a box must be finite");
    }
  }
}

}  // namespace fuzz
