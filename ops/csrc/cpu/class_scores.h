// The class scores of a row of logits, in float32: softmax, sigmoid, or as they are.
#pragma once
#include "../box.h"
#include "../select_detections.h"
#include "feature_view.h"

namespace maskrcnn {

// Subtracts the largest first, as PyTorch does: no overflow, and a row with a NaN or +inf is NaN.
inline void softmax(float* row, int64_t count) {
  float best = row[0], sum = 0;
  for (int64_t i = 1; i < count; ++i) best = larger(best, row[i]);
  for (int64_t i = 0; i < count; ++i) sum += row[i] = std::exp(row[i] - best);
  for (int64_t i = 0; i < count; ++i) row[i] /= sum;
}

inline void activate(float* row, int64_t count, Activation activation) {
  if (activation == Activation::kSoftmax) softmax(row, count);
  if (activation == Activation::kSigmoid)
    for (int64_t i = 0; i < count; ++i) row[i] = sigmoid(row[i]);
}

// The scores of rows [from, to) into as many rows at `out`.
inline void read_scores(const Tensor& class_scores, int64_t from, int64_t to, Activation activation, float* out) {
  const int64_t classes = class_scores.size(1), by_row = class_scores.stride(0), by_class = class_scores.stride(1);
  visit_features(class_scores, [&](const auto* logits) {
    for (int64_t row = from; row < to; ++row, out += classes) {
      for (int64_t i = 0; i < classes; ++i) out[i] = to_float(logits[row * by_row + i * by_class]);
      activate(out, classes, activation);
    }
  });
}
}  // namespace maskrcnn
