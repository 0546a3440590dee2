// Reads a feature tensor of any dtype and strides as float32, without a copy.
#pragma once
#include <torch/headeronly/util/BFloat16.h>
#include <torch/headeronly/util/Half.h>

#include "../check.h"

namespace maskrcnn {

// Calls `visit` with the tensor's data as a pointer to its own type.
template <class Visit>
void visit_features(const Tensor& tensor, const Visit& visit) {
  const void* data = tensor.const_data_ptr();
  if (tensor.scalar_type() == ScalarType::Half) return visit(static_cast<const c10::Half*>(data));
  if (tensor.scalar_type() == ScalarType::BFloat16) return visit(static_cast<const c10::BFloat16*>(data));
  visit(static_cast<const float*>(data));
}
}  // namespace maskrcnn
