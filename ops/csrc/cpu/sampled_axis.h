// What the loops of both mask ops prepare once an instance: where each pixel of an axis falls on the mask, and
// the mask with its ring of zeros.
#pragma once
#include <algorithm>
#include <vector>

#include "../mask_sampling.h"
#include "multiversion.h"

namespace maskrcnn {

// The pixels of one axis that lie on the mask: [begin, end). The vectors start at `begin`.
struct SampledAxis {
  int32_t begin = 0, end = 0;
  std::vector<int32_t> cell;
  std::vector<float> fraction;

  int32_t length() const { return end - begin; }
};

inline void locate_all(const MaskAxis& axis, int32_t size, int32_t begin, int32_t length, int32_t* __restrict cell,
                       float* __restrict fraction) {
  for (int32_t i = 0; i < length; ++i) {
    const MaskPoint point = locate(position(axis, begin + i), size);
    cell[i] = point.cell;
    fraction[i] = point.fraction;
  }
}

inline void sample_axis(const MaskAxis& axis, int32_t size, int32_t length, SampledAxis& out) {
  out.begin = first_pixel_of_cell(axis, 0, length);
  out.end = first_pixel_past_mask(axis, size, length);
  out.cell.resize(out.length());
  out.fraction.resize(out.length());
  multiversion([&] {
    locate_all(axis, size, out.begin, out.length(), out.cell.data(), out.fraction.data());
  });
}

// mask (size, size) -> padded (size + 2, size + 2)
inline void pad_mask(const float* mask, int64_t size, std::vector<float>& padded) {
  const int64_t side = size + 2;
  padded.assign(side * side, 0.0f);
  for (int64_t row = 0; row < size; ++row)
    for (int64_t col = 0; col < size; ++col)
      padded[(row + 1) * side + col + 1] = clean_probability(mask[row * size + col]);
}

}  // namespace maskrcnn
