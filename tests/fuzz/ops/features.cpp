// roi_align, pyramid_roi_align and deform_conv2d.
#include "ops.h"
#include "results.h"

namespace fuzz {
namespace {

constexpr float kRoom = 1.02f;  // rounding of float16, and of a sum of many weights
constexpr int64_t kMostSteps = 1 << 22;

struct Bins {
  int64_t height, width, ratio;
  bool aligned;

  explicit Bins(Bytes& bytes)
      : height(side(bytes)),
        width(side(bytes)),
        ratio(bytes.seldom() ? bytes.integer() : bytes.below(4) - 1),
        aligned(bytes.flag()) {}

  static int64_t side(Bytes& bytes) { return bytes.seldom() ? bytes.integer() : 1 + bytes.below(8); }

  // An op does what it is asked for, so the question must be one that can be answered in a moment.
  bool takes_long(int64_t rois, int64_t channels) const {
    const double each =
        static_cast<double>(height) * static_cast<double>(width) * std::max<double>(1, ratio > 1024 ? 1 : ratio);
    return each > 0 && each < 1e15 && each * std::max<double>(1, rois) * std::max<double>(1, channels) > kMostSteps;
  }
};

// An average of what is on the map, and of zeros.
void check_pooled(const char* op, const Outcome& outcome, const Shape& shape, ScalarType dtype, float largest) {
  if (outcome.refused()) return;
  must_be(op, outcome.results[0], shape, dtype);
  if (largest < 60000) must_be_within(op, outcome.results[0], largest * kRoom);
}

// (rows, columns): from a map so large, on which rois lie.
Tensor rois_on(Tensors& tensors, Bytes& bytes, int64_t count) {
  const Tensor rois = tensors.like({count, 5}, ScalarType::Float);
  if (bytes.seldom() || rois.dim() != 2 || rois.scalar_type() != ScalarType::Float || rois.size(1) != 5) return rois;
  for (int64_t row = 0; row < rois.size(0) && row < 4096; ++row)  // mostly of an image that is there
    static_cast<float*>(const_cast<void*>(rois.const_data_ptr()))[row * rois.stride(0)] = 0;
  return rois;
}

}  // namespace

void roi_align(Bytes& bytes) {
  Tensors tensors(bytes);
  const ScalarType dtype = tensors.feature_dtype();
  const int64_t images = 1 + bytes.size() % 3, channels = bytes.size(), height = bytes.size(), width = bytes.size();
  const Tensor features = tensors.like({images, channels, height, width}, dtype);
  const float largest = tensors.largest();
  const Tensor rois = rois_on(tensors, bytes, bytes.size());
  const Bins bins(bytes);
  const double scale = bytes.seldom() ? bytes.number() : 1.0 / (1 << bytes.below(6));
  if (features.dim() != 4 || rois.dim() != 2 || bins.takes_long(rois.size(0), features.size(1))) return;
  const Outcome outcome =
      call("roi_align", 1, features, rois, scale, bins.height, bins.width, bins.ratio, bins.aligned);
  check_pooled("roi_align", outcome, {rois.size(0), features.size(1), bins.height, bins.width}, features.scalar_type(),
               largest);
}

void pyramid_roi_align(Bytes& bytes) {
  Tensors tensors(bytes);
  const ScalarType dtype = tensors.feature_dtype();
  const int64_t images = 1 + bytes.size() % 3, channels = bytes.size(), depth = 1 + bytes.below(4);
  std::optional<Tensor> levels[6];
  for (int64_t i = 0; i < depth; ++i) {
    const int64_t height = bytes.size(), width = bytes.size();
    if (i == 0 || !bytes.seldom()) levels[i] = tensors.like({images, channels, height, width}, dtype);
  }
  const float largest = tensors.largest();
  const int64_t each = bytes.size();
  const Tensor boxes = tensors.like(bytes.flag() ? Shape{each, 4} : Shape{images, each, 4}, ScalarType::Float);
  const Tensor counts = tensors.like({images}, ScalarType::Long);
  std::vector<double> scales;
  for (int64_t i = 0; i < depth; ++i)
    scales.push_back(bytes.seldom() ? bytes.number() : 0.25 / static_cast<double>(1 << i));
  if (bytes.seldom()) scales.push_back(scales.back() / 2);
  const Bins bins(bytes);
  const int64_t canonical_level = bytes.seldom() ? bytes.integer() : 4;
  const double canonical_size = bytes.seldom() ? bytes.number() : 16;
  const double ratio_epsilon = bytes.seldom() ? bytes.number() : 0,
               level_epsilon = bytes.seldom() ? bytes.number() : 1e-6;
  const bool legacy = bytes.flag();
  const int64_t rows = boxes.dim() == 3 ? boxes.size(0) * boxes.size(1) : boxes.dim() == 2 ? boxes.size(0) : 0;
  if (levels[0]->dim() != 4 || bins.takes_long(rows, levels[0]->size(1))) return;
  const Outcome outcome = call("pyramid_roi_align", 1, boxes, counts, *levels[0], levels[1], levels[2], levels[3],
                               levels[4], levels[5], scales, bins.height, bins.width, bins.ratio, bins.aligned,
                               canonical_level, canonical_size, ratio_epsilon, level_epsilon, legacy);
  check_pooled("pyramid_roi_align", outcome, {rows, levels[0]->size(1), bins.height, bins.width},
               levels[0]->scalar_type(), largest);
}

void deform_conv2d(Bytes& bytes) {
  Tensors tensors(bytes);
  const ScalarType dtype = tensors.feature_dtype();
  const int64_t groups = 1 + bytes.below(3), offset_groups = 1 + bytes.below(3), each = 1 + bytes.size() % 6;
  const int64_t images = bytes.size() % 4, channels = groups * offset_groups * each,
                outputs = groups * (bytes.size() % 5);
  const int64_t height = bytes.size(), width = bytes.size(), rows = 1 + bytes.below(3), columns = 1 + bytes.below(3);
  const int64_t stride = bytes.seldom() ? bytes.integer() : 1 + bytes.below(2);
  const int64_t padding = bytes.seldom() ? bytes.integer() : bytes.below(3);
  const int64_t dilation = bytes.seldom() ? bytes.integer() : 1 + bytes.below(2);
  const auto cells = [&](int64_t size, int64_t kernel) -> int64_t {
    constexpr int64_t kLong = 1 << 16;  // the op refuses these
    if (stride < 1 || stride > kLong || padding < 0 || padding > kLong || dilation < 1 || dilation > kLong) return 1;
    return std::max<int64_t>(0, (size + 2 * padding - dilation * (kernel - 1) - 1) / stride + 1);
  };
  const int64_t out_height = cells(height, rows), out_width = cells(width, columns), taps = rows * columns;
  const Tensor features = tensors.like({images, channels, height, width}, dtype);
  const Tensor weight = tensors.like({outputs, channels / groups, rows, columns}, dtype);
  const Tensor offset = tensors.like({images, 2 * offset_groups * taps, out_height, out_width}, dtype);
  std::optional<Tensor> mask, bias;
  if (bytes.flag()) mask = tensors.like({images, offset_groups * taps, out_height, out_width}, dtype);
  if (bytes.flag()) bias = tensors.like({outputs}, dtype);
  const Outcome outcome = call("deform_conv2d", 1, features, weight, offset, mask, bias, stride, padding, dilation);
  if (outcome.refused()) return;
  const Tensor& result = outcome.results[0];
  must_be("deform_conv2d", result, {features.size(0), weight.size(0), offset.size(2), offset.size(3)},
          features.scalar_type());
  const float largest = tensors.largest();  // of each factor of each product
  const float sum = largest * (1 + largest * largest * static_cast<float>(channels * taps));
  if (sum < 60000) must_be_within("deform_conv2d", result, sum * kRoom);
}

}  // namespace fuzz
