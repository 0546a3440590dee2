// One call of each op, made of bytes, and what must hold of its result.
#pragma once
#include "call.h"

namespace fuzz {

void nms(Bytes& bytes);
void propose(Bytes& bytes);
void select_detections(Bytes& bytes);
void roi_align(Bytes& bytes);
void pyramid_roi_align(Bytes& bytes);
void deform_conv2d(Bytes& bytes);
void paste_masks(Bytes& bytes);
void encode_rle(Bytes& bytes);
void resize_normalize(Bytes& bytes);

// The first byte of an input chooses.
constexpr void (*kOps[])(Bytes&) = {nms,           propose,     select_detections, roi_align,       pyramid_roi_align,
                                    deform_conv2d, paste_masks, encode_rle,        resize_normalize};

}  // namespace fuzz
