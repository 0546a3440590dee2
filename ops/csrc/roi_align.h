// roi_align: average bilinear samples of a feature map over a grid of bins in each roi.
//   features (B, C, H, W) float32, float16 or bfloat16, any strides; channels-last is the fast path
//   rois (N, 5) float32: image index, x1, y1, x2, y2 in pixels of the image
//   -> (N, C, pooled_height, pooled_width), dtype of features, channels-last memory
// Sums are float32. A sample outside [-1, H] x [-1, W] counts as 0; sampling_ratio <= 0 takes ceil(bin) samples a
// side. aligned shifts by half a cell; otherwise a roi is at least one cell wide and high. A roi with a NaN or an
// Inf is 0; so is, on a GPU, which cannot refuse it, one of an image that is not there.
#pragma once
#include <cmath>

#include "feature_map.h"
#include "roi_sampling.h"

namespace maskrcnn {

inline void check_bins(const char* op, int64_t pooled_height, int64_t pooled_width, int64_t sampling_ratio) {
  MASKRCNN_CHECK(pooled_height > 0, op, ": pooled_height must be at least 1, got ", pooled_height);
  MASKRCNN_CHECK(pooled_width > 0, op, ": pooled_width must be at least 1, got ", pooled_width);
  MASKRCNN_CHECK(sampling_ratio <= kMaxSamplingRatio, op, ": sampling_ratio must be at most ", kMaxSamplingRatio,
                 ", got ", sampling_ratio);
}

inline void check_roi_align(const Tensor& features, const Tensor& rois, double spatial_scale, int64_t pooled_height,
                            int64_t pooled_width, int64_t sampling_ratio) {
  check_feature_map("roi_align", "features", features);
  MASKRCNN_CHECK(rois.dim() == 2 && rois.size(1) == 5, "roi_align: rois must be (N, 5), got ", shape_of(rois));
  MASKRCNN_CHECK(rois.scalar_type() == ScalarType::Float, "roi_align: rois must be float32, got ", dtype_of(rois));
  check_same_device("roi_align", "rois", rois, features);
  MASKRCNN_CHECK(spatial_scale > 0 && std::isfinite(spatial_scale),
                 "roi_align: spatial_scale must be positive and finite, got ", spatial_scale);
  check_bins("roi_align", pooled_height, pooled_width, sampling_ratio);
}

}  // namespace maskrcnn
