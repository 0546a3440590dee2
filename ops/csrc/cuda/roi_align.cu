#include "../roi_align.h"

#include <torch/csrc/stable/library.h>

#include "pool_rois.h"

namespace maskrcnn {
namespace {

// A roi of an image that is not there has no map.
__global__ void list_rois(const float* rois, RoiJob* jobs, int64_t count, int64_t images) {
  for (int64_t i = grid_thread(); i < count; i += grid_threads()) {
    const float* roi = rois + 5 * i;
    const bool known = roi[0] >= 0 && roi[0] < static_cast<float>(images);
    jobs[i] = {i, known ? static_cast<int64_t>(roi[0]) : 0, known ? 0 : -1, roi[1], roi[2], roi[3], roi[4]};
  }
}

Tensor roi_align_cuda(const Tensor& features, const Tensor& rois, double spatial_scale, int64_t pooled_height,
                      int64_t pooled_width, int64_t sampling_ratio, bool aligned) {
  check_roi_align(features, rois, spatial_scale, pooled_height, pooled_width, sampling_ratio);
  const Launcher launch("roi_align", features);
  const Tensor rows = torch::stable::contiguous(rois);
  const int64_t count = rows.size(0);
  Tensor jobs = empty_jobs(rows, count);
  constexpr int kThreads = 128;
  launch(list_rois, blocks_for(count, kThreads), kThreads, 0, rows.const_data_ptr<float>(),
         static_cast<RoiJob*>(jobs.mutable_data_ptr()), count, features.size(0));
  return pool_rois(launch, {feature_map(features, spatial_scale)}, jobs,
                   {pooled_height, pooled_width, sampling_ratio, aligned});
}

}  // namespace

STABLE_TORCH_LIBRARY_IMPL(maskrcnn, CUDA, ops) { ops.impl("roi_align", TORCH_BOX(&roi_align_cuda)); }

}  // namespace maskrcnn
