// COCO's compressed run lengths: lengths of runs of 0 and 1 in turn, in column-major order, 0 first (so the
// first may be 0). From the fourth on each is a difference to the one two before, since neighbouring columns
// are alike. Each number is cut into groups of 5 bits, lowest first, with a bit that says "more" and 48 added,
// which makes it printable; the last group's highest bit is the sign.
#pragma once
#include <cstdint>
#include <vector>

namespace maskrcnn {

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
    int64_t rest = index_ > 2 ? length - two_before_ : length;
    two_before_ = one_before_;
    one_before_ = length;
    ++index_;
    for (bool more = true; more;) {
      const int64_t group = rest & 31;
      rest >>= 5;
      more = rest != ((group & 16) ? -1 : 0);
      bytes_[used_++] = static_cast<uint8_t>(group + (more ? 32 : 0) + 48);
    }
  }

  std::vector<uint8_t> bytes_;
  size_t used_ = 0;
  int64_t run_begin_ = 0, run_end_ = 0, done_ = 0;
  int64_t index_ = 0, one_before_ = 0, two_before_ = 0;
};

}  // namespace maskrcnn
