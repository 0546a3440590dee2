// A feature map as the ops that sample one read it: any strides, but channels side by side.
#pragma once
#include <torch/csrc/stable/ops.h>

#include "check.h"

namespace maskrcnn {

// Where the cells of a (B, C, H, W) map lie. Strides count elements.
struct MapLayout {
  int64_t height, width, image_stride, row_stride, cell_stride;
};

struct FeatureMap : MapLayout {
  Tensor tensor;  // keeps a converted copy alive
  float scale;    // cells of the map per pixel of the image
};

// Above it float32 no longer names every cell, and what a bin may read of an axis no longer fits into memory.
constexpr int64_t kLongestMapSide = int64_t{1} << 24;

inline void check_feature_map(const char* op, const char* name, const Tensor& features) {
  MASKRCNN_CHECK(features.dim() == 4, op, ": ", name, " must be (B, C, H, W), got ", shape_of(features));
  MASKRCNN_CHECK(is_feature_dtype(features), op, ": ", name, " must be float32, float16 or bfloat16, got ",
                 dtype_of(features));
  MASKRCNN_CHECK(features.size(2) <= kLongestMapSide && features.size(3) <= kLongestMapSide, op, ": ", name,
                 " must have sides of at most ", kLongestMapSide, ", got ", shape_of(features));
}

// Takes channels-last memory as it is, slices of it included; copies any other layout once.
inline FeatureMap feature_map(const Tensor& features, double scale = 1) {
  const bool side_by_side = features.size(1) <= 1 || features.stride(1) == 1;
  const Tensor map =
      side_by_side ? features : torch::stable::contiguous(features, torch::headeronly::MemoryFormat::ChannelsLast);
  return {
      {map.size(2), map.size(3), map.stride(0), map.stride(2), map.stride(3)}, map, static_cast<float>(scale)};
}

}  // namespace maskrcnn
