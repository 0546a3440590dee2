// Argument checks whose text reaches the user as it is: STD_TORCH_CHECK would put the function, the
// file's path and the line in front of it.
#pragma once
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
inline bool is_feature_dtype(const Tensor& tensor) {
  const ScalarType dtype = tensor.scalar_type();
  return dtype == ScalarType::Float || dtype == ScalarType::Half || dtype == ScalarType::BFloat16;
}
}  // namespace maskrcnn

// Text: "<op>: <argument> must be <expected>, got <actual>".
#define MASKRCNN_CHECK(condition, ...) \
  if (!(condition)) throw std::runtime_error(::maskrcnn::text(__VA_ARGS__))
