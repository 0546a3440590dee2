#include "../encode_rle.h"

#include <bit>
#include <cstring>

#include <torch/csrc/stable/library.h>

#include "../run_lengths.h"
#include "mask_probes.h"
#include "parallel.h"

namespace maskrcnn {
namespace {

// Kept from one instance to the next: it spares the allocations.
struct Scratch {
  SampledAxis x, y;
  std::vector<float> padded;
  Probes probes;
  std::vector<uint8_t> inside;  // (columns, stride)
};

inline void test_column(const float* upper, const float* lower, const float* y_fraction, int64_t stride,
                        float x_fraction, float least, uint8_t* __restrict inside) {
  for (int64_t k = 0; k < stride; ++k) {
    const float top = lerp(upper[k], upper[stride + k], x_fraction);
    const float bottom = lerp(lower[k], lower[stride + k], x_fraction);
    inside[k] = lerp(top, bottom, y_fraction[k]) >= least;
  }
}

// One instance's columns, one after another.
struct Columns {
  const Scratch& on;
  float least;

  // The row from y.begin at which the membership of probe k begins.
  int32_t flip_before(int64_t k, int32_t column) const {
    const Probes& probes = on.probes;
    if (k == 0 || probes.row[k] - probes.row[k - 1] == 1) return probes.row[k];
    const int64_t at = on.x.cell[column] * probes.stride + k - 1;
    const float x_fraction = on.x.fraction[column];
    const float top = lerp(probes.upper[at], probes.upper[at + probes.stride], x_fraction);
    const float bottom = lerp(probes.lower[at], probes.lower[at + probes.stride], x_fraction);
    const float* fraction = on.y.fraction.data();
    return flip_between(probes.row[k - 1], probes.row[k],
                        [&](int32_t row) { return lerp(top, bottom, fraction[row]) >= least; });
  }

  // `first` is the place of the column's row y.begin in the plane. Eight probes are compared at once, and most
  // of them with one word: few differ from the one before.
  void add_runs(int32_t column, int64_t first, RunLengths& runs) const {
    static_assert(std::endian::native == std::endian::little, "the lowest byte of a word is the first probe");
    const uint8_t* inside = on.inside.data() + column * on.probes.stride;
    int64_t run_begin = -1;  // of the run that is open
    uint64_t last = 0;       // the probe before the eight
    for (int64_t k = 0; k < on.probes.stride; k += 8) {
      uint64_t eight;
      std::memcpy(&eight, inside + k, 8);
      for (uint64_t flips = eight ^ (eight << 8 | last); flips != 0; flips &= flips - 1) {
        const int64_t flip = first + flip_before(k + std::countr_zero(flips) / 8, column);
        if (run_begin >= 0) runs.add(run_begin, flip);
        run_begin = run_begin >= 0 ? -1 : flip;
      }
      last = eight >> 56;
    }
  }
};

void test_columns(float least, Scratch& on) {
  const int64_t stride = on.probes.stride;
  on.inside.resize(on.x.length() * stride);
  multiversion([&] {
    for (int32_t column = 0; column < on.x.length(); ++column) {
      const int64_t at = on.x.cell[column] * stride;
      test_column(on.probes.upper.data() + at, on.probes.lower.data() + at, on.probes.fraction.data(), stride,
                  on.x.fraction[column], least, on.inside.data() + column * stride);
    }
  });
}

struct Instance {
  const float *mask, *box;
  int32_t size, height, width;
  float least;
};

std::vector<uint8_t> encode(const Instance& instance, PasteRule rule, Scratch& on) {
  const MaskFrame frame = mask_frame(instance.box, instance.size, rule);
  sample_axis(frame.x, instance.size, instance.width, on.x);
  sample_axis(frame.y, instance.size, instance.height, on.y);
  RunLengths runs;
  if (on.x.length() > 0 && on.y.length() > 0) {
    pad_mask(instance.mask, instance.size, on.padded);
    choose_rows(on.y, on.probes);
    lay_out(on.padded, instance.size, on.y, on.probes);
    test_columns(instance.least, on);
    const Columns columns{on, instance.least};
    multiversion([&] {
      for (int32_t column = 0; column < on.x.length(); ++column)
        columns.add_runs(column, int64_t{on.x.begin + column} * instance.height + on.y.begin, runs);
    });
  }
  return runs.finish(int64_t{instance.height} * instance.width);
}

std::tuple<Tensor, Tensor> join(const std::vector<std::vector<uint8_t>>& strings) {
  const int64_t count = static_cast<int64_t>(strings.size());
  Tensor offsets = torch::stable::empty({count + 1}, ScalarType::Long);
  auto* offset = offsets.mutable_data_ptr<int64_t>();
  offset[0] = 0;
  for (int64_t n = 0; n < count; ++n) offset[n + 1] = offset[n] + static_cast<int64_t>(strings[n].size());
  Tensor counts = torch::stable::empty({offset[count]}, ScalarType::Byte);
  auto* bytes = counts.mutable_data_ptr<uint8_t>();
  for (int64_t n = 0; n < count; ++n) std::copy(strings[n].begin(), strings[n].end(), bytes + offset[n]);
  return {counts, offsets};
}

std::tuple<Tensor, Tensor> encode_rle_cpu(const Tensor& probs, const Tensor& boxes, const Tensor& image_sizes,
                                          const Tensor& thresholds, std::string rule_name, bool inclusive) {
  check_encode_rle(probs, boxes, image_sizes, thresholds);
  const PasteRule rule = paste_rule("encode_rle", rule_name);
  const Tensor masks = torch::stable::contiguous(probs), corners = torch::stable::contiguous(boxes);
  const Tensor sizes = torch::stable::contiguous(image_sizes), limits = torch::stable::contiguous(thresholds);
  const int64_t count = masks.size(0), size = masks.size(1);
  const auto *mask = masks.const_data_ptr<float>(), *box = corners.const_data_ptr<float>();
  const auto* image = sizes.const_data_ptr<int64_t>();
  const auto* threshold = limits.const_data_ptr<float>();
  for (int64_t n = 0; n < count; ++n) check_plane(image[2 * n], image[2 * n + 1], n);
  std::vector<std::vector<uint8_t>> strings(count);
  std::atomic<int64_t> next{0};  // boxes differ a thousandfold in area: each thread takes one when it is free
  constexpr int64_t kWorthAThread = 8;  // an instance takes about 10 us, as much as waking a thread does
  parallel(count, kWorthAThread, [&](int64_t, int64_t) {
    Scratch scratch;
    for (int64_t n = next++; n < count; n = next++)
      strings[n] = encode({mask + n * size * size, box + 4 * n, static_cast<int32_t>(size),
                           static_cast<int32_t>(image[2 * n]), static_cast<int32_t>(image[2 * n + 1]),
                           least_member(threshold[n], inclusive)},
                          rule, scratch);
  });
  return join(strings);
}

}  // namespace

STABLE_TORCH_LIBRARY_IMPL(maskrcnn, CPU, ops) { ops.impl("encode_rle", TORCH_BOX(&encode_rle_cpu)); }

}  // namespace maskrcnn
