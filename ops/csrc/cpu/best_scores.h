// The best scores of a stream, in one pass and a fixed amount of memory: what propose and select_detections share.
#pragma once
#include <algorithm>
#include <bit>
#include <cmath>
#include <cstdint>
#include <functional>
#include <limits>
#include <vector>

namespace maskrcnn {

// A score and its number in one word: the larger word is the better score, or of equal scores the lower number.
// So every order below is total, and no sort needs to be stable.
using RankedScore = uint64_t;

inline RankedScore ranked(float score, uint32_t number) {
  const float value = std::isnan(score) ? -std::numeric_limits<float>::infinity() : score + 0.0f;  // -0 is 0
  const uint32_t bits = std::bit_cast<uint32_t>(value);
  const uint32_t ordered = bits & 0x80000000u ? ~bits : bits | 0x80000000u;
  return RankedScore{ordered} << 32 | ~number;
}

inline float score_of(RankedScore entry) {
  const uint32_t ordered = static_cast<uint32_t>(entry >> 32);
  return std::bit_cast<float>(ordered & 0x80000000u ? ordered & 0x7fffffffu : ~ordered);
}

inline uint32_t number_of(RankedScore entry) { return ~static_cast<uint32_t>(entry); }

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
