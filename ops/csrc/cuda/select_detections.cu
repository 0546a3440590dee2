#include "../select_detections.h"

#include <torch/csrc/stable/library.h>
#include <torch/csrc/stable/ops.h>

#include "best_scores.h"
#include "class_candidates.h"

// Two kernels. The first lists the few classes of proposals that score above the threshold. In the second a block
// takes an image: it sorts the best of its list, decodes their boxes at once, and goes through them 32 at a time,
// until enough are kept. Only where those were not enough does it come back for the next best.
namespace maskrcnn {
namespace {

constexpr uint32_t kHelping = 1024;  // most candidates that are sorted at a time; half of it is enough
constexpr int kSelectThreads = 1024;

struct alignas(16) AlignedBox {
  Box box;
};

struct SelectMemory {
  BestScores<kHelping> best;
  AlignedBox boxes[kHelping];  // of best.entries
  uint32_t labels[kHelping];
  uint32_t suppressors[kWarp];  // of each candidate of a tile, see find_suppressors
};

// (images, most)
struct Detections {
  int64_t most;
  Box* boxes;
  float* scores;
  int64_t *labels, *rows, *counts;
};

struct Selection {
  int64_t rows;  // of proposals an image
  const Box* proposals;
  const int64_t* sizes;
  Candidates candidates;
  SelectOptions options;
  Detections results;
};

// One image's part of it all. Its block calls the methods with all threads.
template <class Feature>
class ImageSelection {
 public:
  __device__ ImageSelection(const FeatureMatrix<Feature>& deltas, const Selection& all, int64_t image)
      : memory_(*block_memory<SelectMemory>()), deltas_(deltas), options_(all.options), first_row_(image * all.rows),
        height_(all.sizes[2 * image]), width_(all.sizes[2 * image + 1]), proposals_(all.proposals + first_row_),
        entries_(all.candidates.entries + first_row_ * options_.classes), count_(all.candidates.counts[image]),
        most_(all.results.most), boxes_(all.results.boxes + image * most_), scores_(all.results.scores + image * most_),
        labels_(all.results.labels + image * most_), rows_(all.results.rows + image * most_) {}

  // Returns how many detections there are.
  __device__ int64_t run() {
    take_best_to_worst();
    for (int64_t i = kept_ + threadIdx.x; i < most_; i += blockDim.x) write(i, {0, 0, 0, 0}, 0, 0, 0);
    return kept_;
  }

 private:
  __device__ void take_best_to_worst() {
    constexpr uint32_t kEnough = kHelping / 2;
    const auto key = [&](int64_t i) { return entries_[i]; };
    RankedScore below = kBestOfAll;
    while (kept_ < most_) {
      const uint32_t found = best_scores(memory_.best, key, count_, below, kEnough);
      decode_boxes(found);
      for (uint32_t tile = 0; tile < found && kept_ < most_; tile += kWarp) keep_of_tile(tile, found);
      if (found < kEnough) return;
      below = memory_.best.entries[found - 1];
    }
  }

  __device__ void decode_boxes(uint32_t found) {
    for (uint32_t i = threadIdx.x; i < found; i += blockDim.x) {
      const uint32_t number = number_of(memory_.best.entries[i]);
      const int64_t row = number / options_.classes, label = number - row * options_.classes;
      const int64_t column = delta_column(label, deltas_.columns, options_);
      float delta[4];
      for (int64_t k = 0; k < 4; ++k) delta[k] = deltas_.at(first_row_ + row, column + k);
      const Box box = decode(proposals_[row], delta, options_.weights, options_.overlap.extra);
      memory_.boxes[i].box = clip(box, height_, width_, options_.overlap.extra);
      memory_.labels[i] = static_cast<uint32_t>(label);
    }
    __syncthreads();
  }

  __device__ bool has_sides(uint32_t candidate) const {
    return maskrcnn::has_sides(memory_.boxes[candidate].box, options_.min_size, options_.overlap.extra);
  }

