// The best entries of many, sorted, by one block in a fixed amount of shared memory: what propose and
// select_detections share.
//
// A radix selection: a histogram of the keys says in which of 1024 equal ranges the last wanted one lies; while too
// many lie there, the next histogram is of that range alone. Then one more pass collects, and a bitonic sort orders.
// So the keys are read two to eight times, mostly two or three.
#pragma once
#include <bit>

#include "../ranked_score.h"
#include "block_sums.h"

namespace maskrcnn {

// What best_scores() needs of the block's memory: 8 bytes an entry and 4.2 KB (20.2 KB for 2048 entries).
template <uint32_t kCapacity>
struct BestScores {
  static_assert(std::has_single_bit(kCapacity), "a bitonic sort is of a power of two");
  static constexpr int kBinBits = 10, kBins = kWarp * kWarp;

  RankedScore entries[kCapacity];
  uint32_t bins[kBins];    // how many keys lie in each
  uint32_t groups[kWarp];  // and in each 32 of them
  uint32_t collected;
};

// Calls use(key(i)) for every i below `count`, spread over the block; several loads of a thread are under way at once.
template <class Key, class Use>
__device__ void visit_keys(const Key& key, int64_t count, const Use& use) {
  constexpr int kAtOnce = 4;
  for (int64_t first = threadIdx.x; first < count; first += kAtOnce * int64_t{blockDim.x}) {
    RankedScore keys[kAtOnce];
    for (int i = 0; i < kAtOnce; ++i) {
      const int64_t number = first + i * int64_t{blockDim.x};
      keys[i] = number < count ? key(number) : 0;
    }
    for (int i = 0; i < kAtOnce; ++i) use(keys[i]);
  }
}

// Counts the keys in [low, top] into ranges of 2^shift of them.
template <uint32_t kCapacity, class Key>
__device__ void count_keys(BestScores<kCapacity>& memory, const Key& key, int64_t count, RankedScore low,
                           RankedScore top, int shift) {
  __syncthreads();  // whoever reads what the memory held is done
  for (int i = threadIdx.x; i < memory.kBins; i += blockDim.x) memory.bins[i] = 0;
  if (threadIdx.x == 0) memory.collected = 0;
  __syncthreads();
  visit_keys(key, count, [&](RankedScore entry) {
    if (entry >= low && entry <= top) atomicAdd(&memory.bins[(entry - low) >> shift], 1u);
  });
  __syncthreads();
  const int lane = threadIdx.x % kWarp;
  for (int group = threadIdx.x / kWarp; group < kWarp; group += blockDim.x / kWarp) {
    uint32_t sum = memory.bins[group * kWarp + lane];
    for (int bit = kWarp / 2; bit > 0; bit /= 2) sum += __shfl_xor_sync(kWholeWarp, sum, bit);
    if (lane == 0) memory.groups[group] = sum;
  }
  __syncthreads();
}

// The lane at which the running sum reaches `want`, the sum before it and the sum with it; the last lane where it
// never does.
struct Reached {
  int lane;
  uint32_t before, through;
};

__device__ inline Reached reach(uint32_t value, uint32_t want) {
  const uint32_t sum = running_sum(value);
  const unsigned there = __ballot_sync(kWholeWarp, sum >= want);
  const int first = there != 0 ? __ffs(there) - 1 : kWarp - 1;
  const uint32_t through = __shfl_sync(kWholeWarp, sum, first);
  return {first, through - __shfl_sync(kWholeWarp, value, first), through};
}

struct Cut {
  RankedScore least;
  uint32_t count;  // of the keys that are not below `least`
};

// The least key to take. Every warp finds the same by itself.
template <uint32_t kCapacity, class Key>
__device__ Cut find_cut(BestScores<kCapacity>& memory, const Key& key, int64_t count, RankedScore below,
                        uint32_t want) {
  const int from_top = kWarp - 1 - threadIdx.x % kWarp;
  RankedScore low = 1, top = below - 1;  // between them lies the last wanted key
  uint32_t better = 0;                   // keys above `top`
  for (;;) {
    const int shift = std::max(0, 64 - __clzll(top - low) - memory.kBinBits);
    count_keys(memory, key, count, low, top, shift);
    const Reached group = reach(memory.groups[from_top], want - better);
    if (group.through < want - better) return {low, better + group.through};  // there are fewer
    const int first_bin = (kWarp - 1 - group.lane) * kWarp;
    const Reached bin = reach(memory.bins[first_bin + from_top], want - better - group.before);
    low += static_cast<RankedScore>(first_bin + kWarp - 1 - bin.lane) << shift;
    better += group.before;
    if (better + bin.through <= kCapacity) return {low, better + bin.through};
    top = low + std::min(top - low, (RankedScore{1} << shift) - 1);
    better += bin.before;
  }
}

// Sorts a power of two of entries. Steps of at most a warp's length stay within the 64 entries of a warp, which needs
// no barrier of the block for them.
__device__ inline void sort_best_first(RankedScore* entries, uint32_t count) {
  for (uint32_t size = 2; size <= count; size *= 2)
    for (uint32_t stride = size / 2; stride > 0; stride /= 2) {
      for (uint32_t pair = threadIdx.x; pair < count / 2; pair += blockDim.x) {
        const uint32_t first = 2 * pair - pair % stride, second = first + stride;
        const RankedScore a = entries[first], b = entries[second];
        const bool best_first = (first & size) == 0;
        if ((a < b) != best_first) continue;
        entries[first] = b;
        entries[second] = a;
      }
      const bool next_is_wide = stride == 1 && size > kWarp;
      stride > kWarp || next_is_wide ? __syncthreads() : __syncwarp();
    }
  __syncthreads();
}

// The best m of the keys key(0) ... key(count - 1) that are worse than `below`, sorted best first, into
// memory.entries; returns m, which is at least `want` and at most kCapacity, or less than `want` where that is all.
// Who wants more than kCapacity asks again with below = the last entry taken (take_best does). To begin with it is
// kBestOfAll.
//
// Called by all threads of a one-dimensional block of a multiple of 32, with the same arguments, want <= kCapacity.
// `key` gives the same RankedScore whenever it is asked for a number, no two numbers the same one, or 0 for what is
// no candidate; it may read global memory or shared memory (but `memory`). count < 2^32.
// A barrier comes before anything is written to `memory` and after the last write: what was written to shared memory
// before the call is visible to `key`, what memory.entries held may be read until the call, and the result right
// after it.
constexpr RankedScore kBestOfAll = ~RankedScore{0};

template <uint32_t kCapacity, class Key>
__device__ uint32_t best_scores(BestScores<kCapacity>& memory, const Key& key, int64_t count, RankedScore below,
                                uint32_t want) {
  if (below <= 1 || want == 0) return 0;
  const Cut cut = find_cut(memory, key, count, below, want);
  visit_keys(key, count, [&](RankedScore entry) {
    if (entry >= cut.least && entry < below) memory.entries[atomicAdd(&memory.collected, 1u)] = entry;
  });
  const uint32_t sorted = std::bit_ceil(cut.count);
  for (uint32_t i = cut.count + threadIdx.x; i < sorted; i += blockDim.x) memory.entries[i] = 0;
  __syncthreads();
  sort_best_first(memory.entries, sorted);
  return cut.count;
}

// The `most` best keys, in as many helpings as the memory needs: take(from, m) is called by all threads while
// memory.entries[0, m) are those of ranks from, from + 1, ... Returns how many there were. The rest is as for
// best_scores().
template <uint32_t kCapacity, class Key, class Take>
__device__ int64_t take_best(BestScores<kCapacity>& memory, const Key& key, int64_t count, int64_t most,
                             const Take& take) {
  most = std::min(most, count);
  RankedScore below = kBestOfAll;
  int64_t taken = 0;
  while (taken < most) {
    const int64_t wanted = most - taken;
    const uint32_t want = static_cast<uint32_t>(std::min<int64_t>(wanted, kCapacity));
    const uint32_t found = best_scores(memory, key, count, below, want);
    const uint32_t used = static_cast<uint32_t>(std::min<int64_t>(wanted, found));
    take(taken, used);
    taken += used;
    if (found < want) break;
    below = memory.entries[used - 1];
  }
  return taken;
}
}  // namespace maskrcnn
