// encode_rle: COCO's compressed run lengths of the planes that paste_masks would give, without the planes.
//   probs (N, M, M) float32, boxes (N, 4) float32: as in paste_masks
//   image_sizes (N, 2) int64, each instance's own (height, width);  thresholds (N) float32, each one's own
//   -> counts (T) uint8, the strings one after another;  offsets (N + 1) int64, where each begins
// The rules and the arithmetic stand in mask_sampling.h. On a GPU the op waits for the device once, to learn T, so it
// cannot be captured in a CUDA graph.
#pragma once
#include "paste_masks.h"

namespace maskrcnn {

inline void check_encode_rle(const Tensor& probs, const Tensor& boxes, const Tensor& image_sizes,
                             const Tensor& thresholds) {
  check_masks_and_boxes("encode_rle", probs, boxes);
  check_image_sizes("encode_rle", image_sizes, probs.size(0));
  check_vector("encode_rle", "thresholds", thresholds, probs.size(0), ScalarType::Float);
  check_same_device("encode_rle", "image_sizes", image_sizes, probs);
  check_same_device("encode_rle", "thresholds", thresholds, probs);
}

C10_HOST_DEVICE inline bool is_plane(int64_t height, int64_t width) {
  return height > 0 && height <= kLongestPlaneSide && width > 0 && width <= kLongestPlaneSide;
}

// Apart from the other checks, because it needs the values of a row of image_sizes.
inline void check_plane(int64_t height, int64_t width, int64_t row) {
  MASKRCNN_CHECK(is_plane(height, width), "encode_rle: image_sizes must be from 1 to ", kLongestPlaneSide, ", got (",
                 height, ", ", width, ") in row ", row);
}

}  // namespace maskrcnn
