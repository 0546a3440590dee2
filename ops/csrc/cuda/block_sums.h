// Running sums over the lanes of a warp and the threads of a block.
#pragma once
#include "launch.h"

namespace maskrcnn {

// The sum of the values of a warp's lanes up to this one.
template <class Number>
__device__ Number running_sum(Number value) {
  const int lane = threadIdx.x % kWarp;
  for (int distance = 1; distance < kWarp; distance *= 2) {
    const Number earlier = __shfl_up_sync(kWholeWarp, value, distance);
    if (lane >= distance) value += earlier;
  }
  return value;
}

template <class Number>
struct Sums {
  Number before, all;  // of the threads before this one, of all
};

// Called by every thread of a one-dimensional block of whole warps; `of_warps`, one a warp, lies in block memory and
// is read by nobody else. Barriers before and after it is written, none at the end.
template <class Number>
__device__ Sums<Number> block_sums(Number value, Number* of_warps) {
  const int lane = threadIdx.x % kWarp, warp = threadIdx.x / kWarp, warps = blockDim.x / kWarp;
  const Number sum = running_sum(value);
  __syncthreads();  // whoever reads the sums of the call before is done
  if (lane == kWarp - 1) of_warps[warp] = sum;
  __syncthreads();
  Sums<Number> sums{sum - value, 0};
  for (int other = 0; other < warps; ++other) {
    const Number of_other = of_warps[other];
    if (other < warp) sums.before += of_other;
    sums.all += of_other;
  }
  return sums;
}

}  // namespace maskrcnn
