// What roi_align and pyramid_roi_align hand to the loop that pools, on the CPU and on the GPU.
#pragma once
#include <torch/csrc/stable/ops.h>

#include "check.h"

namespace maskrcnn {

// A (B, C, H, W) map whose channels lie side by side. Strides count elements.
struct FeatureMap {
  Tensor tensor;  // keeps a converted copy alive
  int64_t height, width, image_stride, row_stride, cell_stride;
  float scale;
};

// A roi that fills one row of the output. map -1: the row is 0.
struct RoiJob {
  int64_t row, image, map;
  float x1, y1, x2, y2;
};

struct RoiBins {
  int64_t height, width, sampling_ratio;
  bool aligned;
};

// Takes channels-last memory as it is, slices of it included; copies any other layout once.
inline FeatureMap feature_map(const Tensor& features, double scale) {
  const bool side_by_side = features.size(1) <= 1 || features.stride(1) == 1;
  const Tensor map =
      side_by_side ? features : torch::stable::contiguous(features, torch::headeronly::MemoryFormat::ChannelsLast);
  return {map,           map.size(2),   map.size(3),
          map.stride(0), map.stride(2), map.stride(3), static_cast<float>(scale)};
}

// Room for what is pooled: (jobs, C, bins.height, bins.width) in channels-last memory.
inline Tensor empty_pooled(const FeatureMap& like, int64_t jobs, const RoiBins& bins) {
  return torch::stable::empty({jobs, like.tensor.size(1), bins.height, bins.width}, like.tensor.scalar_type(),
                              std::nullopt, like.tensor.device(), std::nullopt,
                              torch::headeronly::MemoryFormat::ChannelsLast);
}

}  // namespace maskrcnn
