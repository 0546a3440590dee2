// Where a picture lies on the network's canvas, and the way back; see handler/canvas.py.
#pragma once
#include <torch/types.h>

#include "model_card.h"

struct Size {
  int64_t height, width;
};

// Size of a picture after resizing, to the pixel as the training framework computes it. UserError: unknown rule.
Size resized_size(Size picture, const Preprocessing& preprocessing);

// Size of the canvas of a resized picture: its sides, rounded up to the size divisor.
Size canvas_size(Size resized, const Preprocessing& preprocessing);

// (D, 4) boxes on the canvas -> in pixels of the picture, clipped to it where `clip` says so.
torch::Tensor boxes_on_image(const torch::Tensor& boxes_on_canvas, Size resized, Size picture, bool clip);
