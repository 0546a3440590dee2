#include "../roi_align.h"

#include <torch/csrc/stable/library.h>
#include <torch/csrc/stable/ops.h>

#include "pool_rois.h"

namespace maskrcnn {
namespace {

RoiJob job_of(const float* roi, int64_t row, int64_t images) {
  MASKRCNN_CHECK(roi[0] >= 0 && roi[0] < static_cast<float>(images), "roi_align: rois must be of images 0 to ",
                 images - 1, ", got ", roi[0], " in row ", row);
  return {row, static_cast<int64_t>(roi[0]), 0, roi[1], roi[2], roi[3], roi[4]};
}

Tensor roi_align_cpu(const Tensor& features, const Tensor& rois, double spatial_scale, int64_t pooled_height,
                     int64_t pooled_width, int64_t sampling_ratio, bool aligned) {
  check_roi_align(features, rois, spatial_scale, pooled_height, pooled_width, sampling_ratio);
  const Tensor rows = torch::stable::contiguous(rois);
  const float* roi = rows.const_data_ptr<float>();
  std::vector<RoiJob> jobs;
  jobs.reserve(rows.size(0));
  for (int64_t row = 0; row < rows.size(0); ++row) jobs.push_back(job_of(roi + 5 * row, row, features.size(0)));
  return pool_rois({feature_map(features, spatial_scale)}, std::move(jobs),
                   {pooled_height, pooled_width, sampling_ratio, aligned});
}

}  // namespace

STABLE_TORCH_LIBRARY_IMPL(maskrcnn, CPU, ops) { ops.impl("roi_align", TORCH_BOX(&roi_align_cpu)); }

}  // namespace maskrcnn
