#include "../propose.h"

#include <torch/csrc/stable/library.h>

#include "best_scores.h"
#include "feature_view.h"
#include "greedy_nms.h"
#include "parallel.h"

namespace maskrcnn {
namespace {

struct Proposals {
  std::vector<Box> boxes;
  std::vector<float> scores;

  void add(const Box& box, float score) {
    boxes.push_back(box);
    scores.push_back(score);
  }
};

struct Picture {
  int64_t number, height, width;
};

std::vector<RankedScore> best_logits(const ProposeLevel& level, int64_t image, int64_t most) {
  const Tensor& grid = level.objectness;
  const int64_t by_anchor = grid.stride(1), by_row = grid.stride(2), by_column = grid.stride(3);
  BestScores best(std::min(most, level.size()));
  visit_features(grid, [&](const auto* logits) {
    logits += image * grid.stride(0);
    uint32_t number = 0;
    for (int64_t row = 0; row < level.height; ++row)
      for (int64_t column = 0; column < level.width; ++column)
        for (int64_t anchor = 0; anchor < level.anchors; ++anchor)
          best.offer(to_float(logits[anchor * by_anchor + row * by_row + column * by_column]), number++);
  });
  return best.take();
}

// The box of one anchor before it is clipped.
template <class Feature>
Box decode_anchor(const ProposeLevel& level, const Feature* deltas, const Box* cells, int64_t number, Strides strides,
                  const ProposeOptions& options) {
  const int64_t anchor = number % level.anchors, cell = number / level.anchors;
  const int64_t row = cell / level.width, column = cell % level.width;
  deltas += 4 * anchor * level.deltas.stride(1) + row * level.deltas.stride(2) + column * level.deltas.stride(3);
  float delta[4];
  for (int64_t i = 0; i < 4; ++i) delta[i] = to_float(deltas[i * level.deltas.stride(1)]);
  return decode(anchor_at(cells[anchor], row, column, strides), delta, options.weights, options.overlap.extra);
}

// The best anchors of a level, decoded, clipped and filtered, best first.
Proposals candidates_of(const ProposeLevel& level, const Picture& picture, const Box* cells, Strides strides,
                        const ProposeOptions& options) {
  Proposals found;
  if (level.size() == 0) return found;  // an empty tensor has no memory to point into
  visit_features(level.deltas, [&](const auto* deltas) {
    deltas += picture.number * level.deltas.stride(0);
    for (const RankedScore entry : best_logits(level, picture.number, options.pre_nms_top_n)) {
      const float score = proposal_score(score_of(entry), options);
      const Box box = clip(decode_anchor(level, deltas, cells, number_of(entry), strides, options), picture.height,
                           picture.width, options.overlap.extra);
      if (is_candidate(box, score, options)) found.add(box, score);
    }
  });
  return found;
}

Proposals propose_level(const ProposeLevel& level, const Picture& picture, const Box* cells, Strides strides,
                        const ProposeOptions& options) {
  const Proposals candidates = candidates_of(level, picture, cells, strides, options);
  Proposals kept;
  for (const int64_t i : greedy_nms(candidates.boxes, options.overlap, options.post_nms_top_n))
    kept.add(candidates.boxes[i], candidates.scores[i]);
  return kept;
}

// The best of all levels of one image into its rows; returns how many.
int64_t merge(const Proposals* levels, size_t count, int64_t most, Box* boxes, float* scores) {
  Proposals all;
  for (size_t i = 0; i < count; ++i)
    for (size_t k = 0; k < levels[i].boxes.size(); ++k) all.add(levels[i].boxes[k], levels[i].scores[k]);
  BestScores best(most);
  for (size_t i = 0; i < all.scores.size(); ++i) best.offer(all.scores[i], static_cast<uint32_t>(i));
  int64_t row = 0;
  for (const RankedScore entry : best.take()) {
    boxes[row] = all.boxes[number_of(entry)];
    scores[row++] = score_of(entry);
  }
  return row;
}

using Result = std::tuple<Tensor, Tensor, Tensor>;

Result propose_images(const Tensor& image_sizes, const Tensor& cell_anchors, const std::vector<ProposeLevel>& levels,
                      const std::vector<Strides>& strides, const ProposeOptions& options) {
  const int64_t images = image_sizes.size(0), depth = static_cast<int64_t>(levels.size());
  const int64_t rows = proposals_per_image(levels, options);
  Tensor boxes = torch::stable::new_zeros(cell_anchors, {images, rows, 4});
  Tensor scores = torch::stable::new_zeros(cell_anchors, {images, rows});
  Tensor counts = torch::stable::new_zeros(cell_anchors, {images}, ScalarType::Long);
  auto* box = static_cast<Box*>(boxes.mutable_data_ptr());
  auto* score = scores.mutable_data_ptr<float>();
  auto* count = counts.mutable_data_ptr<int64_t>();
  const auto* size = image_sizes.const_data_ptr<int64_t>();
  const auto* cells = static_cast<const Box*>(cell_anchors.const_data_ptr());
  std::vector<Proposals> found(images * depth);
  parallel(images * depth, 1, [&](int64_t from, int64_t to) {
    for (int64_t i = from; i < to; ++i) {
      const int64_t image = i / depth, l = i % depth;
      found[i] = propose_level(levels[l], {image, size[2 * image], size[2 * image + 1]},
                               cells + l * levels[l].anchors, strides[l], options);
    }
  });
  for (int64_t i = 0; i < images; ++i)
    count[i] = merge(&found[i * depth], levels.size(), rows, box + i * rows, score + i * rows);
  return {boxes, scores, counts};
}

Result propose_cpu(const Tensor& image_sizes, const Tensor& cell_anchors, const Tensor& objectness0,
                   const Tensor& deltas0, std::optional<Tensor> objectness1, std::optional<Tensor> deltas1,
                   std::optional<Tensor> objectness2, std::optional<Tensor> deltas2,
                   std::optional<Tensor> objectness3, std::optional<Tensor> deltas3,
                   std::optional<Tensor> objectness4, std::optional<Tensor> deltas4,
                   std::optional<Tensor> objectness5, std::optional<Tensor> deltas5, std::vector<int64_t> strides,
                   int64_t pre_nms_top_n, int64_t post_nms_top_n, double nms_threshold,
                   std::vector<double> box_weights, double min_size, std::optional<double> score_threshold,
                   bool sigmoid, bool strides_from_grid, bool legacy, bool inclusive) {
  const std::vector<ProposeLevel> levels =
      propose_levels({objectness0, objectness1, objectness2, objectness3, objectness4, objectness5},
                     {deltas0, deltas1, deltas2, deltas3, deltas4, deltas5});
  check_propose(image_sizes, cell_anchors, levels);
  check_propose_options(strides, static_cast<int64_t>(levels.size()), pre_nms_top_n, post_nms_top_n, nms_threshold,
                        min_size, score_threshold);
  check_box_weights("propose", box_weights);
  const ProposeOptions options = propose_options(pre_nms_top_n, post_nms_top_n, nms_threshold, box_weights, min_size,
                                                 score_threshold, sigmoid, legacy, inclusive);
  return propose_images(torch::stable::contiguous(image_sizes), torch::stable::contiguous(cell_anchors), levels,
                        level_strides(levels, strides, strides_from_grid), options);
}
}  // namespace

STABLE_TORCH_LIBRARY_IMPL(maskrcnn, CPU, ops) { ops.impl("propose", TORCH_BOX(&propose_cpu)); }

}  // namespace maskrcnn
