// The kernel that roi_align and pyramid_roi_align share on the GPU.
#pragma once
#include <vector>

#include "../roi_jobs.h"
#include "launch.h"

namespace maskrcnn {

constexpr int64_t kMostMaps = 6;

// Room on the device for as many jobs, as bytes.
inline Tensor empty_jobs(const Tensor& like, int64_t count) {
  return torch::stable::new_empty(like, {count, static_cast<int64_t>(sizeof(RoiJob))}, ScalarType::Byte);
}

// jobs: from empty_jobs(), job i of row i, written on launch's stream.
// -> (jobs, C, bins.height, bins.width) in channels-last memory.
Tensor pool_rois(const Launcher& launch, const std::vector<FeatureMap>& maps, const Tensor& jobs, const RoiBins& bins);

}  // namespace maskrcnn
