// Filter `bilinear` of resize_normalize: normalises the pixels it reads, then interpolates.
#pragma once
#include <vector>

#include "../resize_filters.h"
#include "feature_types.h"
#include "resize_rows.h"

namespace maskrcnn {

class Bilinear {
 public:
  using Value = float;
  template <class Out>
  using TableValue = float;

  explicit Bilinear(const Picture& picture)
      : picture_(picture), row_scale_(bilinear_scale(picture.source_height, picture.height)) {
    const float scale = bilinear_scale(picture.source_width, picture.width);
    for (int64_t column = 0; column < picture.width; ++column)
      add_column(bilinear_tap(column, picture.source_width, scale));
  }

  const Picture& picture() const { return picture_; }
  int64_t rows_held() const { return 2; }
  int64_t row_width() const { return picture_.width; }
  int64_t line_width() const { return static_cast<int64_t>(columns_.size()); }

  template <class Out>
  void write_row(int64_t row, Scratch<float>& scratch, const Table<float>& table, Out* __restrict out) const {
    const BilinearTap tap = bilinear_tap(row, picture_.source_height, row_scale_);
    const auto stretch = [&](int64_t source_row, float* to) {
      normalise_columns(source_row, table, scratch.line.data());
      stretch_line(scratch.line.data(), to);
    };
    const float* __restrict upper = scratch.rows.row(tap.first, stretch);
    const float* __restrict lower = scratch.rows.row(tap.second, stretch);
    const float down = tap.fraction, up = 1 - down;
    const int64_t length = 3 * picture_.width;
    for (int64_t index = 0; index < length; ++index)
      out[index] = from_float<Out>(upper[index] * up + lower[index] * down);
  }

 private:
  // A tap's two columns stand side by side in columns_, where the next tap may find them again.
  void add_column(const BilinearTap& tap) {
    const size_t count = columns_.size();
    if (count == 0 || columns_[count - 2] != tap.first) {
      if (count == 0 || columns_[count - 1] != tap.first) columns_.push_back(tap.first);
      columns_.push_back(tap.second);
    }
    left_.push_back(3 * (static_cast<int64_t>(columns_.size()) - 2));
    fractions_.push_back(tap.fraction);
  }

  void normalise_columns(int64_t row, const Table<float>& table, float* __restrict line) const {
    const uint8_t* pixels = picture_.pixels + row * picture_.row_stride;
    const int64_t stride = picture_.column_stride, red = picture_.red, green = picture_.green, blue = picture_.blue;
    for (const int64_t column : columns_) {
      const uint8_t* pixel = pixels + column * stride;
      *line++ = table.value[0][pixel[red]];
      *line++ = table.value[1][pixel[green]];
      *line++ = table.value[2][pixel[blue]];
    }
  }

  void stretch_line(const float* __restrict line, float* __restrict out) const {
    const int64_t width = picture_.width;
    const int64_t* starts = left_.data();
    const float* fractions = fractions_.data();
    for (int64_t column = 0; column < width; ++column) {
      const float* left = line + starts[column];
      const float fraction = fractions[column];
      store(out + 3 * column, load<Float4>(left) * (1 - fraction) + load<Float4>(left + 3) * fraction);
    }
  }

  Picture picture_;
  float row_scale_;
  std::vector<int64_t> columns_, left_;  // source columns that are read; where each output column's two start
  std::vector<float> fractions_;
};

}  // namespace maskrcnn
