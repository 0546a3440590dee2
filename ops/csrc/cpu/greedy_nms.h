// Greedy suppression over boxes that come best first: what nms and propose share.
#pragma once
#include <algorithm>
#include <vector>

#include <torch/csrc/stable/ops.h>

#include "../box.h"
#include "multiversion.h"

namespace maskrcnn {

// The boxes kept so far, one array a coordinate, so that one box meets a vector of them at a time.
class KeptBoxes {
 public:
  explicit KeptBoxes(const Overlap& overlap) : overlap_(overlap) {}

  int64_t size() const { return size_; }

  void add(const Box& box) {
    if (size_ % kLanes == 0) chunks_.emplace_back();
    Chunk& chunk = chunks_.back();
    const int64_t lane = size_++ % kLanes;
    chunk.x1[lane] = box.x1, chunk.y1[lane] = box.y1, chunk.x2[lane] = box.x2, chunk.y2[lane] = box.y2;
    chunk.area[lane] = area(box, overlap_.extra);
  }

  // Whether one of the boxes kept as number `first` or later suppresses the box (a few before it may be asked too).
  bool suppress(const Box& box, int64_t first = 0) const {
    bool hit = false;
    multiversion([&] {
      const float box_area = area(box, overlap_.extra);
      for (size_t i = first / kLanes; i < chunks_.size() && !hit; ++i) hit = chunks_[i].suppress(box, box_area, overlap_);
    });
    return hit;
  }

 private:
  static constexpr int64_t kLanes = 64;

  struct Chunk {
    float x1[kLanes] = {}, y1[kLanes] = {}, x2[kLanes] = {}, y2[kLanes] = {}, area[kLanes];

    // A NaN suppresses nothing, so lanes not yet used need no mask.
    Chunk() { std::fill_n(area, kLanes, std::numeric_limits<float>::quiet_NaN()); }

    bool suppress(const Box& box, float box_area, const Overlap& overlap) const {
      float shared[kLanes];
      int touching = overlap.limit <= 0;  // then boxes apart suppress as well
      for (int64_t i = 0; i < kLanes; ++i) {
        shared[i] = intersection({x1[i], y1[i], x2[i], y2[i]}, box, overlap.extra);
        touching |= shared[i] > 0;
      }
      if (!touching) return false;  // the usual case, and the division is the dear part
      int hit = 0;
      for (int64_t i = 0; i < kLanes; ++i) hit |= shared[i] / (area[i] + box_area - shared[i]) >= overlap.limit;
      return hit;
    }
  };

  Overlap overlap_;
  int64_t size_ = 0;
  std::vector<Chunk> chunks_;
};

// Positions of the kept boxes, in order; stops at `most` of them.
// Block by block: all boxes of a block against those kept before it, in parallel; then one after the other
// against those kept within the block.
inline std::vector<int64_t> greedy_nms(const std::vector<Box>& boxes, const Overlap& overlap, int64_t most) {
  // A fork of the threads is dear on a busy machine: few blocks, and none of them for little work.
  constexpr int64_t kBlock = 1024, kPairsPerThread = 1 << 18;
  const int64_t count = static_cast<int64_t>(boxes.size());
  std::vector<int64_t> kept;
  KeptBoxes earlier(overlap);
  bool suppressed[kBlock];
  for (int64_t start = 0; start < count; start += kBlock) {
    const int64_t end = std::min(count, start + kBlock), before = earlier.size();
    torch::stable::parallel_for(start, end, kPairsPerThread / (before + 1) + 1, [&](int64_t from, int64_t to) {
      for (int64_t i = from; i < to; ++i) suppressed[i - start] = earlier.suppress(boxes[i]);
    });
    for (int64_t i = start; i < end; ++i) {
      if (earlier.size() >= most) return kept;
      if (suppressed[i - start] || earlier.suppress(boxes[i], before)) continue;
      earlier.add(boxes[i]);
      kept.push_back(i);
    }
  }
  return kept;
}
}  // namespace maskrcnn
