// propose: what a region proposal network says of every anchor -> the best boxes of each image.
//   image_sizes (B, 2) int64, height and width of each picture without its padding
//   cell_anchors (L, A, 4) float32, the anchors of the cell at row 0, column 0 of each level
//   objectness_l (B, A, H_l, W_l), deltas_l (B, 4A, H_l, W_l) float32, float16 or bfloat16, any strides;
//     channel 4a + (0, 1, 2, 3) is dx, dy, dw, dh of anchor a
//   -> boxes (B, P, 4) float32, scores (B, P) float32, counts (B) int64; rows past counts are zero
//      P = min(post_nms_top_n, sum over levels of min(pre_nms_top_n, A * H_l * W_l))
// In a level an anchor's number is (row * W + column) * A + a; of equal logits the lower number is better. A NaN
// logit counts as minus infinity. A box whose side is NaN is dropped.
#pragma once
#include <cstdint>
#include <optional>

#include "box.h"

namespace maskrcnn {

struct ProposeLevel {
  Tensor objectness, deltas;
  int64_t anchors, height, width;

  int64_t size() const { return product(product(anchors, height), width); }
};

struct ProposeOptions {
  int64_t pre_nms_top_n, post_nms_top_n;
  BoxWeights weights;
  float min_size, score_threshold;
  bool sigmoid;
  Overlap overlap;
};

// The distance between two cells of a level, in pixels.
struct Strides {
  int64_t y, x;
};

// As configured, or (torchvision) the canvas divided by the grid.
inline int64_t level_stride(int64_t configured, int64_t first_stride, int64_t first_cells, int64_t cells,
                            bool from_grid) {
  return from_grid && cells > 0 ? first_stride * first_cells / cells : configured;
}

inline std::vector<Strides> level_strides(const std::vector<ProposeLevel>& levels,
                                          const std::vector<int64_t>& configured, bool from_grid) {
  std::vector<Strides> out;
  for (size_t i = 0; i < levels.size(); ++i)
    out.push_back({level_stride(configured[i], configured[0], levels[0].height, levels[i].height, from_grid),
                   level_stride(configured[i], configured[0], levels[0].width, levels[i].width, from_grid)});
  return out;
}

C10_HOST_DEVICE inline Box anchor_at(const Box& cell, int64_t row, int64_t column, const Strides& strides) {
  const float x = static_cast<float>(column * strides.x), y = static_cast<float>(row * strides.y);
  return {x + cell.x1, y + cell.y1, x + cell.x2, y + cell.y2};
}

C10_HOST_DEVICE inline float proposal_score(float logit, const ProposeOptions& options) {
  return options.sigmoid ? sigmoid(logit) : logit;
}

C10_HOST_DEVICE inline bool is_candidate(const Box& box, float score, const ProposeOptions& options) {
  return has_sides(box, options.min_size, options.overlap.extra) && score >= options.score_threshold;
}

inline int64_t proposals_per_image(const std::vector<ProposeLevel>& levels, const ProposeOptions& options) {
  int64_t candidates = 0;
  for (const ProposeLevel& level : levels) candidates += std::min(options.pre_nms_top_n, level.size());
  return std::min(options.post_nms_top_n, candidates);
}

inline ProposeOptions propose_options(int64_t pre_nms_top_n, int64_t post_nms_top_n, double nms_threshold,
                                      const std::vector<double>& box_weights, double min_size,
                                      const std::optional<double>& score_threshold, bool sigmoid, bool legacy,
                                      bool inclusive) {
  const double least_score = score_threshold.value_or(-std::numeric_limits<double>::infinity());
  return {pre_nms_top_n, post_nms_top_n, to_box_weights(box_weights), static_cast<float>(min_size),
          static_cast<float>(least_score), sigmoid, overlap_rule(nms_threshold, legacy, inclusive)};
}

inline void check_propose_level(size_t number, const ProposeLevel& level, int64_t images, int64_t anchors,
                                const Tensor& first) {
  const Tensor &objectness = level.objectness, &deltas = level.deltas;
  MASKRCNN_CHECK(objectness.dim() == 4 && objectness.size(0) == images && objectness.size(1) == anchors,
                 "propose: objectness", number, " must be (", images, ", ", anchors, ", H, W), got ",
                 shape_of(objectness));
  MASKRCNN_CHECK(deltas.dim() == 4 && deltas.size(0) == images && deltas.size(1) == 4 * anchors &&
                     deltas.size(2) == objectness.size(2) && deltas.size(3) == objectness.size(3),
                 "propose: deltas", number, " must be (", images, ", ", 4 * anchors, ", ", objectness.size(2), ", ",
                 objectness.size(3), "), got ", shape_of(deltas));
  MASKRCNN_CHECK(is_feature_dtype(objectness) && objectness.scalar_type() == deltas.scalar_type(),
                 "propose: objectness", number, " and deltas", number,
                 " must be both float32, float16 or bfloat16, got ", dtype_of(objectness), " and ", dtype_of(deltas));
  MASKRCNN_CHECK(level.size() < INT64_C(1) << 32, "propose: objectness", number,
                 " must have fewer than 2^32 anchors an image, got ", level.size());
  check_same_device("propose", "objectness", objectness, first);
  check_same_device("propose", "deltas", deltas, first);
}

inline void check_propose_options(const std::vector<int64_t>& strides, int64_t levels, int64_t pre_nms_top_n,
                                  int64_t post_nms_top_n, double nms_threshold, double min_size,
                                  const std::optional<double>& score_threshold) {
  MASKRCNN_CHECK(static_cast<int64_t>(strides.size()) == levels, "propose: strides must be ", levels,
                 " numbers, got ", strides.size());
  for (const int64_t stride : strides)
    MASKRCNN_CHECK(stride > 0 && stride < 1 << 20, "propose: strides must be in [1, 2^20), got ", stride);
  MASKRCNN_CHECK(pre_nms_top_n >= 0, "propose: pre_nms_top_n must be >= 0, got ", pre_nms_top_n);
  MASKRCNN_CHECK(post_nms_top_n >= 0, "propose: post_nms_top_n must be >= 0, got ", post_nms_top_n);
  check_not_nan("propose", "nms_threshold", nms_threshold);
  check_not_nan("propose", "min_size", min_size);
  if (score_threshold) check_not_nan("propose", "score_threshold", *score_threshold);
}

inline void check_propose(const Tensor& image_sizes, const Tensor& cell_anchors,
                          const std::vector<ProposeLevel>& levels) {
  const int64_t images = image_sizes.dim() > 0 ? image_sizes.size(0) : 0;
  check_image_sizes("propose", image_sizes, images);
  MASKRCNN_CHECK(cell_anchors.dim() == 3 && cell_anchors.size(0) == static_cast<int64_t>(levels.size()) &&
                     cell_anchors.size(2) == 4,
                 "propose: cell_anchors must be (", levels.size(), ", A, 4), got ", shape_of(cell_anchors));
  MASKRCNN_CHECK(cell_anchors.scalar_type() == ScalarType::Float, "propose: cell_anchors must be float32, got ",
                 dtype_of(cell_anchors));
  check_same_device("propose", "cell_anchors", cell_anchors, image_sizes);
  for (size_t i = 0; i < levels.size(); ++i)
    check_propose_level(i, levels[i], images, cell_anchors.size(1), image_sizes);
}

using LevelTensors = std::vector<std::optional<Tensor>>;

// The levels given, which must come first and in pairs.
inline std::vector<ProposeLevel> propose_levels(const LevelTensors& objectness, const LevelTensors& deltas) {
  std::vector<ProposeLevel> levels;
  for (size_t i = 0; i < objectness.size(); ++i) {
    MASKRCNN_CHECK(objectness[i].has_value() == deltas[i].has_value(), "propose: objectness", i, " and deltas", i,
                   " must be given together, got one of them");
    if (!objectness[i]) continue;
    MASKRCNN_CHECK(levels.size() == i, "propose: objectness", levels.size(), " must be given before objectness", i,
                   ", got None");
    const Tensor& grid = *objectness[i];
    const bool whole = grid.dim() == 4;  // check_propose refuses the others
    levels.push_back({grid, *deltas[i], whole ? grid.size(1) : 0, whole ? grid.size(2) : 0, whole ? grid.size(3) : 0});
  }
  return levels;
}
}  // namespace maskrcnn
