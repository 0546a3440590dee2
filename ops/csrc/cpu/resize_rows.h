// What both filters of resize_normalize work on: a picture's rows, stretched to the output's width.
#pragma once
#include <algorithm>
#include <cstdint>
#include <cstring>
#include <vector>

namespace maskrcnn {

// A pixel is loaded and stored as four lanes; the next pixel overwrites the fourth, and lines have room for the last.
constexpr int64_t kSpareLane = 1;
using Float4 = float __attribute__((vector_size(16)));
using Int4 = int32_t __attribute__((vector_size(16)));

template <class Vector, class T>
inline Vector load(const T* from) {
  Vector value;
  std::memcpy(&value, from, sizeof(value));
  return value;
}

template <class T, class Vector>
inline void store(T* to, const Vector& value) {
  std::memcpy(to, &value, sizeof(value));
}

// What each of the 256 pixel values becomes in each channel.
template <class T>
struct Table {
  T value[3][256];
};

// The last few source rows, stretched to the output's width: neighbouring output rows share them.
template <class T>
class StretchedRows {
 public:
  StretchedRows(int64_t rows, int64_t width)
      : length_(3 * width + kSpareLane), values_(rows * length_), held_(rows, -1) {}

  void forget() { std::fill(held_.begin(), held_.end(), -1); }

  template <class Stretch>
  const T* row(int64_t source_row, const Stretch& stretch) {
    const int64_t slot = source_row % static_cast<int64_t>(held_.size());
    T* values = values_.data() + slot * length_;
    if (held_[slot] != source_row) stretch(source_row, values);
    held_[slot] = source_row;
    return values;
  }

 private:
  int64_t length_;
  std::vector<T> values_;
  std::vector<int64_t> held_;
};

// What one thread works with.
template <class T>
struct Scratch {
  StretchedRows<T> rows;
  std::vector<T> line, output_line;  // pixels of one row, side by side
};

}  // namespace maskrcnn
