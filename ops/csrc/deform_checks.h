// What deform_conv2d takes, and the numbers that its shapes say.
#pragma once
#include "deform_conv2d.h"

namespace maskrcnn {

inline void check_kernel_step(const char* name, int64_t value, int64_t least) {
  MASKRCNN_CHECK(value >= least && value <= kLongestKernelStep, "deform_conv2d: ", name, " must be from ", least,
                 " to ", kLongestKernelStep, ", got ", value);
}

inline void check_like_features(const char* name, const Tensor& tensor, const Tensor& features) {
  MASKRCNN_CHECK(tensor.scalar_type() == features.scalar_type(), "deform_conv2d: ", name, " must be ",
                 dtype_of(features), " as the features are, got ", dtype_of(tensor));
  check_same_device("deform_conv2d", name, tensor, features);
}

inline void check_deform_weight(const Tensor& weight, const Tensor& features) {
  MASKRCNN_CHECK(weight.dim() == 4 && weight.size(1) > 0 && features.size(1) > 0 &&
                     features.size(1) % weight.size(1) == 0,
                 "deform_conv2d: weight must be (O, C / groups, kh, kw) for ", features.size(1), " channels, got ",
                 shape_of(weight));
  const int64_t groups = features.size(1) / weight.size(1);
  MASKRCNN_CHECK(weight.size(0) % groups == 0, "deform_conv2d: weight must have a multiple of ", groups,
                 " outputs, as many as its groups, got ", weight.size(0));
  check_kernel_step("the weight's height", weight.size(2), 1);
  check_kernel_step("the weight's width", weight.size(3), 1);
  check_like_features("weight", weight, features);
}

// Output cells along an axis.
inline int64_t deformed_size(const char* axis, int64_t size, int64_t kernel, const DeformConv& conv) {
  const int64_t padded = size + 2 * conv.padding, extent = conv.dilation * (kernel - 1) + 1;
  MASKRCNN_CHECK(padded >= extent, "deform_conv2d: features must be at least as ", axis, " as the kernel, ", extent,
                 " cells with its dilation, got ", padded, " with the padding");
  return (padded - extent) / conv.stride + 1;
}

inline DeformConv deform_conv_of(const Tensor& features, const Tensor& weight, int64_t stride, int64_t padding,
                                 int64_t dilation) {
  DeformConv conv{};
  conv.images = features.size(0), conv.channels = features.size(1), conv.outputs = weight.size(0);
  conv.groups = conv.channels / weight.size(1);
  conv.kernel_height = weight.size(2), conv.kernel_width = weight.size(3);
  conv.stride = stride, conv.padding = padding, conv.dilation = dilation;
  conv.out_height = deformed_size("high", features.size(2), conv.kernel_height, conv);
  conv.out_width = deformed_size("wide", features.size(3), conv.kernel_width, conv);
  return conv;
}

// -> offset groups
inline int64_t check_offset(const Tensor& offset, const Tensor& features, const DeformConv& conv) {
  const int64_t each = 2 * conv.taps(), groups = offset.dim() == 4 ? offset.size(1) / each : 0;
  MASKRCNN_CHECK(groups > 0 && offset.size(1) == groups * each && offset.size(0) == conv.images &&
                     offset.size(2) == conv.out_height && offset.size(3) == conv.out_width,
                 "deform_conv2d: offset must be (", conv.images, ", ", each, " * offset_groups, ", conv.out_height,
                 ", ", conv.out_width, "), got ", shape_of(offset));
  MASKRCNN_CHECK(conv.channels % groups == 0, "deform_conv2d: offset must have groups that share ", conv.channels,
                 " channels evenly, got ", groups, " groups");
  check_like_features("offset", offset, features);
  return groups;
}

inline void check_deform_mask(const Tensor& mask, const Tensor& features, const DeformConv& conv) {
  const int64_t channels = conv.offset_groups * conv.taps();
  MASKRCNN_CHECK(mask.dim() == 4 && mask.size(0) == conv.images && mask.size(1) == channels &&
                     mask.size(2) == conv.out_height && mask.size(3) == conv.out_width,
                 "deform_conv2d: mask must be (", conv.images, ", ", channels, ", ", conv.out_height, ", ",
                 conv.out_width, "), got ", shape_of(mask));
  check_like_features("mask", mask, features);
}

inline void check_bias(const Tensor& bias, const Tensor& features, const DeformConv& conv) {
  MASKRCNN_CHECK(bias.dim() == 1 && bias.size(0) == conv.outputs, "deform_conv2d: bias must be (", conv.outputs,
                 ",), got ", shape_of(bias));
  check_like_features("bias", bias, features);
}

// All checks; the result lacks the layout of the map.
inline DeformConv check_deform_conv2d(const Tensor& features, const Tensor& weight, const Tensor& offset,
                                      const std::optional<Tensor>& mask, const std::optional<Tensor>& bias,
                                      int64_t stride, int64_t padding, int64_t dilation) {
  check_feature_map("deform_conv2d", "features", features);
  check_deform_weight(weight, features);
  check_kernel_step("stride", stride, 1);
  check_kernel_step("padding", padding, 0);
  check_kernel_step("dilation", dilation, 1);
  DeformConv conv = deform_conv_of(features, weight, stride, padding, dilation);
  conv.offset_groups = check_offset(offset, features, conv);
  if (mask) check_deform_mask(*mask, features, conv);
  if (bias) check_bias(*bias, features, conv);
  return conv;
}

}  // namespace maskrcnn
