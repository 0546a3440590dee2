#include "../paste_masks.h"

#include <cstring>

#include <torch/csrc/stable/library.h>

#include "parallel.h"
#include "sampled_axis.h"

namespace maskrcnn {
namespace {

// What the lines of one instance share. Lines between the same two mask rows share `top` and `rise` too.
struct Instance {
  MaskAxis y_axis;
  SampledAxis x;
  std::vector<float> padded, top, rise;
  int32_t cell = -1;
};

void begin_instance(const float* mask, const float* box, int32_t size, int32_t width, PasteRule rule, Instance& on) {
  const MaskFrame frame = mask_frame(box, size, rule);
  on.y_axis = frame.y;
  on.cell = -1;
  sample_axis(frame.x, size, width, on.x);
  pad_mask(mask, size, on.padded);
  on.top.resize(on.x.length());
  on.rise.resize(on.x.length());
}

inline void stretch_rows(const float* upper, const float* lower, const int32_t* cell, const float* fraction,
                         int32_t length, float* __restrict top, float* __restrict rise) {
  for (int32_t i = 0; i < length; ++i) {
    const int32_t left = cell[i], right = left + 1;
    top[i] = lerp(upper[left], upper[right], fraction[i]);
    rise[i] = lerp(lower[left], lower[right], fraction[i]) - top[i];
  }
}

inline void compare(const float* top, const float* rise, float fraction, float least, int32_t length,
                    uint8_t* __restrict line) {
  for (int32_t i = 0; i < length; ++i) line[i] = std::fma(fraction, rise[i], top[i]) >= least;
}

void paste_line(Instance& on, int32_t size, int32_t row, int32_t width, float least, uint8_t* line) {
  const float y = position(on.y_axis, row);
  if (!on_mask(y, size)) return void(std::memset(line, 0, width));
  const MaskPoint point = locate(y, size);
  const float* upper = on.padded.data() + int64_t{point.cell} * (size + 2);
  std::memset(line, 0, on.x.begin);
  std::memset(line + on.x.end, 0, width - on.x.end);
  multiversion([&] {
    if (on.cell != point.cell)
      stretch_rows(upper, upper + size + 2, on.x.cell.data(), on.x.fraction.data(), on.x.length(), on.top.data(),
                   on.rise.data());
    compare(on.top.data(), on.rise.data(), point.fraction, least, on.x.length(), line + on.x.begin);
  });
  on.cell = point.cell;
}

Tensor paste_masks_cpu(const Tensor& probs, const Tensor& boxes, int64_t height, int64_t width, double threshold,
                       std::string rule_name, bool inclusive) {
  check_paste_masks(probs, boxes, height, width);
  const PasteRule rule = paste_rule("paste_masks", rule_name);
  const float least = least_member(static_cast<float>(threshold), inclusive);
  const Tensor masks = torch::stable::contiguous(probs), corners = torch::stable::contiguous(boxes);
  const int64_t count = masks.size(0);
  const int32_t size = static_cast<int32_t>(masks.size(1)), columns = static_cast<int32_t>(width);
  Tensor out = torch::stable::empty({count, height, width}, ScalarType::Bool);
  const auto* mask = masks.const_data_ptr<float>();
  const auto* box = corners.const_data_ptr<float>();
  auto* plane = reinterpret_cast<uint8_t*>(out.mutable_data_ptr<bool>());
  parallel(count * height, 64, [&](int64_t begin, int64_t end) {
    Instance on;
    for (int64_t line = begin; line < end; ++line) {  // one row of one instance
      const int64_t n = line / height;
      const int32_t row = static_cast<int32_t>(line % height);
      if (line == begin || row == 0) begin_instance(mask + n * size * size, box + 4 * n, size, columns, rule, on);
      paste_line(on, size, row, columns, least, plane + line * width);
    }
  });
  return out;
}

}  // namespace

STABLE_TORCH_LIBRARY_IMPL(maskrcnn, CPU, ops) { ops.impl("paste_masks", TORCH_BOX(&paste_masks_cpu)); }

}  // namespace maskrcnn