  // Whether one of the kept boxes suppresses the candidate; the lanes share the kept ones.
  __device__ bool loses_to_kept(uint32_t candidate) const {
    const Box box = memory_.boxes[candidate].box;
    bool loses = false;
    for (int64_t i = threadIdx.x % kWarp; i < kept_ && !loses; i += kWarp)
      loses = labels_[i] == memory_.labels[candidate] && suppresses(boxes_[i], box, options_.overlap);
    return __any_sync(kWholeWarp, loses);
  }

  // Bit i: the tile's candidate i comes before this one and suppresses it if it is kept. Its own bit: it is out.
  __device__ uint32_t find_suppressors(uint32_t tile, uint32_t candidate, uint32_t found) const {
    const uint32_t own = 1u << (candidate - tile), other = tile + threadIdx.x % kWarp;
    if (candidate >= found || !has_sides(candidate) || loses_to_kept(candidate)) return own;
    return __ballot_sync(kWholeWarp, other < candidate && memory_.labels[other] == memory_.labels[candidate] &&
                                         suppresses(memory_.boxes[other].box, memory_.boxes[candidate].box,
                                                    options_.overlap));
  }

  // The tile's candidates that are kept, as bits. Every warp finds the same. Each turn settles at least the best one
  // that is left, and mostly all.
  __device__ uint32_t settle_tile() const {
    const int lane = threadIdx.x % kWarp;
    const uint32_t own = 1u << lane, suppressors = memory_.suppressors[lane];
    uint32_t open = __ballot_sync(kWholeWarp, (suppressors & own) == 0), kept = 0;
    while (open != 0) {
      const bool is_open = (open & own) != 0, out = (suppressors & kept) != 0;
      const uint32_t wins = __ballot_sync(kWholeWarp, is_open && !out && (suppressors & open) == 0);
      open &= ~(wins | __ballot_sync(kWholeWarp, is_open && out));
      kept |= wins;
    }
    return kept;
  }

  __device__ void keep_of_tile(uint32_t tile, uint32_t found) {
    const int warp = threadIdx.x / kWarp, lane = threadIdx.x % kWarp;
    for (uint32_t i = warp; i < kWarp; i += blockDim.x / kWarp) {
      const uint32_t suppressors = find_suppressors(tile, tile + i, found);
      if (lane == 0) memory_.suppressors[i] = suppressors;
    }
    __syncthreads();
    const uint32_t kept = settle_tile();
    const int64_t place = kept_ + __popc(kept & ((1u << lane) - 1));
    if (warp == 0 && (kept >> lane & 1) && place < most_) write_candidate(place, tile + lane);
    kept_ = std::min(most_, kept_ + __popc(kept));
    __syncthreads();  // the next tile meets what is kept here, and replaces memory_.suppressors
  }

  __device__ void write_candidate(int64_t place, uint32_t candidate) {
    const RankedScore entry = memory_.best.entries[candidate];
    write(place, memory_.boxes[candidate].box, score_of(entry), memory_.labels[candidate],
          number_of(entry) / options_.classes);
  }

  __device__ void write(int64_t place, const Box& box, float score, int64_t label, int64_t row) {
    boxes_[place] = box;
    scores_[place] = score;
    labels_[place] = label;
    rows_[place] = row;
  }

  SelectMemory& memory_;
  const FeatureMatrix<Feature>& deltas_;
  const SelectOptions& options_;
  const int64_t first_row_, height_, width_;
  const Box* const proposals_;
  const RankedScore* const entries_;
  const int64_t count_, most_;
  Box* const boxes_;
  float* const scores_;
  int64_t *const labels_, *const rows_;
  int64_t kept_ = 0;
};

template <class Feature>
__global__ void __launch_bounds__(kSelectThreads, 1) select_kernel(FeatureMatrix<Feature> deltas, Selection all) {
  const int64_t count = ImageSelection<Feature>(deltas, all, blockIdx.x).run();
  if (threadIdx.x == 0) all.results.counts[blockIdx.x] = count;
}

template <class Item>
Item* items_of(const Tensor& tensor) {
  return static_cast<Item*>(tensor.mutable_data_ptr());
}

// (images, rows * classes) entries, and the number of them that each image has.
struct CandidateTensors {
  Tensor entries, counts;

