// Five launches for any number of images and levels: the best logits of each chunk of anchors; of those the best of
// each level, decoded and filtered; the two steps of greedy_nms.h; the best of all levels.
#include "../propose.h"

#include <torch/csrc/stable/library.h>
#include <torch/csrc/stable/ops.h>

#include "best_scores.h"
#include "greedy_nms.h"

namespace maskrcnn {
namespace {

// The 1 of __launch_bounds__ lets a thread have the registers for several loads at once.
constexpr int kThreads = 1024, kMostLevels = 6;
// A block reads a chunk's logits once, into 24 KB of shared memory, and chooses there.
constexpr int kChunk = 6144;

using ChosenScores = BestScores<2048>;

// A (B, C, H, W) tensor of any strides.
struct Map {
  const void* data;
  ScalarType dtype;
  int64_t by_image, by_channel, by_row, by_column;
};

struct Level {
  Map logits, deltas;
  uint32_t anchors, width, size;
  int64_t first_chunk, chunks;  // of each image's
  Strides strides;
  const Box* cells;
};

struct Pyramid {
  Level levels[kMostLevels];
  int64_t images, depth, chunks;
};

// Calls `visit` with the map's data as a pointer to its own type, at the place given.
template <class Visit>
__device__ void visit_map(const Map& map, int64_t offset, const Visit& visit) {
  if (map.dtype == ScalarType::Half) return visit(static_cast<const c10::Half*>(map.data) + offset);
  if (map.dtype == ScalarType::BFloat16) return visit(static_cast<const c10::BFloat16*>(map.data) + offset);
  visit(static_cast<const float*>(map.data) + offset);
}

// Where the logit of an anchor stands in its image.
__device__ inline int64_t logit_offset(const Level& level, uint32_t number) {
  const uint32_t cell = number / level.anchors, row = cell / level.width;
  return (number - cell * level.anchors) * level.logits.by_channel + row * level.logits.by_row +
         (cell - row * level.width) * level.logits.by_column;
}

struct ChunkMemory {
  uint32_t ranks[kChunk];  // the upper half of a RankedScore
  ChosenScores best;
};

// Several loads of a thread are under way at once.
__device__ inline void read_ranks(const Level& level, int64_t image, uint32_t first, int count, uint32_t* ranks) {
  constexpr int kAtOnce = 4;
  visit_map(level.logits, image * level.logits.by_image, [&](const auto* logits) {
    for (int i = threadIdx.x; i < count; i += kAtOnce * kThreads) {
      float values[kAtOnce];
      for (int k = 0; k < kAtOnce; ++k) {
        const int number = i + k * kThreads;
        values[k] = number < count ? static_cast<float>(logits[logit_offset(level, first + number)]) : 0;
      }
      for (int k = 0; k < kAtOnce; ++k)
        if (i + k * kThreads < count) ranks[i + k * kThreads] = static_cast<uint32_t>(ranked(values[k], 0) >> 32);
    }
  });
}

// The `most` best of each chunk into its row of `out`, 0 where it has fewer.
__global__ void __launch_bounds__(kThreads, 1) best_of_chunks_kernel(Pyramid pyramid, int64_t most, RankedScore* out) {
  auto& memory = *block_memory<ChunkMemory>();
  const int64_t image = blockIdx.x / pyramid.chunks, chunk = blockIdx.x % pyramid.chunks;
  int number = 0;
  while (chunk >= pyramid.levels[number].first_chunk + pyramid.levels[number].chunks) ++number;
  const Level& level = pyramid.levels[number];
  const int64_t first_anchor = (chunk - level.first_chunk) * kChunk;
  const auto first = static_cast<uint32_t>(first_anchor);
  const int count = static_cast<int>(std::min<int64_t>(kChunk, level.size - first_anchor));
  read_ranks(level, image, first, count, memory.ranks);
  out += blockIdx.x * most;
  const auto key = [&](int64_t i) {
    return RankedScore{memory.ranks[i]} << 32 | static_cast<uint32_t>(~(first + static_cast<uint32_t>(i)));
  };
  const int64_t found = take_best(memory.best, key, count, most, [&](int64_t from, int m) {
    for (int i = threadIdx.x; i < m; i += kThreads) out[from + i] = memory.best.entries[i];
  });
  for (int64_t i = found + threadIdx.x; i < most; i += kThreads) out[i] = 0;
}

// The box of an anchor, clipped to its image.
__device__ inline Box propose_box(const Level& level, int64_t image, uint32_t number, const int64_t* image_size,
                                  const ProposeOptions& options) {
  const uint32_t cell = number / level.anchors, row = cell / level.width;
  const uint32_t anchor = number - cell * level.anchors, column = cell - row * level.width;
  const Map& map = level.deltas;
  float delta[4];
  visit_map(map, image * map.by_image + row * map.by_row + column * map.by_column, [&](const auto* deltas) {
    for (int64_t i = 0; i < 4; ++i) delta[i] = static_cast<float>(deltas[(4 * int64_t{anchor} + i) * map.by_channel]);
  });
  const float extra = options.overlap.extra;
  const Box box = decode(anchor_at(level.cells[anchor], row, column, level.strides), delta, options.weights, extra);
  return clip(box, image_size[0], image_size[1], extra);
}

// Candidates of each level of each image, best first.
struct Candidates {
  int64_t capacity;  // of a level
  Box* boxes;
  float* scores;
  int64_t* counts;
};

struct LevelMemory {
  ChosenScores best;
  uint32_t warps[kWarp];
};

__global__ void __launch_bounds__(kThreads, 1)
    candidates_kernel(Pyramid pyramid, ProposeOptions options, const int64_t* image_sizes,
                      const RankedScore* best_of_chunks, int64_t chunk_row, Candidates out) {
  auto& memory = *block_memory<LevelMemory>();
  const int64_t image = blockIdx.x / pyramid.depth, first_place = blockIdx.x * out.capacity;
  const Level& level = pyramid.levels[blockIdx.x % pyramid.depth];
  const RankedScore* keys = best_of_chunks + (image * pyramid.chunks + level.first_chunk) * chunk_row;
  int64_t kept = 0;
  const auto take = [&](int64_t, int m) {
    for (int start = 0; start < m; start += kThreads) {  // all threads, for block_sums
      const int i = start + threadIdx.x;
      const RankedScore entry = i < m ? memory.best.entries[i] : 0;
      Box box{};
      float score = 0;
      if (i < m) {
        score = proposal_score(score_of(entry), options);
        box = propose_box(level, image, number_of(entry), image_sizes + 2 * image, options);
      }
      const bool keep = i < m && is_candidate(box, score, options);
      const Sums<uint32_t> rank = block_sums<uint32_t>(keep, memory.warps);
      if (keep) {
        out.boxes[first_place + kept + rank.before] = box;
        out.scores[first_place + kept + rank.before] = score;
      }
      kept += rank.all;
    }
  };
  take_best(memory.best, [&](int64_t i) { return keys[i]; }, level.chunks * chunk_row,
            std::min<int64_t>(options.pre_nms_top_n, level.size), take);
  if (threadIdx.x == 0) out.counts[blockIdx.x] = kept;
}

// What the levels of each image keep, by their places in the candidates.
struct KeptOfLevels {
  int64_t depth, stride;
  const int64_t* positions;
  const KeptRange* ranges;
};

struct Proposals {
  int64_t rows;  // of an image
  Box* boxes;
  float* scores;
  int64_t* counts;
};

// A block for each image. Not a merge of sorted lists: the sigmoid that makes the scores may be out of order by an ulp.
__global__ void __launch_bounds__(kThreads, 1) merge_kernel(Candidates from, KeptOfLevels kept, Proposals out) {
  auto& best = *block_memory<ChosenScores>();
  const int64_t first_level = blockIdx.x * kept.depth, first_row = blockIdx.x * out.rows;
  const KeptRange* ranges = kept.ranges + first_level;
  const int64_t* positions = kept.positions + first_level * kept.stride;
  const auto stride = static_cast<uint32_t>(kept.stride);
  const auto place = [&](uint32_t number) {
    return (first_level + number / stride) * from.capacity + positions[number];
  };
  const auto key = [&](int64_t i) {
    const auto number = static_cast<uint32_t>(i), level = number / stride;
    return number - level * stride < ranges[level].through ? ranked(from.scores[place(number)], number) : 0;
  };
  const int64_t count = take_best(best, key, kept.depth * kept.stride, out.rows, [&](int64_t row, int m) {
    for (int i = threadIdx.x; i < m; i += kThreads) {
      out.boxes[first_row + row + i] = from.boxes[place(number_of(best.entries[i]))];
      out.scores[first_row + row + i] = score_of(best.entries[i]);
    }
  });
  for (int64_t row = count + threadIdx.x; row < out.rows; row += kThreads) {
    out.boxes[first_row + row] = Box{0, 0, 0, 0};
    out.scores[first_row + row] = 0;
  }
  if (threadIdx.x == 0) out.counts[blockIdx.x] = count;
}

Map map_of(const Tensor& tensor) {
  return {tensor.const_data_ptr(), tensor.scalar_type(), tensor.stride(0),
          tensor.stride(1),        tensor.stride(2),     tensor.stride(3)};
}

Pyramid pyramid_of(const std::vector<ProposeLevel>& levels, const std::vector<Strides>& strides, int64_t images,
                   const Box* cells) {
  Pyramid pyramid{{}, images, static_cast<int64_t>(levels.size()), 0};
  for (size_t i = 0; i < levels.size(); ++i) {
    const ProposeLevel& level = levels[i];
    const int64_t chunks = (level.size() + kChunk - 1) / kChunk;
    pyramid.levels[i] = {map_of(level.objectness),
                         map_of(level.deltas),
                         static_cast<uint32_t>(level.anchors),
                         static_cast<uint32_t>(level.width),
                         static_cast<uint32_t>(level.size()),
                         pyramid.chunks,
                         chunks,
                         strides[i],
                         cells + i * level.anchors};
    pyramid.chunks += chunks;
  }
  return pyramid;
}

using Result = std::tuple<Tensor, Tensor, Tensor>;

Result propose_images(const Launcher& launch, const Pyramid& pyramid, const ProposeOptions& options, int64_t rows,
                      const Tensor& sizes) {
  const int64_t images = pyramid.images, lists = images * pyramid.depth;
  const int64_t chunk_row = std::min<int64_t>(options.pre_nms_top_n, kChunk);
  int64_t capacity = 0;
  for (const Level& level : pyramid.levels) capacity = std::max<int64_t>(capacity, level.size);
  capacity = std::min(capacity, options.pre_nms_top_n);
  const auto empty = [&](std::initializer_list<int64_t> shape, ScalarType dtype) {
    return torch::stable::new_empty(sizes, shape, dtype);
  };

  Tensor best = empty({images * pyramid.chunks, chunk_row}, ScalarType::Long);
  launch(best_of_chunks_kernel, images * pyramid.chunks, kThreads, sizeof(ChunkMemory), pyramid, chunk_row,
         device_array<RankedScore>(best));

  Tensor found = empty({lists, capacity, 4}, ScalarType::Float), ranks = empty({lists, capacity}, ScalarType::Float);
  Tensor found_counts = empty({lists}, ScalarType::Long);
  const Candidates candidates{capacity, device_array<Box>(found), device_array<float>(ranks),
                              device_array<int64_t>(found_counts)};
  launch(candidates_kernel, lists, kThreads, sizeof(LevelMemory), pyramid, options, sizes.const_data_ptr<int64_t>(),
         device_array<RankedScore>(best), chunk_row, candidates);

  const KeptPositions kept = greedy_nms(launch, sizes,
                                        {lists, capacity, options.post_nms_top_n, candidates.boxes, nullptr,
                                         candidates.counts, options.overlap});

  Tensor boxes = empty({images, rows, 4}, ScalarType::Float), scores = empty({images, rows}, ScalarType::Float);
  Tensor counts = empty({images}, ScalarType::Long);
  launch(merge_kernel, images, kThreads, sizeof(ChosenScores), candidates,
         KeptOfLevels{pyramid.depth, kept.stride, kept.positions, kept.ranges},
         Proposals{rows, device_array<Box>(boxes), device_array<float>(scores), device_array<int64_t>(counts)});
  return {boxes, scores, counts};
}

Result propose_cuda(const Tensor& image_sizes, const Tensor& cell_anchors, const Tensor& objectness0,
                    const Tensor& deltas0, std::optional<Tensor> objectness1, std::optional<Tensor> deltas1,
                    std::optional<Tensor> objectness2, std::optional<Tensor> deltas2,
                    std::optional<Tensor> objectness3, std::optional<Tensor> deltas3,
                    std::optional<Tensor> objectness4, std::optional<Tensor> deltas4,
                    std::optional<Tensor> objectness5, std::optional<Tensor> deltas5, std::vector<int64_t> strides,
                    int64_t pre_nms_top_n, int64_t post_nms_top_n, double nms_threshold,
                    std::vector<double> box_weights, double min_size, std::optional<double> score_threshold,
                    bool sigmoid, bool strides_from_grid, bool legacy, bool inclusive) {
  const std::vector<ProposeLevel> levels =
      propose_levels({objectness0, objectness1, objectness2, objectness3, objectness4, objectness5},
                     {deltas0, deltas1, deltas2, deltas3, deltas4, deltas5});
  check_propose(image_sizes, cell_anchors, levels);
  check_propose_options(strides, static_cast<int64_t>(levels.size()), pre_nms_top_n, post_nms_top_n, nms_threshold,
                        min_size, score_threshold);
  check_box_weights("propose", box_weights);
  const ProposeOptions options = propose_options(pre_nms_top_n, post_nms_top_n, nms_threshold, box_weights, min_size,
                                                 score_threshold, sigmoid, legacy, inclusive);
  const Launcher launch("propose", image_sizes);
  const int64_t images = image_sizes.size(0), rows = proposals_per_image(levels, options);
  if (images == 0 || rows == 0)
    return {torch::stable::new_empty(cell_anchors, {images, rows, 4}),
            torch::stable::new_empty(cell_anchors, {images, rows}), torch::stable::new_zeros(image_sizes, {images})};
  const Tensor sizes = torch::stable::contiguous(image_sizes), cells = torch::stable::contiguous(cell_anchors);
  const Pyramid pyramid = pyramid_of(levels, level_strides(levels, strides, strides_from_grid), images,
                                     static_cast<const Box*>(cells.const_data_ptr()));
  return propose_images(launch, pyramid, options, rows, sizes);
}
}  // namespace

STABLE_TORCH_LIBRARY_IMPL(maskrcnn, CUDA, ops) { ops.impl("propose", TORCH_BOX(&propose_cuda)); }

}  // namespace maskrcnn
