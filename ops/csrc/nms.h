// nms: greedy non-maximum suppression.
//   boxes (N, 4) float32, x1 y1 x2 y2;  scores (N) float32;  classes (N) int64 or none
//   -> indices (K) int64 of the kept boxes, best first; of equal scores the lower index first
// A box goes where its IoU with a better kept box (of its class) is above iou_threshold, or on it where
// inclusive. A NaN IoU suppresses nothing; a NaN score ranks last.
#pragma once
#include <optional>

#include "box.h"

namespace maskrcnn {

inline void check_nms(const Tensor& boxes, const Tensor& scores, double iou_threshold,
                      const std::optional<Tensor>& classes) {
  MASKRCNN_CHECK(boxes.dim() == 2 && boxes.size(1) == 4, "nms: boxes must be (N, 4), got ", shape_of(boxes));
  MASKRCNN_CHECK(boxes.scalar_type() == ScalarType::Float, "nms: boxes must be float32, got ", dtype_of(boxes));
  check_vector("nms", "scores", scores, boxes.size(0), ScalarType::Float);
  check_same_device("nms", "scores", scores, boxes);
  check_not_nan("nms", "iou_threshold", iou_threshold);
  if (!classes) return;
  check_vector("nms", "classes", *classes, boxes.size(0), ScalarType::Long);
  check_same_device("nms", "classes", *classes, boxes);
}
}  // namespace maskrcnn
