// Filter `pillow` of resize_normalize, in three steps: the weights of both axes; one axis, into a picture of 8-bit
// pixels between; the other axis, onto the canvas.
#pragma once
#include "canvas_tiles.h"

namespace maskrcnn {

// One axis in scratch memory: for each output index the first source index that it reads and how many, then their
// weights, the first of every output index, then the second, and so on.
struct PillowTaps {
  int32_t* first;
  int64_t source_size, size;

  __device__ int32_t* count() const { return first + size; }
  __device__ int32_t* weights() const { return first + 2 * size; }
};

inline int64_t words_of_taps(int64_t source_size, int64_t size) {
  return size * (2 + pillow_longest(source_size, size));
}

struct Pixel {
  uint8_t red, green, blue;
};

// read(source index) -> Pixel
template <class Read>
__device__ Pixel blend(const PillowTaps& taps, int64_t output, const Read& read) {
  int32_t red = kPillowHalf, green = kPillowHalf, blue = kPillowHalf;
  const int32_t first = taps.first[output], count = taps.count()[output];
  const int32_t* weights = taps.weights() + output;
  for (int32_t index = 0; index < count; ++index, weights += taps.size) {
    const Pixel pixel = read(first + index);
    const int32_t weight = *weights;
    red += pixel.red * weight;
    green += pixel.green * weight;
    blue += pixel.blue * weight;
  }
  return {pillow_pixel(red), pillow_pixel(green), pillow_pixel(blue)};
}

// The picture between the two passes has one axis of the source and one of the output. It is never larger than both:
// rows go first only where they get fewer, columns only where they get fewer or the rows get more.
struct PillowPicture {
  Picture picture;
  PillowTaps rows, columns;
  uint32_t* between;  // red, green and blue in the lowest bytes

  C10_HOST_DEVICE bool rows_first() const {
    return pillow_rows_first(picture.source_height, picture.source_width, picture.height, picture.width);
  }
  C10_HOST_DEVICE int64_t between_height() const { return rows_first() ? picture.height : picture.source_height; }
  C10_HOST_DEVICE int64_t between_width() const { return rows_first() ? picture.source_width : picture.width; }
  C10_HOST_DEVICE int64_t between_pixels() const { return between_height() * between_width(); }

  __device__ Pixel source_pixel(int64_t row, int64_t column) const {
    const uint8_t* pixel = picture.pixels + row * picture.row_stride + column * picture.column_stride;
    return {pixel[picture.red], pixel[picture.green], pixel[picture.blue]};
  }
  __device__ Pixel first_pass(int64_t row, int64_t column) const {
    if (rows_first()) return blend(rows, row, [&](int64_t from) { return source_pixel(from, column); });
    return blend(columns, column, [&](int64_t from) { return source_pixel(row, from); });
  }

  __device__ Pixel between_pixel(int64_t row, int64_t column) const {
    const uint32_t packed = between[row * between_width() + column];
    return {static_cast<uint8_t>(packed), static_cast<uint8_t>(packed >> 8), static_cast<uint8_t>(packed >> 16)};
  }
  __device__ Pixel second_pass(int64_t row, int64_t column) const {
    if (rows_first()) return blend(columns, column, [&](int64_t from) { return between_pixel(row, from); });
    return blend(rows, row, [&](int64_t from) { return between_pixel(from, column); });
  }
};

inline int64_t words_of(const Picture& picture) {
  return words_of_taps(picture.source_height, picture.height) + words_of_taps(picture.source_width, picture.width) +
         PillowPicture{picture, {}, {}, nullptr}.between_pixels();
}

// memory: words_of(picture) of 32 bits.
inline PillowPicture lay_out(const Picture& picture, int32_t* memory) {
  int32_t* columns = memory + words_of_taps(picture.source_height, picture.height);
  int32_t* between = columns + words_of_taps(picture.source_width, picture.width);
  return {picture,
          {memory, picture.source_height, picture.height},
          {columns, picture.source_width, picture.width},
          reinterpret_cast<uint32_t*>(between)};
}

struct PillowSource {
  PillowPicture pictures[kPicturesAtOnce];

  __device__ const Picture& picture(int index) const { return pictures[index].picture; }

  class Column {
   public:
    __device__ Column(const PillowSource& source, int index, int64_t column, const ValueTable& table)
        : of_(source.pictures[index]), table_(table), column_(column) {}

    __device__ void pixel(int64_t row, float (&values)[3]) {
      const Pixel pixel = of_.second_pass(row, column_);
      values[0] = table_.value[0][pixel.red];
      values[1] = table_.value[1][pixel.green];
      values[2] = table_.value[2][pixel.blue];
    }

   private:
    const PillowPicture& of_;
    const ValueTable& table_;
    int64_t column_;
  };
};

}  // namespace maskrcnn
