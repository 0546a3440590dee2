// The product of columns and weights, by PyTorch's own matrix routines: they know the processor, and on a GPU its
// tensor cores and the settings for TF32. Only views and `out=` calls, which copy nothing, wait for no GPU, go to the
// current stream, and which autocast leaves alone.
#pragma once
#include <algorithm>
#include <array>

#include <torch/csrc/stable/ops.h>

#include "deform_conv2d.h"

namespace maskrcnn {

// (B, O, H', W') in channels-last memory.
inline Tensor empty_deformed(const Tensor& features, const DeformConv& conv) {
  return torch::stable::empty({conv.images, conv.outputs, conv.out_height, conv.out_width}, features.scalar_type(),
                              std::nullopt, features.device(), std::nullopt,
                              torch::headeronly::MemoryFormat::ChannelsLast);
}

inline Tensor empty_rows(const Tensor& like, int64_t rows, int64_t columns, ScalarType dtype) {
  return torch::stable::empty({rows, columns}, dtype, std::nullopt, like.device());
}

// (N, C, H, W) in channels-last memory as (N, H, W, C), a view.
inline Tensor channels_at_the_end(const Tensor& tensor) {
  return torch::stable::transpose(torch::stable::transpose(tensor, 1, 2), 2, 3);
}

// (groups, columns of one, outputs of one). Copies nothing where the weights are in channels-last memory.
inline Tensor weights_by_group(const Tensor& weight, const DeformConv& conv) {
  const Tensor rows = torch::stable::contiguous(channels_at_the_end(weight));
  return torch::stable::transpose(
      torch::stable::view(rows, {conv.groups, conv.outputs / conv.groups, conv.columns() / conv.groups}), 1, 2);
}

// Output cells whose columns take about so many bytes, and at least `least`.
inline int64_t cells_at_once(const DeformConv& conv, int64_t value_bytes, int64_t bytes, int64_t least) {
  return std::max(least, bytes / (conv.columns() * value_bytes));
}

inline void call_product(const char* op, const Tensor& left, const Tensor& right, const Tensor& out) {
  std::array<StableIValue, 3> stack{torch::stable::detail::from(left), torch::stable::detail::from(right),
                                    torch::stable::detail::from(out)};
  MASKRCNN_CHECK(torch_call_dispatcher(op, "out", stack.data(), TORCH_ABI_VERSION) == 0, "deform_conv2d: ", op,
                 " failed: out of memory most likely, or an input requires grad; standard error has PyTorch's reason");
  (void)torch::stable::detail::to<Tensor>(stack[0]);  // out once more, whose reference must be dropped
}

// (rows, groups * width) as (groups, rows, width), a view.
inline Tensor by_group(const Tensor& rows, int64_t groups) {
  return torch::stable::transpose(torch::stable::view(rows, {rows.size(0), groups, rows.size(1) / groups}), 0, 1);
}

// sums (rows, O) = columns (rows, groups * columns of one) times the weights, group by group.
inline void multiply(const Tensor& columns, const Tensor& weights, const Tensor& sums) {
  const int64_t groups = weights.size(0);
  if (groups == 1) return call_product("aten::mm", columns, torch::stable::select(weights, 0, 0), sums);
  call_product("aten::bmm", by_group(columns, groups), weights, by_group(sums, groups));
}

}  // namespace maskrcnn