  CandidateTensors(const Launcher& launch, const Tensor& like, int64_t images, int64_t per_image)
      : entries(torch::stable::new_empty(like, {images, per_image}, ScalarType::Long)),
        counts(torch::stable::new_empty(like, {images}, ScalarType::Int)) {
    launch.check(cudaMemsetAsync(counts.mutable_data_ptr(), 0, images * sizeof(uint32_t), launch.stream()));
  }

  Candidates list() const { return {items_of<RankedScore>(entries), items_of<uint32_t>(counts)}; }
};

struct Results {
  Tensor boxes, scores, labels, rows, counts;

  Results(const Tensor& like, int64_t images, int64_t most)
      : boxes(torch::stable::new_empty(like, {images, most, 4})),
        scores(torch::stable::new_empty(like, {images, most})),
        labels(torch::stable::new_empty(like, {images, most}, ScalarType::Long)),
        rows(torch::stable::new_empty(like, {images, most}, ScalarType::Long)),
        counts(torch::stable::new_empty(like, {images}, ScalarType::Long)) {}

  Detections detections() const {
    return {scores.size(1),           items_of<Box>(boxes),    items_of<float>(scores),
            items_of<int64_t>(labels), items_of<int64_t>(rows), items_of<int64_t>(counts)};
  }
};

Results select_images(const Tensor& class_scores, const Tensor& box_deltas, const Tensor& proposals,
                      const Tensor& counts, const Tensor& image_sizes, const SelectOptions& options) {
  const int64_t images = proposals.size(0), rows = proposals.size(1);
  const Launcher launch("select_detections", class_scores);
  const Results results(proposals, images, options.max_detections);
  if (images == 0) return results;
  const CandidateTensors candidates(launch, proposals, images, rows * options.classes);
  const Selection all{rows,
                      static_cast<const Box*>(proposals.const_data_ptr()),
                      image_sizes.const_data_ptr<int64_t>(),
                      candidates.list(),
                      options,
                      results.detections()};
  visit_feature_type(class_scores, [&](auto* type) {
    using Feature = std::remove_pointer_t<decltype(type)>;
    constexpr int kThreads = 256;
    launch(list_candidates_kernel<Feature>, blocks_for(images * rows, kThreads / kWarp), kThreads, 0,
           FeatureMatrix<Feature>(class_scores), counts.const_data_ptr<int64_t>(), images, rows, options,
           all.candidates);
    launch(select_kernel<Feature>, static_cast<unsigned>(images), kSelectThreads, sizeof(SelectMemory),
           FeatureMatrix<Feature>(box_deltas), all);
  });
  return results;
}

std::tuple<Tensor, Tensor, Tensor, Tensor, Tensor> select_detections_cuda(
    const Tensor& class_scores, const Tensor& box_deltas, const Tensor& proposals, const Tensor& counts,
    const Tensor& image_sizes, double score_threshold, double nms_threshold, int64_t max_detections,
    std::vector<double> box_weights, std::string activation, bool background_first, double min_size, bool legacy,
    bool inclusive) {
  check_select_detections(class_scores, box_deltas, proposals, counts, image_sizes);
  const SelectOptions options =
      select_options(class_scores.size(1), score_threshold, nms_threshold, max_detections, box_weights, activation,
                     background_first, min_size, legacy, inclusive);
  const Results results =
      select_images(class_scores, box_deltas, torch::stable::contiguous(proposals), torch::stable::contiguous(counts),
                    torch::stable::contiguous(image_sizes), options);
  return {results.boxes, results.scores, results.labels, results.rows, results.counts};
}

}  // namespace

STABLE_TORCH_LIBRARY_IMPL(maskrcnn, CUDA, ops) {
  ops.impl("select_detections", TORCH_BOX(&select_detections_cuda));
}

}  // namespace maskrcnn
