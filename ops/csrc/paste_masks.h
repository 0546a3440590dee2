// paste_masks: stretch each instance's small mask over its box on an image-sized plane.
//   probs (N, M, M) float32 in [0, 1] (others are clamped, NaN counts as 0)
//   boxes (N, 4) float32, x1 y1 x2 y2 in image pixels; may reach past the image
//   -> (N, height, width) bool, true where the interpolated probability reaches the threshold
// The rules and the arithmetic stand in mask_sampling.h.
#pragma once
#include "mask_sampling.h"

namespace maskrcnn {

// Up to here a pixel's centre is exact in float32 and an image's area fits COCO's 32-bit counts.
constexpr int64_t kLongestPlaneSide = 65535;

// The part of the contract that both mask ops share.
inline void check_masks_and_boxes(const char* op, const Tensor& probs, const Tensor& boxes) {
  MASKRCNN_CHECK(probs.dim() == 3 && probs.size(1) == probs.size(2) && probs.size(1) > 0, op,
                 ": probs must be (N, M, M) with M > 0, got ", shape_of(probs));
  MASKRCNN_CHECK(probs.scalar_type() == ScalarType::Float, op, ": probs must be float32, got ", dtype_of(probs));
  MASKRCNN_CHECK(boxes.dim() == 2 && boxes.size(0) == probs.size(0) && boxes.size(1) == 4, op, ": boxes must be (",
                 probs.size(0), ", 4), got ", shape_of(boxes));
  MASKRCNN_CHECK(boxes.scalar_type() == ScalarType::Float, op, ": boxes must be float32, got ", dtype_of(boxes));
  check_same_device(op, "boxes", boxes, probs);
}

inline void check_paste_masks(const Tensor& probs, const Tensor& boxes, int64_t height, int64_t width) {
  check_masks_and_boxes("paste_masks", probs, boxes);
  MASKRCNN_CHECK(height > 0 && height <= kLongestPlaneSide && width > 0 && width <= kLongestPlaneSide,
                 "paste_masks: height and width must be from 1 to ", kLongestPlaneSide, ", got ", height, " and ", width);
}

}  // namespace maskrcnn
