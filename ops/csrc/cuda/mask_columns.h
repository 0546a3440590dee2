// How encode_rle finds the runs of one column of pixels: a thread goes down the mask rows, tests the first and the
// last pixel of each row's stretch, and searches only between two that differ (see mask_sampling.h).
#pragma once
#include "../mask_sampling.h"
#include "launch.h"

namespace maskrcnn {

// The rows of pixels [first, end) between mask row `cell` and the next, and how far between them the outer two lie.
struct Stretch {
  int32_t first, end;
  float first_fraction, last_fraction;
};

__device__ inline Stretch stretch_of(const MaskAxis& y, int32_t cell, int32_t size, int32_t height) {
  const int32_t first = first_pixel_of_cell(y, cell, height);
  const int32_t end = cell < size ? first_pixel_of_cell(y, cell + 1, height) : first_pixel_past_mask(y, size, height);
  if (first >= end) return {first, end, 0, 0};
  return {first, end, locate(position(y, first), size).fraction, locate(position(y, end - 1), size).fraction};
}

// One instance on its plane. Columns [begin, end) are on the mask, and have a row that is.
struct MaskOnPlane {
  const float* mask;
  const Stretch* stretches;  // (size + 1)
  MaskFrame frame;
  int32_t size, height, width, begin, end;
  float least;

  __device__ bool belongs(int32_t column, int32_t row) const {
    const MaskPoint x = locate(position(frame.x, column), size), y = locate(position(frame.y, row), size);
    return sample_mask(mask, size, x, y) >= least;
  }
};

// Membership changes at one of the rows low + 1 .. high, between two mask rows with these values in this column.
struct Flip {
  int32_t low, high;
  float top, bottom;
};

__device__ inline int32_t row_of(const Flip& flip, const MaskOnPlane& on) {
  if (flip.high - flip.low == 1) return flip.high;
  return flip_between(flip.low, flip.high, [&](int32_t row) {
    return lerp(flip.top, flip.bottom, locate(position(on.frame.y, row), on.size).fraction) >= on.least;
  });
}

// Calls visit(flip) downwards; their number is even, since nothing belongs above the mask nor below it.
template <class Visit>
__device__ void visit_flips(const MaskOnPlane& on, int32_t column, const Visit& visit) {
  const MaskPoint x = locate(position(on.frame.x, column), on.size);
  const auto at = [&](int32_t row) {
    return lerp(padded_cell(on.mask, on.size, row, x.cell), padded_cell(on.mask, on.size, row, x.cell + 1), x.fraction);
  };
  bool inside = false;
  float top = at(0);
  for (int32_t cell = 0; cell <= on.size; ++cell) {
    const float bottom = at(cell + 1);
    const Stretch stretch = on.stretches[cell];
    if (stretch.first < stretch.end) {
      const bool first = lerp(top, bottom, stretch.first_fraction) >= on.least;
      const bool last = lerp(top, bottom, stretch.last_fraction) >= on.least;
      if (first != inside) visit(Flip{stretch.first - 1, stretch.first, top, bottom});
      if (last != first) visit(Flip{stretch.first, stretch.end - 1, top, bottom});
      inside = last;
    }
    top = bottom;
  }
  const int32_t end = on.stretches[on.size].end;
  if (inside) visit(Flip{end - 1, end, 0, 0});
}

// The flips of a column that begin or end a run of the plane: all, but that a run from the column's last row goes on
// in the first row of the next column.
struct KeptFlips {
  int32_t skipped = 0, count = 0;
};

__device__ inline KeptFlips kept_flips(const MaskOnPlane& on, int32_t column) {
  int32_t flips = 0;
  visit_flips(on, column, [&](const Flip&) { ++flips; });
  const int32_t last_row = on.height - 1;
  const bool whole_height = on.stretches[0].first == 0 && on.stretches[on.size].end == on.height;
  if (flips == 0 || !whole_height) return {0, flips};
  const bool goes_on = column > on.begin && on.belongs(column, 0) && on.belongs(column - 1, last_row);
  const bool is_taken_up = column + 1 < on.end && on.belongs(column, last_row) && on.belongs(column + 1, 0);
  return {goes_on, flips - goes_on - is_taken_up};
}

// Writes the kept flips' places in the plane, counted down the columns, to places[at], places[at + 1], ... so far as
// these are in [0, room). A place takes 32 bits: 65535 * 65535 is below 2^32.
__device__ inline void write_flips(const MaskOnPlane& on, int32_t column, const KeptFlips& kept, int32_t at,
                                   uint32_t* places, int32_t room) {
  if (kept.count == 0 || at >= room || at + kept.count <= 0) return;
  const uint32_t column_begin = static_cast<uint32_t>(column) * static_cast<uint32_t>(on.height);
  int32_t index = -kept.skipped;
  visit_flips(on, column, [&](const Flip& flip) {
    const int32_t place = at + index;
    if (index >= 0 && index < kept.count && place >= 0 && place < room)
      places[place] = column_begin + static_cast<uint32_t>(row_of(flip, on));
    ++index;
  });
}

}  // namespace maskrcnn
