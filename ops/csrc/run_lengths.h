// COCO's compressed run lengths: lengths of runs of 0 and 1 in turn, in column-major order, 0 first (so the
// first may be 0). From the fourth on each is a difference to the one two before, since neighbouring columns
// are alike. Each number is cut into groups of 5 bits, lowest first, with a bit that says "more" and 48 added,
// which makes it printable; the last group's highest bit is the sign.
#pragma once
#include <cstdint>
#include <utility>
#include <vector>

#include <torch/headeronly/macros/Macros.h>

namespace maskrcnn {

// What stands for the count of this index, from 0.
C10_HOST_DEVICE inline int64_t coded_count(int64_t index, int64_t length, int64_t two_before) {
  return index > 2 ? length - two_before : length;
}

// Calls put(byte) for each group of a coded count.
template <class Put>
C10_HOST_DEVICE void put_groups(int64_t coded, const Put& put) {
  for (bool more = true; more;) {
    const int64_t group = coded & 31;
    coded >>= 5;
    more = coded != ((group & 16) ? -1 : 0);
    put(static_cast<uint8_t>(group + (more ? 32 : 0) + 48));
  }
}

class RunLengths {
 public:
  // The pixels [begin, end) are 1; calls go up, and touching runs become one.
  void add(int64_t begin, int64_t end) {
    if (begin != run_end_) {
      put_run();
      run_begin_ = begin;
    }
    run_end_ = end;
  }

  // The plane ends at `total` pixels -> the string.
  std::vector<uint8_t> finish(int64_t total) {
    put_run();
    if (total > done_) put(total - done_);
    bytes_.resize(used_);
    return std::move(bytes_);
  }

 private:
  void put_run() {
    if (run_begin_ == run_end_) return;
    put(run_begin_ - done_);
    put(run_end_ - run_begin_);
    done_ = run_end_;
  }

  void put(int64_t length) {
    constexpr size_t kLongest = 8;  // groups of 5 bits in a 33-bit difference, and one to spare
    if (used_ + kLongest > bytes_.size()) bytes_.resize(2 * bytes_.size() + 64);
    uint8_t* next = bytes_.data() + used_;
    put_groups(coded_count(index_, length, two_before_), [&next](uint8_t byte) { *next++ = byte; });
    used_ = next - bytes_.data();
    two_before_ = one_before_;
    one_before_ = length;
    ++index_;
  }

  std::vector<uint8_t> bytes_;
  size_t used_ = 0;
  int64_t run_begin_ = 0, run_end_ = 0, done_ = 0;
  int64_t index_ = 0, one_before_ = 0, two_before_ = 0;
};

}  // namespace maskrcnn
