#include "../pyramid_roi_align.h"

#include <torch/csrc/stable/library.h>
#include <torch/csrc/stable/ops.h>

#include "pool_rois.h"

namespace maskrcnn {
namespace {

// One job a box; those past the counts get no map.
class JobList {
 public:
  JobList(const float* boxes, int64_t rows, const LevelRule& rule) : boxes_(boxes), rule_(rule) {
    jobs_.reserve(rows);
  }

  void add(int64_t image, int64_t count) {
    for (int64_t i = 0; i < count; ++i) push(image, level_of(next_box(), rule_));
  }
  void skip(int64_t count) {
    for (int64_t i = 0; i < count; ++i) push(0, -1);
  }
  int64_t size() const { return static_cast<int64_t>(jobs_.size()); }
  std::vector<RoiJob> take() { return std::move(jobs_); }

 private:
  const float* next_box() const { return boxes_ + 4 * size(); }
  void push(int64_t image, int64_t map) {
    const float* box = next_box();
    jobs_.push_back({size(), image, map, box[0], box[1], box[2], box[3]});
  }

  const float* boxes_;
  const LevelRule& rule_;
  std::vector<RoiJob> jobs_;
};

std::vector<RoiJob> list_jobs(const Tensor& boxes, const Tensor& counts, const LevelRule& rule) {
  const bool padded = boxes.dim() == 3;
  const int64_t rows = padded ? boxes.size(0) * boxes.size(1) : boxes.size(0);
  const int64_t* count = counts.const_data_ptr<int64_t>();
  JobList jobs(boxes.const_data_ptr<float>(), rows, rule);
  for (int64_t image = 0; image < counts.size(0); ++image) {
    const int64_t room = padded ? boxes.size(1) : rows - jobs.size();
    MASKRCNN_CHECK(count[image] >= 0 && count[image] <= room, "pyramid_roi_align: counts must be between 0 and ", room,
                   " for image ", image, ", got ", count[image]);
    jobs.add(image, count[image]);
    if (padded) jobs.skip(room - count[image]);
  }
  jobs.skip(rows - jobs.size());
  return jobs.take();
}

Tensor pyramid_roi_align_cpu(const Tensor& boxes, const Tensor& counts, const Tensor& level0,
                             std::optional<Tensor> level1, std::optional<Tensor> level2, std::optional<Tensor> level3,
                             std::optional<Tensor> level4, std::optional<Tensor> level5,
                             std::vector<double> spatial_scales, int64_t pooled_height, int64_t pooled_width,
                             int64_t sampling_ratio, bool aligned, int64_t canonical_level, double canonical_size,
                             double ratio_epsilon, double level_epsilon, bool legacy) {
  const std::vector<Tensor> levels = present_levels(level0, {level1, level2, level3, level4, level5});
  check_pyramid_roi_align(boxes, counts, levels, spatial_scales, pooled_height, pooled_width, sampling_ratio,
                          canonical_size);
  const LevelRule rule =
      level_rule(spatial_scales, canonical_level, canonical_size, ratio_epsilon, level_epsilon, legacy);
  std::vector<FeatureMap> maps;
  for (size_t i = 0; i < levels.size(); ++i) maps.push_back(feature_map(levels[i], spatial_scales[i]));
  return pool_rois(maps, list_jobs(torch::stable::contiguous(boxes), torch::stable::contiguous(counts), rule),
                   {pooled_height, pooled_width, sampling_ratio, aligned});
}

}  // namespace

STABLE_TORCH_LIBRARY_IMPL(maskrcnn, CPU, ops) { ops.impl("pyramid_roi_align", TORCH_BOX(&pyramid_roi_align_cpu)); }

}  // namespace maskrcnn
