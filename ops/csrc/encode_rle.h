// encode_rle: COCO's compressed run lengths of the planes that paste_masks would give, without the planes.
//   probs (N, M, M) float32, boxes (N, 4) float32: as in paste_masks
//   image_sizes (N, 2) int64, each instance's own (height, width);  thresholds (N) float32, each one's own
//   -> counts (T) uint8, the strings one after another;  offsets (N + 1) int64, where each begins
// The rules and the arithmetic stand in mask_sampling.h.
#pragma once
#include "paste_masks.h"

namespace maskrcnn {

inline void check_encode_rle(const Tensor& probs, const Tensor& boxes, const Tensor& image_sizes,
                             const Tensor& thresholds) {
  check_masks_and_boxes("encode_rle", probs, boxes);
  const int64_t count = probs.size(0);
  MASKRCNN_CHECK(image_sizes.dim() == 2 && image_sizes.size(0) == count && image_sizes.size(1) == 2,
                 "encode_rle: image_sizes must be (", count, ", 2), got ", shape_of(image_sizes));
  MASKRCNN_CHECK(image_sizes.scalar_type() == ScalarType::Long, "encode_rle: image_sizes must be int64, got ",
                 dtype_of(image_sizes));
  MASKRCNN_CHECK(thresholds.dim() == 1 && thresholds.size(0) == count, "encode_rle: thresholds must be (", count,
                 ",), got ", shape_of(thresholds));
  MASKRCNN_CHECK(thresholds.scalar_type() == ScalarType::Float, "encode_rle: thresholds must be float32, got ",
                 dtype_of(thresholds));
}

// Apart from the other checks, because it reads values: sizes (count, 2), on the host.
inline void check_image_sizes(const int64_t* sizes, int64_t count) {
  for (int64_t n = 0; n < count; ++n) {
    const int64_t height = sizes[2 * n], width = sizes[2 * n + 1];
    MASKRCNN_CHECK(height > 0 && height <= kLongestSide && width > 0 && width <= kLongestSide,
                   "encode_rle: image_sizes must be from 1 to ", kLongestSide, ", got (", height, ", ", width,
                   ") in row ", n);
  }
}

}  // namespace maskrcnn
