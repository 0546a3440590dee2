// The loop that roi_align and pyramid_roi_align share on the CPU.
#pragma once
#include <vector>

#include "../check.h"

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
FeatureMap feature_map(const Tensor& features, double scale);

// (jobs, C, bins.height, bins.width) in channels-last memory.
Tensor pool_rois(const std::vector<FeatureMap>& maps, std::vector<RoiJob> jobs, const RoiBins& bins);

}  // namespace maskrcnn
