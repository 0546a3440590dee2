// The first step of select_detections on the GPU: which classes of which proposals score above the threshold.
#pragma once
#include "../ranked_score.h"
#include "../select_detections.h"
#include "features.h"

namespace maskrcnn {

// Of each image, in no order: proposal p and class c are number p * classes + c.
struct Candidates {
  RankedScore* entries;  // (images, rows * classes)
  uint32_t* counts;      // (images)
};

// The class scores of one row of logits, in float32; a warp finds them together.
template <class Feature>
class ClassScores {
 public:
  // Subtracts the largest first, as PyTorch does: no overflow, and a row with a NaN or +inf is NaN.
  __device__ ClassScores(const FeatureMatrix<Feature>& logits, int64_t row, Activation activation)
      : logits_(logits), row_(row), activation_(activation) {
    if (activation != Activation::kSoftmax) return;
    const int lane = threadIdx.x % kWarp;
    for (int64_t i = lane; i < logits.columns; i += kWarp) best_ = larger(best_, logits.at(row, i));
    for (int bit = kWarp / 2; bit > 0; bit /= 2) best_ = larger(best_, __shfl_xor_sync(kWholeWarp, best_, bit));
    for (int64_t i = lane; i < logits.columns; i += kWarp) sum_ += std::exp(logits.at(row, i) - best_);
    for (int bit = kWarp / 2; bit > 0; bit /= 2) sum_ += __shfl_xor_sync(kWholeWarp, sum_, bit);
  }

  __device__ float at(int64_t label) const {
    const float logit = logits_.at(row_, label);
    if (activation_ == Activation::kSoftmax) return std::exp(logit - best_) / sum_;
    return activation_ == Activation::kSigmoid ? sigmoid(logit) : logit;
  }

 private:
  const FeatureMatrix<Feature>& logits_;
  int64_t row_;
  Activation activation_;
  float best_ = -INFINITY, sum_ = 0;
};

// Adds what the lanes bring to an image's list. The order is left to chance: who reads the list sorts it.
__device__ inline void append(RankedScore entry, bool wanted, RankedScore* entries, uint32_t* count) {
  const unsigned votes = __ballot_sync(kWholeWarp, wanted);
  if (votes == 0) return;
  const int lane = threadIdx.x % kWarp;
  uint32_t first = 0;
  if (lane == 0) first = atomicAdd(count, static_cast<uint32_t>(__popc(votes)));
  first = __shfl_sync(kWholeWarp, first, 0);
  if (wanted) entries[first + __popc(votes & ((1u << lane) - 1))] = entry;
}

// A warp a proposal.
template <class Feature>
__global__ void list_candidates_kernel(FeatureMatrix<Feature> logits, const int64_t* counts, int64_t images,
                                       int64_t rows, SelectOptions options, Candidates candidates) {
  for (int64_t line = grid_thread() / kWarp; line < images * rows; line += grid_threads() / kWarp) {
    const int64_t image = line / rows, row = line - image * rows;
    if (row >= counts[image]) continue;
    const ClassScores<Feature> scores(logits, line, options.activation);
    RankedScore* entries = candidates.entries + image * rows * options.classes;
    for (int64_t first = 0; first < options.classes; first += kWarp) {
      const int64_t label = first + threadIdx.x % kWarp;
      const float score = label < options.classes ? scores.at(label) : -INFINITY;
      const bool wanted = score > options.score_threshold && label != options.background;
      append(ranked(score, static_cast<uint32_t>(row * options.classes + label)), wanted, entries,
             candidates.counts + image);
    }
  }
}

}  // namespace maskrcnn
