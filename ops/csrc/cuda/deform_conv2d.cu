#include "../deform_conv2d.h"

#include <torch/csrc/stable/library.h>

#include "../deform_checks.h"
#include "../deform_product.h"
#include "features.h"

// A warp samples one row of taps of one output cell, one tap after the other, and a lane the channels of one 16-byte
// vector: where a sample lies is found once for all channels, and what the warp reads and writes lies side by side.
namespace maskrcnn {
namespace {

constexpr int64_t kColumnBytes = 64 << 20;  // of columns at once: enough cells to fill a GPU with the product
constexpr int64_t kFewestCells = 1024;
constexpr int kWarps = 8;

template <class Feature, int kLanes>
__device__ void sample_tap(const Feature* features, const Corners& corners, int64_t channel, Feature* to) {
  Features<Feature, kLanes> cells[4] = {};
  for (int i = 0; i < 4; ++i)
    if (corners.cell[i] >= 0) cells[i] = load_features<kLanes>(features + corners.cell[i] + channel);
  float sums[kLanes] = {};
  for (int i = 0; i < 4; ++i) add_features(cells[i], corners.share[i], sums);
  store_features(to, sums);
}

// Output cells are counted row by row, image by image, from `first` on. The grid's y is the row of taps.
template <class Feature, int kLanes>
__global__ void __launch_bounds__(kWarps* kWarp)
    sample_kernel(const Feature* features, DeformConv conv, TapValues<Feature> values, int64_t first, int64_t count,
                  Feature* columns) {
  const auto as_float = [](Feature value) { return static_cast<float>(value); };
  const int64_t lane = threadIdx.x % kWarp * kLanes, each = conv.offset_group_channels();
  for (int64_t i = grid_thread() / kWarp; i < count; i += grid_threads() / kWarp) {
    const int64_t row = (first + i) / conv.out_width, image = row / conv.out_height;
    DeformTap tap{image, row - image * conv.out_height, first + i - row * conv.out_width, blockIdx.y, 0};
    for (; tap.kernel_column < conv.kernel_width; ++tap.kernel_column)
      for (int64_t group = 0; group < conv.offset_groups; ++group) {
        const Corners corners = corners_of(conv, values, tap, group, as_float);
        const int64_t number = tap.kernel_row * conv.kernel_width + tap.kernel_column;
        for (int64_t channel = group * each + lane; channel < (group + 1) * each; channel += kWarp * kLanes)
          sample_tap<Feature, kLanes>(features, corners, channel,
                                      columns + i * conv.columns() + conv.column_of(number, channel));
      }
  }
}

// A warp a row.
template <class Feature>
__global__ void add_bias_kernel(Feature* rows, const Feature* bias, int64_t stride, int64_t count, int64_t outputs) {
  for (int64_t row = grid_thread() / kWarp; row < count; row += grid_threads() / kWarp)
    for (int64_t i = threadIdx.x % kWarp; i < outputs; i += kWarp) {
      Feature& sum = rows[row * outputs + i];
      sum = static_cast<Feature>(static_cast<float>(sum) + static_cast<float>(bias[i * stride]));
    }
}

template <class Feature>
void add_bias(const Launcher& launch, const Tensor& bias, Tensor& out, const DeformConv& conv) {
  const int64_t rows = conv.images * conv.cells();
  launch(add_bias_kernel<Feature>, blocks_for(rows, kWarps), kWarps * kWarp, 0,
         static_cast<Feature*>(out.mutable_data_ptr()), static_cast<const Feature*>(bias.const_data_ptr()),
         bias.stride(0), rows, conv.outputs);
}

// Whether 16-byte vectors of channels lie in one group and in one offset group.
bool groups_have_vectors(const FeatureMap& map, const DeformConv& conv) {
  const int64_t lanes = kVectorBytes / map.tensor.element_size();
  return has_vectors(map) && conv.group_channels() % lanes == 0 && conv.offset_group_channels() % lanes == 0;
}

template <class Feature>
void convolve(const Launcher& launch, const FeatureMap& map, const DeformConv& conv, const TapValues<Feature>& values,
              const Tensor& weight, Tensor& out) {
  const auto kernel = groups_have_vectors(map, conv) ? sample_kernel<Feature, kVectorBytes / sizeof(Feature)>
                                                     : sample_kernel<Feature, 1>;
  const auto* features = static_cast<const Feature*>(map.tensor.const_data_ptr());
  const int64_t total = conv.images * conv.cells();
  const int64_t most = std::min(total, cells_at_once(conv, sizeof(Feature), kColumnBytes, kFewestCells));
  const Tensor weights = weights_by_group(weight, conv);
  Tensor columns = empty_rows(out, most, conv.columns(), out.scalar_type());
  Tensor rows = torch::stable::view(channels_at_the_end(out), {total, conv.outputs});
  for (int64_t first = 0; first < total; first += most) {
    const int64_t count = std::min(most, total - first);
    const dim3 grid(blocks_for(count, kWarps), static_cast<unsigned>(conv.kernel_height));
    launch(kernel, grid, kWarps * kWarp, 0, features, conv, values, first, count,
           static_cast<Feature*>(columns.mutable_data_ptr()));
    multiply(torch::stable::narrow(columns, 0, 0, count), weights, torch::stable::narrow(rows, 0, first, count));
  }
}

Tensor deform_conv2d_cuda(const Tensor& features, const Tensor& weight, const Tensor& offset,
                          std::optional<Tensor> mask, std::optional<Tensor> bias, int64_t stride, int64_t padding,
                          int64_t dilation) {
  DeformConv conv = check_deform_conv2d(features, weight, offset, mask, bias, stride, padding, dilation);
  const Launcher launch("deform_conv2d", features);
  Tensor out = empty_deformed(features, conv);
  if (out.numel() == 0) return out;
  const FeatureMap map = feature_map(features);
  conv.map = map;
  visit_feature_type(features, [&](auto* type) {
    using Feature = std::remove_pointer_t<decltype(type)>;
    convolve<Feature>(launch, map, conv, {offset, mask}, weight, out);
    if (bias) add_bias<Feature>(launch, *bias, out, conv);
  });
  return out;
}

}  // namespace

STABLE_TORCH_LIBRARY_IMPL(maskrcnn, CUDA, ops) { ops.impl("deform_conv2d", TORCH_BOX(&deform_conv2d_cuda)); }

}  // namespace maskrcnn
