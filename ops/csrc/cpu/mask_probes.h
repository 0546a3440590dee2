// Where encode_rle looks before it searches: few rows of pixels that tell what lies between them.
#pragma once
#include <cmath>

#include "sampled_axis.h"

namespace maskrcnn {

// The rows of pixels at which every column is tested: the first and the last of each mask row's stretch.
// Between two neighbouring probes membership changes at most once (see mask_sampling.h).
struct Probes {
  std::vector<int32_t> row;     // counted from y.begin; one more at the end: the row after the last
  std::vector<float> fraction;  // (stride) between the two mask rows
  std::vector<float> upper;     // (M + 2, stride) those mask rows, one line a mask column
  std::vector<float> lower;
  int64_t stride = 0;  // a multiple of the vectors, and at least one more than there are probes

  int64_t count() const { return static_cast<int64_t>(row.size()) - 1; }
};

inline void choose_rows(const SampledAxis& y, Probes& probes) {
  const int32_t last = y.length() - 1;
  probes.row.clear();
  for (int32_t row = 0; row <= last; ++row) {
    const bool first_of_stretch = row == 0 || y.cell[row - 1] != y.cell[row];
    const bool last_of_stretch = row == last || y.cell[row + 1] != y.cell[row];
    if (first_of_stretch || last_of_stretch) probes.row.push_back(row);
  }
  probes.row.push_back(y.length());
}

// Lays the mask out so that one column's probes lie side by side. The padding is NaN: it never belongs.
inline void lay_out(const std::vector<float>& padded, int32_t size, const SampledAxis& y, Probes& probes) {
  constexpr int64_t kVector = 16;
  const int64_t side = size + 2, count = probes.count(), stride = (count / kVector + 1) * kVector;
  probes.stride = stride;
  probes.fraction.assign(stride, NAN);
  probes.upper.assign(side * stride, NAN);
  probes.lower.assign(side * stride, NAN);
  for (int64_t k = 0; k < count; ++k) {
    const int32_t row = probes.row[k];
    const float* upper = padded.data() + y.cell[row] * side;
    probes.fraction[k] = y.fraction[row];
    for (int64_t col = 0; col < side; ++col) {
      probes.upper[col * stride + k] = upper[col];
      probes.lower[col * stride + k] = upper[side + col];
    }
  }
}

}  // namespace maskrcnn
