// The best scores of a stream, in one pass and a fixed amount of memory: what propose and select_detections share.
#pragma once
#include <algorithm>
#include <functional>
#include <vector>

#include "../ranked_score.h"

namespace maskrcnn {

class BestScores {
 public:
  // The `most` best of what is offered, of those below `bound`.
  explicit BestScores(int64_t most, RankedScore bound = std::numeric_limits<RankedScore>::max())
      : most_(most), bound_(bound) {}

  void offer(float score, uint32_t number) {
    const RankedScore entry = ranked(score, number);
    if (entry <= bar_ || entry >= bound_ || most_ == 0) return;
    entries_.push_back(entry);
    if (static_cast<int64_t>(entries_.size()) == 2 * most_) cut();
  }

  // Best first.
  std::vector<RankedScore> take() {
    if (static_cast<int64_t>(entries_.size()) > most_) cut();
    std::sort(entries_.begin(), entries_.end(), std::greater<>());
    return std::move(entries_);
  }

 private:
  // Every `most` entries that pass the bar cost one selection, so a pass stays linear whatever the order.
  void cut() {
    std::nth_element(entries_.begin(), entries_.begin() + (most_ - 1), entries_.end(), std::greater<>());
    entries_.resize(most_);
    bar_ = entries_.back();
  }

  int64_t most_;
  RankedScore bound_, bar_ = 0;
  std::vector<RankedScore> entries_;
};
}  // namespace maskrcnn
