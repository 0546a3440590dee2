// The loop that roi_align and pyramid_roi_align share on the CPU.
#pragma once
#include <vector>

#include "../roi_jobs.h"

namespace maskrcnn {

// (jobs, C, bins.height, bins.width) in channels-last memory.
Tensor pool_rois(const std::vector<FeatureMap>& maps, std::vector<RoiJob> jobs, const RoiBins& bins);

}  // namespace maskrcnn
