// Filter `pillow` of resize_normalize: columns and rows one after the other, each rounded to 8 bits; then a table
// normalises.
#pragma once
#include <algorithm>
#include <vector>

#include "../resize_filters.h"
#include "resize_rows.h"

namespace maskrcnn {

// What every output index of one axis reads, and with which weights.
struct PillowAxis {
  std::vector<int64_t> first, start;  // source index; place of its weights, with one more for the end
  std::vector<int32_t> weights;
  int64_t longest = 0;

  PillowAxis(int64_t source_size, int64_t size) : start{0} {
    const double scale = pillow_scale(source_size, size);
    for (int64_t output = 0; output < size; ++output) {
      const PillowTap tap = pillow_tap(output, source_size, scale);
      const double total = pillow_total(tap);
      for (int64_t index = 0; index < tap.count; ++index) weights.push_back(pillow_fixed_weight(tap, index, total));
      first.push_back(tap.first);
      start.push_back(static_cast<int64_t>(weights.size()));
      longest = std::max(longest, tap.count);
    }
  }
};

// Pixels are kept as 32-bit integers: what is multiplied next need not be widened.
class Pillow {
 public:
  using Value = int32_t;
  template <class Out>
  using TableValue = Out;

  explicit Pillow(const Picture& picture)
      : picture_(picture), columns_(picture.source_width, picture.width), rows_(picture.source_height, picture.height),
        rows_first_(pillow_rows_first(picture.source_height, picture.source_width, picture.height, picture.width)) {}

  const Picture& picture() const { return picture_; }
  int64_t rows_held() const { return rows_.longest; }
  int64_t row_width() const { return rows_first_ ? picture_.source_width : picture_.width; }
  int64_t line_width() const { return std::max(picture_.source_width, picture_.width); }

  template <class Out>
  void write_row(int64_t row, Scratch<int32_t>& scratch, const Table<Out>& table, Out* __restrict out) const {
    blend_rows(row, scratch);
    if (rows_first_) stretch_line(scratch.line.data(), scratch.output_line.data());
    const int32_t* __restrict line = (rows_first_ ? scratch.output_line : scratch.line).data();
    const int64_t width = picture_.width;
    for (int64_t column = 0; column < width; ++column, line += 3, out += 3) {
      out[0] = table.value[0][line[0]];
      out[1] = table.value[1][line[1]];
      out[2] = table.value[2][line[2]];
    }
  }

 private:
  // Into scratch.line; the rows come stretched or, where rows go first, as they are.
  void blend_rows(int64_t row, Scratch<int32_t>& scratch) const {
    const int64_t length = 3 * row_width(), first = rows_.first[row], start = rows_.start[row];
    const auto fill = [&](int64_t source_row, int32_t* to) {
      unpack_row(source_row, rows_first_ ? to : scratch.line.data());
      if (!rows_first_) stretch_line(scratch.line.data(), to);
    };
    int32_t* __restrict sums = scratch.output_line.data();
    std::fill_n(sums, length, kPillowHalf);
    for (int64_t place = start; place < rows_.start[row + 1]; ++place) {
      const int32_t* __restrict values = scratch.rows.row(first + place - start, fill);
      const int32_t weight = rows_.weights[place];
      for (int64_t index = 0; index < length; ++index) sums[index] += values[index] * weight;
    }
    int32_t* __restrict line = scratch.line.data();
    for (int64_t index = 0; index < length; ++index) line[index] = pillow_pixel(sums[index]);
  }

  void unpack_row(int64_t row, int32_t* __restrict line) const {
    const uint8_t* __restrict pixel = picture_.pixels + row * picture_.row_stride;
    const int64_t width = picture_.source_width, stride = picture_.column_stride;
    const int64_t red = picture_.red, green = picture_.green, blue = picture_.blue;
    if (stride == 3 && red == 0 && green == 1 && blue == 2) {
      for (int64_t index = 0; index < 3 * width; ++index) line[index] = pixel[index];
      return;
    }
    for (int64_t column = 0; column < width; ++column, pixel += stride, line += 3) {
      line[0] = pixel[red];
      line[1] = pixel[green];
      line[2] = pixel[blue];
    }
  }

  void stretch_line(const int32_t* __restrict line, int32_t* __restrict out) const {
    const int64_t width = picture_.width;
    const int64_t *first = columns_.first.data(), *start = columns_.start.data();
    const int32_t* weights = columns_.weights.data();
    for (int64_t column = 0; column < width; ++column) {
      const int32_t* pixel = line + 3 * first[column];
      Int4 sum = Int4{} + kPillowHalf;
      for (int64_t place = start[column]; place < start[column + 1]; ++place, pixel += 3)
        sum += load<Int4>(pixel) * weights[place];
      const Int4 value = sum >> kPillowBits, most = Int4{} + 255;
      store(out + 3 * column, value < most ? value : most);
    }
  }

  Picture picture_;
  PillowAxis columns_, rows_;
  bool rows_first_;
};

}  // namespace maskrcnn
