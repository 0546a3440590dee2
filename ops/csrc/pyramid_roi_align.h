// pyramid_roi_align: roi_align of every box on the pyramid level that fits its size.
//   boxes (B, P, 4) padded, or (K, 4) packed in image order; float32, x1 y1 x2 y2 in pixels of the canvas
//   counts (B) int64: boxes of each image;  level0 .. (B, C, H_l, W_l), one dtype, finest first
//   -> (B * P or K, C, pooled_height, pooled_width), dtype of the levels, channels-last memory
// Rows past an image's count, or past the sum of the counts where packed, are 0. On a GPU, which cannot refuse a
// count, each is first clamped to the boxes that are left. So is a box whose level is NaN
// (its area is negative or NaN). Sampling is that of roi_align.
#pragma once
#include <cmath>
#include <cstdint>
#include <initializer_list>
#include <limits>
#include <optional>
#include <vector>

#include "roi_align.h"

namespace maskrcnn {

struct LevelRule {
  float canonical_level, canonical_size, ratio_epsilon, level_epsilon;
  bool legacy;
  int64_t lowest;  // level of level0
  int64_t levels;
};

// floor(canonical_level + log2(sqrt(area) / canonical_size + ratio_epsilon) + level_epsilon), clamped, counted from
// level0; -1 for NaN. Every step rounds to float32, as the frameworks do: boxes of exactly a canonical size are
// common, and the epsilons decide them. log2 goes through double, so that every device rounds it alike.
C10_HOST_DEVICE inline int64_t level_of(const float* box, const LevelRule& rule) {
  const float more = rule.legacy ? 1.0f : 0.0f;
  const float area = (box[2] - box[0] + more) * (box[3] - box[1] + more);
  const float ratio = std::sqrt(area) / rule.canonical_size + rule.ratio_epsilon;
  const float octaves = static_cast<float>(std::log2(static_cast<double>(ratio)));
  const float level = std::floor(rule.canonical_level + octaves + rule.level_epsilon) - static_cast<float>(rule.lowest);
  if (std::isnan(level)) return -1;
  return static_cast<int64_t>(std::fmin(std::fmax(level, 0.0f), static_cast<float>(rule.levels - 1)));
}

inline int64_t level_of_scale(double scale) { return std::llround(-std::log2(scale)); }

inline LevelRule level_rule(const std::vector<double>& spatial_scales, int64_t canonical_level, double canonical_size,
                            double ratio_epsilon, double level_epsilon, bool legacy) {
  return {static_cast<float>(canonical_level), static_cast<float>(canonical_size),
          static_cast<float>(ratio_epsilon),   static_cast<float>(level_epsilon),
          legacy,                              level_of_scale(spatial_scales[0]),
          static_cast<int64_t>(spatial_scales.size())};
}

inline std::vector<Tensor> present_levels(const Tensor& level0,
                                          std::initializer_list<std::optional<Tensor>> others) {
  std::vector<Tensor> levels{level0};
  bool ended = false;
  for (const std::optional<Tensor>& level : others) {
    MASKRCNN_CHECK(!(ended && level), "pyramid_roi_align: levels must be given without a gap, got one after none");
    ended = !level;
    if (level) levels.push_back(*level);
  }
  return levels;
}

inline void check_levels(const std::vector<Tensor>& levels) {
  MASKRCNN_CHECK(!levels.empty(), "pyramid_roi_align: level0 must be a tensor, got none");
  const Tensor& first = levels[0];
  for (size_t i = 0; i < levels.size(); ++i) {
    const std::string name = text("level", i);
    check_feature_map("pyramid_roi_align", name.c_str(), levels[i]);
    MASKRCNN_CHECK(levels[i].size(0) == first.size(0) && levels[i].size(1) == first.size(1), "pyramid_roi_align: ",
                   name, " must be (", first.size(0), ", ", first.size(1), ", H, W), got ", shape_of(levels[i]));
    MASKRCNN_CHECK(levels[i].scalar_type() == first.scalar_type(), "pyramid_roi_align: ", name, " must be ",
                   dtype_of(first), " as level0, got ", dtype_of(levels[i]));
    check_same_device("pyramid_roi_align", name.c_str(), levels[i], first);
  }
}

inline void check_spatial_scales(const std::vector<double>& scales, size_t levels) {
  MASKRCNN_CHECK(scales.size() == levels, "pyramid_roi_align: spatial_scales must be ", levels,
                 " numbers, one a level, got ", scales.size());
  for (size_t i = 0; i < scales.size(); ++i) {
    int exponent;
    MASKRCNN_CHECK(std::isfinite(scales[i]) && std::frexp(scales[i], &exponent) == 0.5,
                   "pyramid_roi_align: spatial_scales must be powers of two, got ", scales[i]);
    MASKRCNN_CHECK(i == 0 || scales[i] * 2 == scales[i - 1],
                   "pyramid_roi_align: spatial_scales must halve from level to level, got ", scales[i - 1], " then ",
                   scales[i]);
  }
}

inline void check_boxes_and_counts(const Tensor& boxes, const Tensor& counts, const Tensor& level0) {
  const int64_t images = level0.size(0);
  MASKRCNN_CHECK((boxes.dim() == 2 || (boxes.dim() == 3 && boxes.size(0) == images)) && boxes.size(-1) == 4,
                 "pyramid_roi_align: boxes must be (", images, ", P, 4) or (K, 4), got ", shape_of(boxes));
  MASKRCNN_CHECK(boxes.scalar_type() == ScalarType::Float, "pyramid_roi_align: boxes must be float32, got ",
                 dtype_of(boxes));
  check_vector("pyramid_roi_align", "counts", counts, images, ScalarType::Long);
  check_same_device("pyramid_roi_align", "boxes", boxes, level0);
  check_same_device("pyramid_roi_align", "counts", counts, level0);
}

inline void check_pyramid_roi_align(const Tensor& boxes, const Tensor& counts, const std::vector<Tensor>& levels,
                                    const std::vector<double>& spatial_scales, int64_t pooled_height,
                                    int64_t pooled_width, int64_t sampling_ratio, double canonical_size) {
  check_levels(levels);
  check_spatial_scales(spatial_scales, levels.size());
  check_boxes_and_counts(boxes, counts, levels[0]);
  check_bins("pyramid_roi_align", pooled_height, pooled_width, sampling_ratio);
  MASKRCNN_CHECK(canonical_size > 0 && std::isfinite(canonical_size),
                 "pyramid_roi_align: canonical_size must be positive and finite, got ", canonical_size);
}

}  // namespace maskrcnn
