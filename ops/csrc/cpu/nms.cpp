#include "../nms.h"

#include <cstring>
#include <numeric>

#include <torch/csrc/stable/library.h>

#include "greedy_nms.h"
#include "parallel.h"

namespace maskrcnn {
namespace {

std::vector<int64_t> best_first(const float* scores, int64_t count) {
  std::vector<int64_t> order(count);
  std::iota(order.begin(), order.end(), 0);
  const auto rank = [&](int64_t i) { return std::isnan(scores[i]) ? -std::numeric_limits<float>::infinity() : scores[i]; };
  std::stable_sort(order.begin(), order.end(), [&](int64_t a, int64_t b) { return rank(a) > rank(b); });
  return order;
}

// Where in the order, grouped by class, each class begins; the last entry is the end.
std::vector<int64_t> class_starts(const std::vector<int64_t>& order, const int64_t* classes) {
  std::vector<int64_t> starts{0};
  const int64_t count = static_cast<int64_t>(order.size());
  for (int64_t i = 1; i < count; ++i)
    if (classes[order[i]] != classes[order[i - 1]]) starts.push_back(i);
  if (count > 0) starts.push_back(count);
  return starts;
}

// Marks the kept among order[begin, end), which are of one class and best first.
void keep_within(const Box* boxes, const int64_t* order, int64_t count, const Overlap& overlap, char* keep) {
  std::vector<Box> candidates(count);
  for (int64_t i = 0; i < count; ++i) candidates[i] = boxes[order[i]];
  for (const int64_t i : greedy_nms(candidates, overlap, count)) keep[order[i]] = 1;
}

std::vector<char> kept_boxes(const Box* boxes, std::vector<int64_t> order, const int64_t* classes,
                             const Overlap& overlap) {
  std::vector<char> keep(order.size(), 0);
  if (classes == nullptr) {
    keep_within(boxes, order.data(), static_cast<int64_t>(order.size()), overlap, keep.data());
    return keep;
  }
  std::stable_sort(order.begin(), order.end(), [&](int64_t a, int64_t b) { return classes[a] < classes[b]; });
  const std::vector<int64_t> starts = class_starts(order, classes);
  // With one class the loop does not fork, so the suppression in it may.
  parallel(static_cast<int64_t>(starts.size()) - 1, 1, [&](int64_t from, int64_t to) {
    for (int64_t i = from; i < to; ++i)
      keep_within(boxes, order.data() + starts[i], starts[i + 1] - starts[i], overlap, keep.data());
  });
  return keep;
}

Tensor to_tensor(const std::vector<int64_t>& values, const Tensor& like) {
  const int64_t count = static_cast<int64_t>(values.size());
  Tensor out = torch::stable::new_empty(like, {count}, ScalarType::Long);
  if (count > 0) std::memcpy(out.mutable_data_ptr(), values.data(), count * sizeof(int64_t));
  return out;
}

Tensor nms_cpu(const Tensor& boxes, const Tensor& scores, double iou_threshold, std::optional<Tensor> classes,
               bool legacy, bool inclusive) {
  check_nms(boxes, scores, iou_threshold, classes);
  const Tensor corners = torch::stable::contiguous(boxes), ranks = torch::stable::contiguous(scores);
  if (classes) classes = torch::stable::contiguous(*classes);
  std::vector<int64_t> order = best_first(ranks.const_data_ptr<float>(), ranks.size(0));
  const std::vector<char> keep = kept_boxes(static_cast<const Box*>(corners.const_data_ptr()), order,
                                            classes ? classes->const_data_ptr<int64_t>() : nullptr,
                                            overlap_rule(iou_threshold, legacy, inclusive));
  std::erase_if(order, [&](int64_t i) { return !keep[i]; });
  return to_tensor(order, boxes);
}
}  // namespace

STABLE_TORCH_LIBRARY_IMPL(maskrcnn, CPU, ops) { ops.impl("nms", TORCH_BOX(&nms_cpu)); }

}  // namespace maskrcnn
