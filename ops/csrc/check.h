// Argument checks whose text reaches the user as it is: STD_TORCH_CHECK would put the function, the
// file's path and the line in front of it.
#pragma once
#include <cmath>
#include <cstdint>
#include <sstream>
#include <stdexcept>
#include <string>
#include <vector>

#include <torch/csrc/stable/tensor.h>
#include <torch/headeronly/core/ScalarType.h>
#include <torch/headeronly/macros/Macros.h>

namespace maskrcnn {
using torch::headeronly::ScalarType;
using torch::stable::Tensor;

template <class... Parts>
std::string text(const Parts&... parts) {
  std::ostringstream out;
  ((out << parts), ...);
  return out.str();
}

// "(2, 3, 4)", as Python prints a shape.
inline std::string shape_of(const Tensor& tensor) {
  std::ostringstream out;
  out << "(";
  for (int64_t axis = 0; axis < tensor.dim(); ++axis) out << (axis ? ", " : "") << tensor.size(axis);
  out << (tensor.dim() == 1 ? ",)" : ")");
  return out.str();
}

inline const char* dtype_of(const Tensor& tensor) { return torch::headeronly::toString(tensor.scalar_type()); }

// float32, float16 and bfloat16: what a feature map may be.
inline bool is_feature_dtype(ScalarType dtype) {
  return dtype == ScalarType::Float || dtype == ScalarType::Half || dtype == ScalarType::BFloat16;
}

inline bool is_feature_dtype(const Tensor& tensor) { return is_feature_dtype(tensor.scalar_type()); }
}  // namespace maskrcnn

// Text: "<op>: <argument> must be <expected>, got <actual>".
#define MASKRCNN_CHECK(condition, ...) \
  if (!(condition)) throw std::runtime_error(::maskrcnn::text(__VA_ARGS__))

namespace maskrcnn {

// Of sizes: an empty tensor may have others so large that their product is no int64; then the largest one.
inline int64_t product(int64_t a, int64_t b) { return a != 0 && b > INT64_MAX / a ? INT64_MAX : a * b; }

inline void check_not_nan(const char* op, const char* argument, double value) {
  MASKRCNN_CHECK(!std::isnan(value), op, ": ", argument, " must be a number, got NaN");
}

inline void check_same_device(const char* op, const char* argument, const Tensor& tensor, const Tensor& first) {
  MASKRCNN_CHECK(tensor.device() == first.device(), op, ": ", argument,
                 " must be on one device with the other arguments, got another");
}

// One number for each of `count` things.
inline void check_vector(const char* op, const char* argument, const Tensor& tensor, int64_t count, ScalarType dtype) {
  MASKRCNN_CHECK(tensor.dim() == 1 && tensor.size(0) == count, op, ": ", argument, " must be (", count, ",), got ",
                 shape_of(tensor));
  MASKRCNN_CHECK(tensor.scalar_type() == dtype, op, ": ", argument, " must be ",
                 dtype == ScalarType::Long ? "int64" : "float32", ", got ", dtype_of(tensor));
}

// One (height, width) for each of `count` images or instances.
inline void check_image_sizes(const char* op, const Tensor& image_sizes, int64_t count) {
  MASKRCNN_CHECK(image_sizes.dim() == 2 && image_sizes.size(0) == count && image_sizes.size(1) == 2, op,
                 ": image_sizes must be (", count, ", 2), got ", shape_of(image_sizes));
  MASKRCNN_CHECK(image_sizes.scalar_type() == ScalarType::Long, op, ": image_sizes must be int64, got ",
                 dtype_of(image_sizes));
}
}  // namespace maskrcnn
