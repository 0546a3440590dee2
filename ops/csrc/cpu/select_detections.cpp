#include "../select_detections.h"

#include <torch/csrc/stable/library.h>
#include <torch/csrc/stable/ops.h>

#include "best_scores.h"
#include "class_scores.h"
#include "parallel.h"

namespace maskrcnn {
namespace {

struct Detection {
  Box box;
  float score;
  int64_t label, row;
};

// What one image brings: `rows` of its proposals are real.
struct Candidates {
  int64_t first_row, rows, height, width;
  const float* scores;  // (rows, classes), activated
  const Box* proposals;
};

// The best scores above the threshold that are worse than `bound`.
std::vector<RankedScore> next_best(const Candidates& image, const SelectOptions& options, int64_t most,
                                   RankedScore bound) {
  BestScores best(most, bound);
  const float* score = image.scores;
  for (int64_t number = 0, row = 0; row < image.rows; ++row)
    for (int64_t label = 0; label < options.classes; ++label, ++number, ++score)
      if (*score > options.score_threshold && label != options.background)
        best.offer(*score, static_cast<uint32_t>(number));
  return best.take();
}

Box decode_class(const Candidates& image, const Tensor& box_deltas, int64_t row, int64_t label,
                 const SelectOptions& options) {
  const int64_t first = delta_column(label, box_deltas.size(1), options);
  float delta[4];
  visit_features(box_deltas, [&](const auto* deltas) {
    deltas += (image.first_row + row) * box_deltas.stride(0) + first * box_deltas.stride(1);
    for (int64_t i = 0; i < 4; ++i) delta[i] = to_float(deltas[i * box_deltas.stride(1)]);
  });
  return clip(decode(image.proposals[row], delta, options.weights, options.overlap.extra), image.height, image.width,
              options.overlap.extra);
}

// The detections kept so far; a class's own are chained, newest first, since a box meets only those.
class KeptDetections {
 public:
  explicit KeptDetections(const SelectOptions& options) : options_(options), newest_(options.classes, -1) {}

  bool full() const { return static_cast<int64_t>(kept_.size()) == options_.max_detections; }
  const std::vector<Detection>& all() const { return kept_; }

  void consider(const Box& box, float score, int64_t label, int64_t row) {
    if (!has_sides(box, options_.min_size, options_.overlap.extra)) return;
    for (int64_t i = newest_[label]; i >= 0; i = previous_[i])
      if (suppresses(kept_[i].box, box, options_.overlap)) return;
    previous_.push_back(newest_[label]);
    newest_[label] = static_cast<int64_t>(kept_.size());
    kept_.push_back({box, score, label, row});
  }

 private:
  const SelectOptions& options_;
  std::vector<Detection> kept_;
  std::vector<int64_t> newest_, previous_;
};

// Takes candidates best first and stops when there are enough, so that most boxes are never decoded. The first
// helping is nearly always enough; else each is four times the one before.
std::vector<Detection> select(const Candidates& image, const Tensor& box_deltas, const SelectOptions& options) {
  KeptDetections kept(options);
  RankedScore bound = std::numeric_limits<RankedScore>::max();
  const int64_t all = image.rows * options.classes;
  for (int64_t helping = 256; !kept.full(); helping *= 4) {
    const std::vector<RankedScore> best = next_best(image, options, std::min(helping, all), bound);
    for (const RankedScore entry : best) {
      const int64_t row = number_of(entry) / options.classes, label = number_of(entry) % options.classes;
      kept.consider(decode_class(image, box_deltas, row, label, options), score_of(entry), label, row);
      if (kept.full()) break;
    }
    if (static_cast<int64_t>(best.size()) < helping) break;
    bound = best.back();
  }
  return kept.all();
}

struct Results {
  Tensor boxes, scores, labels, rows, counts;

  Results(const Tensor& like, int64_t images, int64_t most)
      : boxes(torch::stable::new_zeros(like, {images, most, 4})),
        scores(torch::stable::new_zeros(like, {images, most})),
        labels(torch::stable::new_zeros(like, {images, most}, ScalarType::Long)),
        rows(torch::stable::new_zeros(like, {images, most}, ScalarType::Long)),
        counts(torch::stable::new_zeros(like, {images}, ScalarType::Long)) {}

  void write(int64_t image, const std::vector<Detection>& detections) const {
    int64_t at = image * scores.size(1);
    counts.mutable_data_ptr<int64_t>()[image] = static_cast<int64_t>(detections.size());
    for (const Detection& detection : detections) {
      static_cast<Box*>(boxes.mutable_data_ptr())[at] = detection.box;
      scores.mutable_data_ptr<float>()[at] = detection.score;
      labels.mutable_data_ptr<int64_t>()[at] = detection.label;
      rows.mutable_data_ptr<int64_t>()[at++] = detection.row;
    }
  }
};

// All rows at once, those past an image's count too: threads share rows better than images.
std::vector<float> all_scores(const Tensor& class_scores, Activation activation) {
  const int64_t rows = class_scores.size(0), classes = class_scores.size(1);
  std::vector<float> scores(rows * classes);
  torch::stable::parallel_for(0, rows, 16384 / classes + 1, [&](int64_t from, int64_t to) {
    read_scores(class_scores, from, to, activation, scores.data() + from * classes);
  });
  return scores;
}

Results select_images(const Tensor& class_scores, const Tensor& box_deltas, const Tensor& proposals,
                      const Tensor& counts, const Tensor& image_sizes, const SelectOptions& options) {
  const int64_t images = proposals.size(0), rows = proposals.size(1);
  const std::vector<float> scores = all_scores(class_scores, options.activation);
  const auto* box = static_cast<const Box*>(proposals.const_data_ptr());
  const auto* count = counts.const_data_ptr<int64_t>();
  const auto* size = image_sizes.const_data_ptr<int64_t>();
  const Results results(proposals, images, options.max_detections);
  parallel(images, 1, [&](int64_t from, int64_t to) {
    for (int64_t i = from; i < to; ++i) {
      const int64_t first = i * rows;
      const Candidates image{first, std::clamp<int64_t>(count[i], 0, rows), size[2 * i], size[2 * i + 1],
                             scores.data() + first * options.classes, box + first};
      results.write(i, select(image, box_deltas, options));
    }
  });
  return results;
}

std::tuple<Tensor, Tensor, Tensor, Tensor, Tensor> select_detections_cpu(
    const Tensor& class_scores, const Tensor& box_deltas, const Tensor& proposals, const Tensor& counts,
    const Tensor& image_sizes, double score_threshold, double nms_threshold, int64_t max_detections,
    std::vector<double> box_weights, std::string activation, bool background_first, double min_size, bool legacy,
    bool inclusive) {
  check_select_detections(class_scores, box_deltas, proposals, counts, image_sizes);
  const SelectOptions options =
      select_options(class_scores.size(1), score_threshold, nms_threshold, max_detections, box_weights, activation,
                     background_first, min_size, legacy, inclusive);
  const Results results =
      select_images(class_scores, box_deltas, torch::stable::contiguous(proposals),
                    torch::stable::contiguous(counts), torch::stable::contiguous(image_sizes), options);
  return {results.boxes, results.scores, results.labels, results.rows, results.counts};
}
}  // namespace

STABLE_TORCH_LIBRARY_IMPL(maskrcnn, CPU, ops) {
  ops.impl("select_detections", TORCH_BOX(&select_detections_cpu));
}

}  // namespace maskrcnn
