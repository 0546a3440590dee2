// select_detections: class scores and box deltas of every proposal -> the best detections of each image.
//   class_scores (B * P, C), box_deltas (B * P, 4C) float32, float16 or bfloat16, any strides;
//     box_deltas may leave out the background, (B * P, 4(C - 1)), or serve all classes at once, (B * P, 4)
//   proposals (B, P, 4) float32 on the canvas;  counts (B) int64, how many of the P rows an image fills
//   image_sizes (B, 2) int64, height and width of each picture without its padding
//   -> boxes (B, D, 4) float32, scores (B, D) float32, labels (B, D) int64 (columns of class_scores),
//      proposal_rows (B, D) int64 in [0, P), counts (B) int64; D = max_detections, rows past counts are zero
// Best first; of equal scores the lower proposal row, then the lower label. A NaN score, and a box whose side is
// NaN, is dropped.
#pragma once
#include <cstdint>
#include <string>
#include <vector>

#include "box.h"

namespace maskrcnn {

enum class Activation { kSoftmax, kSigmoid, kNone };

struct SelectOptions {
  Activation activation;
  int64_t classes, background;  // the columns of class_scores, and which of them is no class
  int64_t max_detections;
  float score_threshold, min_size;
  BoxWeights weights;
  Overlap overlap;
};

inline Activation to_activation(const std::string& name) {
  if (name == "softmax") return Activation::kSoftmax;
  if (name == "sigmoid") return Activation::kSigmoid;
  MASKRCNN_CHECK(name == "none", "select_detections: activation must be 'softmax', 'sigmoid' or 'none', got '", name,
                 "'");
  return Activation::kNone;
}

// Which four columns of box_deltas belong to a label: of all classes, of the foreground, or of one for all.
C10_HOST_DEVICE inline int64_t delta_column(int64_t label, int64_t columns, const SelectOptions& options) {
  if (columns == 4) return 0;
  if (columns == 4 * options.classes) return 4 * label;
  return 4 * (label - (label > options.background));
}

inline void check_select_heads(const Tensor& class_scores, const Tensor& box_deltas, int64_t rows) {
  MASKRCNN_CHECK(class_scores.dim() == 2 && class_scores.size(0) == rows && class_scores.size(1) >= 1,
                 "select_detections: class_scores must be (", rows, ", C), got ", shape_of(class_scores));
  const int64_t columns = box_deltas.dim() == 2 ? box_deltas.size(1) : 0, classes = class_scores.size(1);
  const int64_t of_all = product(4, classes), of_foreground = product(4, classes - 1);
  MASKRCNN_CHECK(columns > 0 && box_deltas.size(0) == rows &&
                     (columns == 4 || columns == of_all || columns == of_foreground),
                 "select_detections: box_deltas must be (", rows, ", ", of_all, "), (", rows, ", ", of_foreground,
                 ") or (", rows, ", 4), got ", shape_of(box_deltas));
  MASKRCNN_CHECK(is_feature_dtype(class_scores) && class_scores.scalar_type() == box_deltas.scalar_type(),
                 "select_detections: class_scores and box_deltas must be both float32, float16 or bfloat16, got ",
                 dtype_of(class_scores), " and ", dtype_of(box_deltas));
}

inline void check_select_images(const Tensor& proposals, const Tensor& counts, const Tensor& image_sizes) {
  MASKRCNN_CHECK(proposals.dim() == 3 && proposals.size(2) == 4,
                 "select_detections: proposals must be (B, P, 4), got ", shape_of(proposals));
  MASKRCNN_CHECK(proposals.scalar_type() == ScalarType::Float, "select_detections: proposals must be float32, got ",
                 dtype_of(proposals));
  check_vector("select_detections", "counts", counts, proposals.size(0), ScalarType::Long);
  check_image_sizes("select_detections", image_sizes, proposals.size(0));
}

inline void check_select_detections(const Tensor& class_scores, const Tensor& box_deltas, const Tensor& proposals,
                                    const Tensor& counts, const Tensor& image_sizes) {
  check_select_images(proposals, counts, image_sizes);
  check_select_heads(class_scores, box_deltas, proposals.size(0) * proposals.size(1));
  const int64_t scores = product(proposals.size(1), class_scores.size(1));
  MASKRCNN_CHECK(scores < INT64_C(1) << 32,
                 "select_detections: proposals times classes must be fewer than 2^32 an image, got ", scores);
  check_same_device("select_detections", "box_deltas", box_deltas, class_scores);
  check_same_device("select_detections", "proposals", proposals, class_scores);
  check_same_device("select_detections", "counts", counts, class_scores);
  check_same_device("select_detections", "image_sizes", image_sizes, class_scores);
}

inline void check_select_options(double score_threshold, double nms_threshold, int64_t max_detections,
                                 double min_size) {
  check_not_nan("select_detections", "score_threshold", score_threshold);
  check_not_nan("select_detections", "nms_threshold", nms_threshold);
  check_not_nan("select_detections", "min_size", min_size);
  MASKRCNN_CHECK(max_detections >= 0, "select_detections: max_detections must be >= 0, got ", max_detections);
}

inline SelectOptions select_options(int64_t classes, double score_threshold, double nms_threshold,
                                    int64_t max_detections, const std::vector<double>& box_weights,
                                    const std::string& activation, bool background_first, double min_size, bool legacy,
                                    bool inclusive) {
  check_select_options(score_threshold, nms_threshold, max_detections, min_size);
  check_box_weights("select_detections", box_weights);
  return {to_activation(activation), classes, background_first ? 0 : classes - 1, max_detections,
          static_cast<float>(score_threshold), static_cast<float>(min_size), to_box_weights(box_weights),
          overlap_rule(nms_threshold, legacy, inclusive)};
}
}  // namespace maskrcnn
