// The three steps of greedy suppression on a strip of boxes; greedy_nms.h says how they follow one another.
#pragma once
#include "../box.h"
#include "launch.h"

namespace maskrcnn {

// Boxes, best first.
struct NmsSegments {
  int64_t segments, capacity;
  int64_t most;            // to keep of each
  const Box* boxes;        // (segments, capacity)
  const int64_t* classes;  // (segments, capacity), boxes of two classes leave each other alone; or null
  const int64_t* counts;   // (segments) in [0, capacity], boxes in each; or null: each is full
  Overlap overlap;

  __device__ int64_t count(int64_t segment) const { return counts == nullptr ? capacity : counts[segment]; }
  __device__ int64_t class_of(int64_t segment, int64_t number) const {
    return classes == nullptr ? 0 : classes[segment * capacity + number];
  }
};

// Of one segment: how many were kept before the strip at hand, and with it.
struct KeptRange {
  int64_t before, through;
};

constexpr int kNmsTile = 64, kStripTiles = 32;  // a warp resolves a tile, a block a strip

struct Strip {
  int64_t first;  // box
  int tiles;      // in every strip of the call, the last one too

  C10_HOST_DEVICE int64_t size() const { return int64_t{tiles} * kNmsTile; }
};

// What the steps of one call leave each other.
struct NmsState {
  uint64_t* masks;    // (segments, tiles, tiles * 64): which boxes of a tile a row of the strip suppresses
  uint32_t* removed;  // (segments, removed_words): bits of the boxes that earlier strips suppress; unset in the first
  int64_t removed_words;
  int64_t* positions;
  int64_t stride;
  KeptRange* ranges;

  __device__ bool was_removed(int64_t segment, int64_t box) const {
    return removed[segment * removed_words + box / kWarp] >> (box % kWarp) & 1;
  }
};

// Boxes in shared memory. Aligned, so that one load brings a whole box.
template <int kBoxes>
struct NmsBoxes {
  struct alignas(16) Aligned {
    Box box;
  };
  Aligned aligned[kBoxes];
  int64_t classes[kBoxes];

