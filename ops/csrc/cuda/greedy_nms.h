// Greedy suppression of many segments (the levels of all images, or all boxes at once) in a number of launches that
// the shapes alone give: nothing is read back.
//
// A segment goes strip by strip, of 2048 boxes. (1) All pairs of a strip are compared, which gives a bit matrix.
// (2) One block goes down the matrix, 64 rows at a time: what is kept of those, and what they suppress in the rest of
// the strip. (3) All later boxes meet the kept ones of the strip. So memory does not grow with the square of a
// segment, and up to 2048 boxes take two launches.
#pragma once
#include <torch/csrc/stable/ops.h>

#include "nms_strip.h"

namespace maskrcnn {

// What is kept of each segment, on the device.
struct KeptPositions {
  Tensor positions_tensor, ranges_tensor;  // they own the memory
  int64_t stride;                          // positions a segment has room for
  const int64_t* positions;                // (segments, stride), rising
  const KeptRange* ranges;                 // (segments); `through` is how many
};

template <class Item>
Item* device_array(const Tensor& tensor) {
  return static_cast<Item*>(tensor.mutable_data_ptr());
}

// The capacity must be above 0. `like` says on which device to allocate.
inline KeptPositions greedy_nms(const Launcher& launch, const Tensor& like, const NmsSegments& boxes) {
  const int64_t segments = boxes.segments, tiles = (boxes.capacity + kNmsTile - 1) / kNmsTile;
  Strip strip{0, static_cast<int>(std::min<int64_t>(tiles, kStripTiles))};
  const int64_t stride = std::min(boxes.most, boxes.capacity), words = tiles > strip.tiles ? 2 * tiles : 0;
  Tensor masks = torch::stable::new_empty(like, {segments * strip.tiles * strip.size()}, ScalarType::Long);
  Tensor removed = torch::stable::new_empty(like, {segments * words}, ScalarType::Int);
  Tensor positions = torch::stable::new_empty(like, {segments, stride}, ScalarType::Long);
  Tensor ranges = torch::stable::new_empty(like, {segments, 2}, ScalarType::Long);
  const NmsState state{device_array<uint64_t>(masks), device_array<uint32_t>(removed), words,
                       device_array<int64_t>(positions), stride, device_array<KeptRange>(ranges)};
  for (; strip.first < boxes.capacity; strip.first += strip.size()) {
    launch(compare_strip_kernel, segments * strip.tiles * strip.tiles, kNmsTile, sizeof(NmsBoxes<kNmsTile>), boxes,
           strip, state);
    launch(resolve_strip_kernel, segments, strip.tiles * kWarp, strip.tiles * sizeof(uint64_t), boxes, strip, state);
    const int64_t later = std::max<int64_t>(0, boxes.capacity - strip.first - strip.size());
    const int64_t later_blocks = (later + kLaterThreads - 1) / kLaterThreads;
    launch(suppress_later_kernel, segments * later_blocks, kLaterThreads, sizeof(NmsBoxes<kLaterThreads>), boxes,
           strip, state, later_blocks);
  }
  return {positions, ranges, stride, state.positions, state.ranges};
}
}  // namespace maskrcnn
