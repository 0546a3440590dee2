#include "../nms.h"

#include <torch/csrc/stable/library.h>
#include <torch/csrc/stable/ops.h>

#include "../ranked_score.h"
#include "greedy_nms.h"

namespace maskrcnn {
namespace {

constexpr int kThreads = 256;

// A RankedScore as an int64 of the same order: what PyTorch can sort.
C10_HOST_DEVICE inline int64_t to_sortable(RankedScore entry) { return std::bit_cast<int64_t>(entry ^ (1ull << 63)); }
C10_HOST_DEVICE inline uint32_t sorted_number(int64_t sortable) { return ~static_cast<uint32_t>(sortable); }

__global__ void rank_kernel(const float* scores, int64_t count, int64_t* out) {
  for (int64_t i = grid_thread(); i < count; i += grid_threads())
    out[i] = to_sortable(ranked(scores[i], static_cast<uint32_t>(i)));
}

// The boxes and their classes in the order of `sorted`.
struct Sorted {
  int64_t count;
  const int64_t* sorted;
  const Box* boxes_in;
  const int64_t* classes_in;  // or null
  Box* boxes;
  int64_t* classes;
};

__global__ void gather_kernel(Sorted order) {
  for (int64_t i = grid_thread(); i < order.count; i += grid_threads()) {
    const uint32_t number = sorted_number(order.sorted[i]);
    order.boxes[i] = order.boxes_in[number];
    if (order.classes_in != nullptr) order.classes[i] = order.classes_in[number];
  }
}

__global__ void indices_kernel(const int64_t* sorted, const int64_t* positions, int64_t count, int64_t* out) {
  for (int64_t i = grid_thread(); i < count; i += grid_threads()) out[i] = sorted_number(sorted[positions[i]]);
}

Tensor sort_descending(const Tensor& values) {
  std::array<StableIValue, 3> stack{torch::stable::detail::from(values), torch::stable::detail::from(int64_t{0}),
                                    torch::stable::detail::from(true)};
  TORCH_ERROR_CODE_CHECK(torch_call_dispatcher("aten::sort", "", stack.data(), TORCH_ABI_VERSION));
  torch::stable::detail::to<Tensor>(stack[1]);  // takes the indices, to free them
  return torch::stable::detail::to<Tensor>(stack[0]);
}

// Best first, as to_sortable() made them: so the sort need not be stable, and knows of no NaN and no -0.
Tensor sort_scores(const Launcher& launch, const Tensor& scores) {
  const Tensor values = torch::stable::contiguous(scores);
  const int64_t count = values.size(0);
  Tensor keys = torch::stable::new_empty(values, {count}, ScalarType::Long);
  launch(rank_kernel, blocks_for(count, kThreads), kThreads, 0, values.const_data_ptr<float>(), count,
         device_array<int64_t>(keys));
  return sort_descending(keys);
}

// The one wait of the ops that choose boxes: how many are kept is the size of the result, which the host must know.
int64_t read_count(const Launcher& launch, const KeptPositions& kept) {
  int64_t count = 0;
  launch.check(cudaMemcpyAsync(&count, &kept.ranges->through, sizeof count, cudaMemcpyDeviceToHost, launch.stream()));
  launch.check(cudaStreamSynchronize(launch.stream()));
  return count;
}

Tensor nms_cuda(const Tensor& boxes, const Tensor& scores, double iou_threshold, std::optional<Tensor> classes,
                bool legacy, bool inclusive) {
  check_nms(boxes, scores, iou_threshold, classes);
  const int64_t count = boxes.size(0);
  MASKRCNN_CHECK(count < INT64_C(1) << 32, "nms: boxes must be fewer than 2^32, got ", count);
  const Launcher launch("nms", boxes);
  if (count == 0) return torch::stable::new_empty(boxes, {0}, ScalarType::Long);
  const Tensor corners = torch::stable::contiguous(boxes), sorted = sort_scores(launch, scores);
  const auto* order = sorted.const_data_ptr<int64_t>();
  if (classes) classes = torch::stable::contiguous(*classes);
  Tensor best_first = torch::stable::new_empty(boxes, {count, 4});
  Tensor best_classes = torch::stable::new_empty(boxes, {classes ? count : 0}, ScalarType::Long);
  auto* sorted_boxes = device_array<Box>(best_first);
  auto* sorted_classes = classes ? device_array<int64_t>(best_classes) : nullptr;
  launch(gather_kernel, blocks_for(count, kThreads), kThreads, 0,
         Sorted{count, order, static_cast<const Box*>(corners.const_data_ptr()),
                classes ? classes->const_data_ptr<int64_t>() : nullptr, sorted_boxes, sorted_classes});
  const KeptPositions kept = greedy_nms(launch, boxes,
                                        {1, count, count, sorted_boxes, sorted_classes, nullptr,
                                         overlap_rule(iou_threshold, legacy, inclusive)});
  const int64_t rows = read_count(launch, kept);
  Tensor out = torch::stable::new_empty(boxes, {rows}, ScalarType::Long);
  launch(indices_kernel, blocks_for(rows, kThreads), kThreads, 0, order, kept.positions, rows,
         device_array<int64_t>(out));
  return out;
}
}  // namespace

STABLE_TORCH_LIBRARY_IMPL(maskrcnn, CUDA, ops) { ops.impl("nms", TORCH_BOX(&nms_cuda)); }

}  // namespace maskrcnn
