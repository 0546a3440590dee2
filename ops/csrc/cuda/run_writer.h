// Run lengths from the places where membership changes, by a whole block: each count and the one two before it need
// four neighbouring places only.
#pragma once
#include "../run_lengths.h"
#include "block_sums.h"

namespace maskrcnn {

constexpr int kRunThreads = 256;

// In block memory. The places are those of the flips at hand, after the three before them.
struct RunMemory {
  static constexpr int kEarlier = 3, kRoom = 1024;
  uint32_t places[kEarlier + kRoom];
  int32_t of_warps[kRunThreads / kWarp];
};

// Every thread of the block holds one and calls its functions together with the others.
class RunWriter {
 public:
  // Bytes past `room` are counted, not written.
  __device__ RunWriter(RunMemory& memory, uint8_t* bytes, int64_t room) : memory_(memory), bytes_(bytes), room_(room) {
    if (threadIdx.x < RunMemory::kEarlier) memory_.places[threadIdx.x] = 0;
  }

  // The next RunMemory::kRoom places go here before put().
  __device__ uint32_t* places() const { return memory_.places + RunMemory::kEarlier; }

  // Writes the counts that end at the first `count` of places().
  __device__ void put(int32_t count) {
    __syncthreads();  // the places are there
    const int32_t each = (count + kRunThreads - 1) / kRunThreads;
    const int32_t begin = std::min(static_cast<int32_t>(threadIdx.x) * each, count);
    const int32_t end = std::min(begin + each, count);
    int32_t length = 0;
    for (int32_t i = begin; i < end; ++i) put_groups(coded(i), [&](uint8_t) { ++length; });
    const Sums<int32_t> lengths = block_sums(length, memory_.of_warps);
    int64_t at = used_ + lengths.before;
    for (int32_t i = begin; i < end; ++i)
      put_groups(coded(i), [&](uint8_t byte) {
        if (at < room_) bytes_[at] = byte;
        ++at;
      });
    used_ += lengths.all;
    index_ += count;
    keep_last(count);
  }

  // The plane ends at `total` pixels -> the string's length.
  __device__ int64_t finish(uint32_t total) {
    __syncthreads();  // nothing may have been put yet
    if (memory_.places[RunMemory::kEarlier - 1] == total) return used_;
    if (threadIdx.x == 0) places()[0] = total;
    put(1);
    return used_;
  }

 private:
  __device__ int64_t coded(int32_t i) const {
    const uint32_t* place = places() + i;
    return coded_count(index_ + i, place[0] - place[-1], place[-2] - place[-3]);
  }

  __device__ void keep_last(int32_t count) {
    __syncthreads();  // all have read the places
    if (threadIdx.x < kWarp) {
      const bool mine = threadIdx.x < RunMemory::kEarlier;
      const uint32_t place = mine ? memory_.places[count + threadIdx.x] : 0;
      __syncwarp();
      if (mine) memory_.places[threadIdx.x] = place;
    }
    __syncthreads();
  }

  RunMemory& memory_;
  uint8_t* bytes_;
  int64_t room_, used_ = 0, index_ = 0;
};

}  // namespace maskrcnn
