// Detections drawn over their picture, for people.
#pragma once
#include <torch/types.h>

#include "detector.h"

// (height, width) bool, true inside: COCO's compressed run lengths as a plane. std::runtime_error: they do not fit.
torch::Tensor decode_mask(const std::string& counts, Size picture);

// A copy of the (H, W, 3) uint8 pixels with masks, their outlines and boxes; the best lies on top.
torch::Tensor draw(const torch::Tensor& pixels, const Detections& found);
