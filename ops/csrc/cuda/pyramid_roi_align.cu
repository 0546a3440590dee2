#include "../pyramid_roi_align.h"

#include <torch/csrc/stable/library.h>

#include "pool_rois.h"

namespace maskrcnn {
namespace {

struct BoxRows {
  int64_t count, images;
  int64_t per_image;  // -1: packed in image order
};

__device__ int64_t clamped_count(int64_t count, int64_t room) { return count < 0 ? 0 : count < room ? count : room; }

// The image whose counted boxes hold this row, or -1.
__device__ int64_t image_of(int64_t row, const int64_t* counts, const BoxRows& rows) {
  if (rows.per_image >= 0) {
    const int64_t image = row / rows.per_image;
    return row - image * rows.per_image < clamped_count(counts[image], rows.per_image) ? image : -1;
  }
  int64_t end = 0;
  for (int64_t image = 0; image < rows.images; ++image) {
    end += clamped_count(counts[image], rows.count - end);
    if (row < end) return image;
  }
  return -1;
}

__global__ void list_boxes(const float* boxes, const int64_t* counts, RoiJob* jobs, BoxRows rows, LevelRule rule) {
  for (int64_t i = grid_thread(); i < rows.count; i += grid_threads()) {
    const float* box = boxes + 4 * i;
    const int64_t image = image_of(i, counts, rows);
    jobs[i] = {i, image < 0 ? 0 : image, image < 0 ? -1 : level_of(box, rule), box[0], box[1], box[2], box[3]};
  }
}

Tensor list_jobs(const Launcher& launch, const Tensor& boxes, const Tensor& counts, const LevelRule& rule) {
  const bool padded = boxes.dim() == 3;
  const BoxRows rows{padded ? boxes.size(0) * boxes.size(1) : boxes.size(0), counts.size(0),
                     padded ? boxes.size(1) : -1};
  Tensor jobs = empty_jobs(boxes, rows.count);
  constexpr int kThreads = 128;
  launch(list_boxes, blocks_for(rows.count, kThreads), kThreads, 0, boxes.const_data_ptr<float>(),
         counts.const_data_ptr<int64_t>(), static_cast<RoiJob*>(jobs.mutable_data_ptr()), rows, rule);
  return jobs;
}

Tensor pyramid_roi_align_cuda(const Tensor& boxes, const Tensor& counts, const Tensor& level0,
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
  const Launcher launch("pyramid_roi_align", level0);
  std::vector<FeatureMap> maps;
  for (size_t i = 0; i < levels.size(); ++i) maps.push_back(feature_map(levels[i], spatial_scales[i]));
  const Tensor corners = torch::stable::contiguous(boxes), numbers = torch::stable::contiguous(counts);
  return pool_rois(launch, maps, list_jobs(launch, corners, numbers, rule),
                   {pooled_height, pooled_width, sampling_ratio, aligned});
}

}  // namespace

STABLE_TORCH_LIBRARY_IMPL(maskrcnn, CUDA, ops) { ops.impl("pyramid_roi_align", TORCH_BOX(&pyramid_roi_align_cuda)); }

}  // namespace maskrcnn
