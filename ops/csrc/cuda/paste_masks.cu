#include "../paste_masks.h"

#include <torch/csrc/stable/library.h>
#include <torch/csrc/stable/ops.h>

#include "launch.h"

namespace maskrcnn {
namespace {

struct Planes {
  int64_t count, height, width;
  int32_t size;
  PasteRule rule;
  float least;
};

// One thread a pixel, those of a row side by side.
__global__ void paste_kernel(const float* masks, const float* boxes, bool* out, Planes planes) {
  const int64_t total = planes.count * planes.height * planes.width;
  for (int64_t i = grid_thread(); i < total; i += grid_threads()) {
    const int64_t line = i / planes.width, n = line / planes.height;
    const int32_t row = static_cast<int32_t>(line % planes.height), column = static_cast<int32_t>(i % planes.width);
    const MaskFrame frame = mask_frame(boxes + 4 * n, planes.size, planes.rule);
    const float x = position(frame.x, column), y = position(frame.y, row);
    const float* mask = masks + n * planes.size * planes.size;
    out[i] = on_mask(x, planes.size) && on_mask(y, planes.size) &&
             sample_mask(mask, planes.size, locate(x, planes.size), locate(y, planes.size)) >= planes.least;
  }
}

Tensor paste_masks_cuda(const Tensor& probs, const Tensor& boxes, int64_t height, int64_t width, double threshold,
                        std::string rule_name, bool inclusive) {
  check_paste_masks(probs, boxes, height, width);
  const Planes planes{probs.size(0), height, width, static_cast<int32_t>(probs.size(1)),
                      paste_rule("paste_masks", rule_name), least_member(static_cast<float>(threshold), inclusive)};
  const Launcher launch("paste_masks", probs);
  const Tensor masks = torch::stable::contiguous(probs), corners = torch::stable::contiguous(boxes);
  Tensor out = torch::stable::new_empty(probs, {planes.count, height, width}, ScalarType::Bool);
  constexpr int kThreads = 256;
  launch(paste_kernel, blocks_for(planes.count * height * width, kThreads), kThreads, 0, masks.const_data_ptr<float>(),
         corners.const_data_ptr<float>(), out.mutable_data_ptr<bool>(), planes);
  return out;
}

}  // namespace

STABLE_TORCH_LIBRARY_IMPL(maskrcnn, CUDA, ops) { ops.impl("paste_masks", TORCH_BOX(&paste_masks_cuda)); }

}  // namespace maskrcnn
