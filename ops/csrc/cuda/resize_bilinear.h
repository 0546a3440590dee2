// Filter `bilinear` of resize_normalize: a thread keeps the two source rows that it is between, stretched to its column.
#pragma once
#include "canvas_tiles.h"

namespace maskrcnn {

struct BilinearSource {
  Picture pictures[kPicturesAtOnce];

  __device__ const Picture& picture(int index) const { return pictures[index]; }

  class Column {
   public:
    __device__ Column(const BilinearSource& source, int index, int64_t column, const ValueTable& table)
        : picture_(source.pictures[index]),
          table_(table),
          row_scale_(bilinear_scale(picture_.source_height, picture_.height)),
          across_(bilinear_tap(column, picture_.source_width, bilinear_scale(picture_.source_width, picture_.width))) {}

    __device__ void pixel(int64_t row, float (&values)[3]) {
      const BilinearTap down = bilinear_tap(row, picture_.source_height, row_scale_);
      hold(down.first, down.second);
      for (int channel = 0; channel < 3; ++channel)
        values[channel] = upper_[channel] * (1 - down.fraction) + lower_[channel] * down.fraction;
    }

   private:
    __device__ void hold(int64_t first, int64_t second) {
      if (upper_row_ != first) take(first, lower_row_, lower_, upper_);
      upper_row_ = first;
      if (lower_row_ != second) take(second, upper_row_, upper_, lower_);
      lower_row_ = second;
    }

    // The other row may be the wanted one.
    __device__ void take(int64_t row, int64_t other_row, const float (&other)[3], float (&values)[3]) const {
      if (row != other_row) return stretch(row, values);
      for (int channel = 0; channel < 3; ++channel) values[channel] = other[channel];
    }

    __device__ void stretch(int64_t row, float (&values)[3]) const {
      const uint8_t* pixels = picture_.pixels + row * picture_.row_stride;
      const uint8_t *left = pixels + across_.first * picture_.column_stride,
                    *right = pixels + across_.second * picture_.column_stride;
      const int64_t channels[3] = {picture_.red, picture_.green, picture_.blue};
      for (int channel = 0; channel < 3; ++channel) {
        const float* value = table_.value[channel];
        values[channel] = value[left[channels[channel]]] * (1 - across_.fraction) +
                          value[right[channels[channel]]] * across_.fraction;
      }
    }

    const Picture& picture_;
    const ValueTable& table_;
    float row_scale_;
    BilinearTap across_;
    int64_t upper_row_ = -1, lower_row_ = -1;
    float upper_[3], lower_[3];
  };
};

}  // namespace maskrcnn