  __device__ void set(int i, const NmsSegments& boxes, int64_t segment, int64_t number) {
    aligned[i].box = boxes.boxes[segment * boxes.capacity + number];
    classes[i] = boxes.class_of(segment, number);
  }
};

// As suppresses(), but most boxes lie apart, and the division is the dear part.
__device__ inline bool meets_and_suppresses(const Box& kept, const Box& box, const Overlap& overlap) {
  return (overlap.limit <= 0 || intersection(kept, box, overlap.extra) > 0) && suppresses(kept, box, overlap);
}

// Step 1, a block of 64 threads for each pair of tiles, a thread a row.
static __global__ void compare_strip_kernel(NmsSegments boxes, Strip strip, NmsState state) {
  auto& columns = *block_memory<NmsBoxes<kNmsTile>>();
  const int column_tile = blockIdx.x % strip.tiles, row_tile = blockIdx.x / strip.tiles % strip.tiles;
  const int64_t segment = blockIdx.x / (strip.tiles * strip.tiles), count = boxes.count(segment);
  const int64_t first_column = strip.first + column_tile * kNmsTile;
  if (column_tile < row_tile || first_column >= count) return;
  if (strip.first > 0 && state.ranges[segment].through >= boxes.most) return;
  const int thread = threadIdx.x, width = static_cast<int>(std::min<int64_t>(kNmsTile, count - first_column));
  if (thread < width) columns.set(thread, boxes, segment, first_column + thread);
  __syncthreads();
  const int64_t row_in_strip = row_tile * kNmsTile + thread, row = strip.first + row_in_strip;
  uint64_t word = 0;
  if (row < count && !(strip.first > 0 && state.was_removed(segment, row))) {
    const Box box = boxes.boxes[segment * boxes.capacity + row];
    const int64_t of_class = boxes.class_of(segment, row);
    for (int i = column_tile == row_tile ? thread + 1 : 0; i < width; ++i)
      if (meets_and_suppresses(box, columns.aligned[i].box, boxes.overlap) && columns.classes[i] == of_class)
        word |= uint64_t{1} << i;
  }
  state.masks[(segment * strip.tiles + column_tile) * strip.size() + row_in_strip] = word;
}

// The words of a tile's 64 rows, two a lane.
struct alignas(16) RowPair {
  uint64_t even, odd;
};

// The rows of a tile that are suppressed, from before or by rows of the tile that are not. Every lane finds them all.
__device__ inline uint64_t resolve_tile(const RowPair& words, uint64_t gone) {
  for (int lane = 0; lane < kWarp; ++lane) {  // the shuffles do not wait for one another
    const uint64_t even = __shfl_sync(kWholeWarp, words.even, lane), odd = __shfl_sync(kWholeWarp, words.odd, lane);
    if (!(gone >> (2 * lane) & 1)) gone |= even;
    if (!(gone >> (2 * lane + 1) & 1)) gone |= odd;
  }
  return gone;
}

__device__ inline uint64_t lowest_bits(uint64_t bits, int64_t most) {
  while (__popcll(bits) > most) bits &= ~(uint64_t{1} << (63 - __clzll(bits)));
  return bits;
}

// What rows of a tile suppress in another: the words of `rows`, joined over the warp.
__device__ inline uint64_t join_words(const RowPair& words, uint64_t rows) {
  const int even = 2 * (threadIdx.x % kWarp);
  uint64_t joined = (rows >> even & 1 ? words.even : 0) | (rows >> (even + 1) & 1 ? words.odd : 0);
  for (int bit = kWarp / 2; bit > 0; bit /= 2) joined |= __shfl_xor_sync(kWholeWarp, joined, bit);
  return joined;
}

__device__ inline void write_positions(uint64_t rows, int64_t first, int64_t* positions) {
  for (int i = 0; i < 2; ++i) {
    const int row = 2 * (threadIdx.x % kWarp) + i;
    if (rows >> row & 1) positions[__popcll(rows & ((uint64_t{1} << row) - 1))] = first + row;
  }
}

// The boxes of a tile that are out before the strip is looked at: suppressed by earlier strips, or not there.
__device__ inline uint64_t gone_before(const NmsState& state, const Strip& strip, int64_t segment, int tile,
                                       int64_t there) {
  const int64_t word = segment * state.removed_words + (strip.first / kNmsTile + tile) * 2;
  const uint64_t removed = strip.first == 0 ? 0 : uint64_t{state.removed[word + 1]} << 32 | state.removed[word];
  return there < kNmsTile ? removed | ~uint64_t{0} << there : removed;
}

// Step 2, a block for each segment, a warp for each tile of the strip. The words of the next tile are on their way
// while one is resolved; one barrier a tile.
static __global__ void __launch_bounds__(kStripTiles * kWarp)
    resolve_strip_kernel(NmsSegments boxes, Strip strip, NmsState state) {
  auto* kept_rows = block_memory<uint64_t>();  // of each tile
  const int64_t segment = blockIdx.x, there = std::min(strip.size(), boxes.count(segment) - strip.first);
  const int64_t before = strip.first == 0 ? 0 : state.ranges[segment].through;
  if (strip.first > 0 && (there <= 0 || before >= boxes.most)) return;
  const int warp = threadIdx.x / kWarp, lane = threadIdx.x % kWarp;
  const int tiles = static_cast<int>((there + kNmsTile - 1) / kNmsTile);
  const auto* masks = reinterpret_cast<const RowPair*>(
      state.masks + (segment * strip.tiles + warp) * strip.size());  // this warp's column of tiles
  const auto load = [&](int tile) {
    return warp < tiles && tile <= warp ? masks[tile * kWarp + lane] : RowPair{0, 0};
  };
  uint64_t gone = warp < tiles ? gone_before(state, strip, segment, warp, there - warp * kNmsTile) : 0;
  int64_t kept = before;
  RowPair next = load(0);
  for (int tile = 0; tile < tiles && kept < boxes.most; ++tile) {
    const RowPair words = next;
    next = load(tile + 1);
    if (warp == tile) {
      const uint64_t rows = lowest_bits(~resolve_tile(words, gone), boxes.most - kept);
      if (lane == 0) kept_rows[tile] = rows;
      write_positions(rows, strip.first + tile * kNmsTile, state.positions + segment * state.stride + kept);
    }
    __syncthreads();
    const uint64_t rows = kept_rows[tile];
    kept += __popcll(rows);
    if (warp > tile) gone |= join_words(words, rows);
  }
  if (threadIdx.x == 0) state.ranges[segment] = {before, kept};
}

constexpr int kLaterThreads = 256;

// Step 3, a thread for each box past the strip.
static __global__ void suppress_later_kernel(NmsSegments boxes, Strip strip, NmsState state,
                                             int64_t blocks_per_segment) {
  auto& kept = *block_memory<NmsBoxes<kLaterThreads>>();
  const int64_t segment = blockIdx.x / blocks_per_segment, count = boxes.count(segment);
  const int64_t start = strip.first + strip.size() + blockIdx.x % blocks_per_segment * kLaterThreads;
  const KeptRange range = state.ranges[segment];
  if (start >= count || range.through >= boxes.most) return;
  const int thread = threadIdx.x;
  const int64_t number = start + thread;
  bool gone = number >= count || (strip.first > 0 && state.was_removed(segment, number));
  const Box box = number < count ? boxes.boxes[segment * boxes.capacity + number] : Box{0, 0, 0, 0};
  const int64_t of_class = number < count ? boxes.class_of(segment, number) : 0;
  for (int64_t from = range.before; from < range.through; from += kLaterThreads) {
    const int width = static_cast<int>(std::min<int64_t>(kLaterThreads, range.through - from));
    __syncthreads();
    if (thread < width) kept.set(thread, boxes, segment, state.positions[segment * state.stride + from + thread]);
    __syncthreads();
    for (int i = 0; i < width && !gone; ++i)
      gone = meets_and_suppresses(kept.aligned[i].box, box, boxes.overlap) && kept.classes[i] == of_class;
  }
  const unsigned votes = __ballot_sync(kWholeWarp, gone);
  const int64_t word = number / kWarp;
  if (thread % kWarp == 0 && word < state.removed_words) state.removed[segment * state.removed_words + word] = votes;
}
}  // namespace maskrcnn
