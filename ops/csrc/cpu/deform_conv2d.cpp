#include "../deform_conv2d.h"

#include <algorithm>
#include <vector>

#include <torch/csrc/stable/library.h>
#include <torch/csrc/stable/ops.h>

#include "../deform_checks.h"
#include "../deform_product.h"
#include "feature_view.h"
#include "multiversion.h"

namespace maskrcnn {
namespace {

constexpr int64_t kColumnBytes = 4 << 20;  // of columns at once: about what a core's caches hold
constexpr int64_t kFewestCells = 64;       // fewer make a slow product

template <class Feature>
void blend(const Feature* const (&corner)[4], const float (&share)[4], int64_t channels, float* __restrict to) {
  const Feature *a = corner[0], *b = corner[1], *c = corner[2], *d = corner[3];
  const float of_a = share[0], of_b = share[1], of_c = share[2], of_d = share[3];
  for (int64_t i = 0; i < channels; ++i)
    to[i] = of_a * to_float(a[i]) + of_b * to_float(b[i]) + of_c * to_float(c[i]) + of_d * to_float(d[i]);
}

template <class Feature>
class Sampling {
 public:
  Sampling(const FeatureMap& map, const DeformConv& conv, const Tensor& offset, const std::optional<Tensor>& mask)
      : cells_(static_cast<const Feature*>(map.tensor.const_data_ptr())), conv_(conv), values_(offset, mask),
        zeros_(conv.channels) {}

  // Writes the columns of some output cells of one image, counted row by row.
  void sample(int64_t image, int64_t first, int64_t count, float* columns) const {
    torch::stable::parallel_for(0, count, 8, [&](int64_t begin, int64_t end) {
      multiversion([&] {
        for (int64_t i = begin; i < end; ++i) sample_cell(image, first + i, columns + i * conv_.columns());
      });
    });
  }

 private:
  void sample_cell(int64_t image, int64_t cell, float* columns) const {
    DeformTap tap{image, cell / conv_.out_width, cell % conv_.out_width, 0, 0};
    for (tap.kernel_row = 0; tap.kernel_row < conv_.kernel_height; ++tap.kernel_row)
      for (tap.kernel_column = 0; tap.kernel_column < conv_.kernel_width; ++tap.kernel_column)
        for (int64_t group = 0; group < conv_.offset_groups; ++group) sample_tap(tap, group, columns);
  }

  void sample_tap(const DeformTap& tap, int64_t offset_group, float* columns) const {
    const auto as_float = [](Feature value) { return to_float(value); };
    const Corners corners = corners_of(conv_, values_, tap, offset_group, as_float);
    const int64_t number = tap.kernel_row * conv_.kernel_width + tap.kernel_column;
    const int64_t begin = offset_group * conv_.offset_group_channels(), end = begin + conv_.offset_group_channels();
    for (int64_t channel = begin, next; channel < end; channel = next) {  // those side by side in the columns, too
      next = std::min(end, (channel / conv_.group_channels() + 1) * conv_.group_channels());
      const Feature* corner[4];
      for (int i = 0; i < 4; ++i) corner[i] = corners.cell[i] < 0 ? zeros_.data() : cells_ + corners.cell[i] + channel;
      blend(corner, corners.share, next - channel, columns + conv_.column_of(number, channel));
    }
  }

  const Feature* cells_;
  const DeformConv& conv_;
  const TapValues<Feature> values_;
  const std::vector<Feature> zeros_;  // the channels of a cell outside the map
};

std::vector<float> floats_of(const Tensor& vector) {
  std::vector<float> floats(vector.size(0));
  visit_features(vector, [&](auto* values) {
    for (size_t i = 0; i < floats.size(); ++i) floats[i] = to_float(values[static_cast<int64_t>(i) * vector.stride(0)]);
  });
  return floats;
}

// Adds the bias to rows of sums and writes them in the dtype of the output.
template <class Feature>
void write_rows(const float* sums, const std::vector<float>& bias, int64_t rows, Feature* out) {
  const int64_t outputs = static_cast<int64_t>(bias.size());
  torch::stable::parallel_for(0, rows, 64, [&](int64_t begin, int64_t end) {
    multiversion([&] {
      for (int64_t row = begin; row < end; ++row)
        for (int64_t i = 0; i < outputs; ++i)
          out[row * outputs + i] = from_float<Feature>(sums[row * outputs + i] + bias[i]);
    });
  });
}

// Images one after the other, each in the same steps: an image's result does not depend on the others.
template <class Feature>
void convolve(const Sampling<Feature>& sampling, const DeformConv& conv, const Tensor& weight,
              const std::vector<float>& bias, Tensor& out) {
  const Tensor weights = weights_by_group(torch::stable::to(weight, ScalarType::Float), conv);
  const int64_t most = std::min(conv.cells(), cells_at_once(conv, sizeof(float), kColumnBytes, kFewestCells));
  Tensor columns = empty_rows(out, most, conv.columns(), ScalarType::Float);
  Tensor sums = empty_rows(out, most, conv.outputs, ScalarType::Float);
  auto* to = static_cast<Feature*>(out.mutable_data_ptr());
  for (int64_t image = 0; image < conv.images; ++image)
    for (int64_t first = 0; first < conv.cells(); first += most) {
      const int64_t count = std::min(most, conv.cells() - first);
      sampling.sample(image, first, count, columns.mutable_data_ptr<float>());
      multiply(torch::stable::narrow(columns, 0, 0, count), weights, torch::stable::narrow(sums, 0, 0, count));
      write_rows(sums.const_data_ptr<float>(), bias, count, to + (image * conv.cells() + first) * conv.outputs);
    }
}

Tensor deform_conv2d_cpu(const Tensor& features, const Tensor& weight, const Tensor& offset, std::optional<Tensor> mask,
                         std::optional<Tensor> bias, int64_t stride, int64_t padding, int64_t dilation) {
  DeformConv conv = check_deform_conv2d(features, weight, offset, mask, bias, stride, padding, dilation);
  Tensor out = empty_deformed(features, conv);
  if (out.numel() == 0) return out;
  const FeatureMap map = feature_map(features);
  conv.map = map;
  visit_features(map.tensor, [&](auto* cells) {
    using Feature = std::remove_cv_t<std::remove_pointer_t<decltype(cells)>>;
    convolve(Sampling<Feature>(map, conv, offset, mask), conv, weight,
             bias ? floats_of(*bias) : std::vector<float>(conv.outputs), out);
  });
  return out;
}

}  // namespace

STABLE_TORCH_LIBRARY_IMPL(maskrcnn, CPU, ops) { ops.impl("deform_conv2d", TORCH_BOX(&deform_conv2d_cpu)); }

}  // namespace maskrcnn
