// Reads a feature tensor of any dtype and strides as float32, without a copy.
#pragma once
#include "../check.h"
#include "feature_types.h"

namespace maskrcnn {

// Calls `visit` with the tensor's data as a pointer to its own type, whose values `to_float` reads.
template <class Visit>
void visit_features(const Tensor& tensor, const Visit& visit) {
  const void* data = tensor.const_data_ptr();
  if (tensor.scalar_type() == ScalarType::Half) return visit(static_cast<const Float16*>(data));
  if (tensor.scalar_type() == ScalarType::BFloat16) return visit(static_cast<const BFloat16*>(data));
  visit(static_cast<const float*>(data));
}
}  // namespace maskrcnn
