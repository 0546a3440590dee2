// What roi_align and pyramid_roi_align hand to the loop that pools, on the CPU and on the GPU.
#pragma once
#include "feature_map.h"

namespace maskrcnn {

// A roi that fills one row of the output. map -1: the row is 0.
struct RoiJob {
  int64_t row, image, map;
  float x1, y1, x2, y2;
};

struct RoiBins {
  int64_t height, width, sampling_ratio;
  bool aligned;
};

// Room for what is pooled: (jobs, C, bins.height, bins.width) in channels-last memory.
inline Tensor empty_pooled(const FeatureMap& like, int64_t jobs, const RoiBins& bins) {
  return torch::stable::empty({jobs, like.tensor.size(1), bins.height, bins.width}, like.tensor.scalar_type(),
                              std::nullopt, like.tensor.device(), std::nullopt,
                              torch::headeronly::MemoryFormat::ChannelsLast);
}

}  // namespace maskrcnn
