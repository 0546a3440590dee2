#include "canvas.h"

#include <algorithm>
#include <cmath>

#include "error.h"

namespace {

// The order of the float operations decides the last pixel.
Size torchvision_size(double height, double width, double min_size, double max_size) {
  const double scale = std::min(min_size / std::min(height, width), max_size / std::max(height, width));
  return {static_cast<int64_t>(std::floor(height * scale)), static_cast<int64_t>(std::floor(width * scale))};
}

Size detectron2_size(double height, double width, double min_size, double max_size) {
  const double scale = min_size / std::min(height, width);
  // Only the longer side is a product: shorter * (min_size / shorter) may miss min_size by a rounding.
  double tall = height < width ? min_size : scale * height, wide = height < width ? scale * width : min_size;
  if (const double longer = std::max(tall, wide); longer > max_size) {
    const double shrink = max_size / longer;
    tall *= shrink, wide *= shrink;
  }
  return {static_cast<int64_t>(tall + 0.5), static_cast<int64_t>(wide + 0.5)};
}

Size maskrcnn_benchmark_size(double height, double width, double min_size, double max_size) {
  const double shorter = std::min(height, width), longer = std::max(height, width);
  double size = min_size;
  if (longer / shorter * size > max_size) size = std::nearbyint(max_size * shorter / longer);
  if (shorter == size) return {static_cast<int64_t>(height), static_cast<int64_t>(width)};
  if (width < height) return {static_cast<int64_t>(size * height / width), static_cast<int64_t>(size)};
  return {static_cast<int64_t>(size), static_cast<int64_t>(size * width / height)};
}

auto size_rule(const std::string& name) {
  if (name == "torchvision") return torchvision_size;
  if (name == "detectron2") return detectron2_size;
  if (name == "maskrcnn_benchmark") return maskrcnn_benchmark_size;
  throw UserError("the model card's size_rule " + name + " is not of this version: build the program again");
}

torch::Tensor as_corners(Size size) {
  const auto height = static_cast<float>(size.height), width = static_cast<float>(size.width);
  return torch::tensor({width, height, width, height});
}

}  // namespace

Size resized_size(Size picture, const Preprocessing& preprocessing) {
  const auto [height, width] = size_rule(preprocessing.size_rule)(
      static_cast<double>(picture.height), static_cast<double>(picture.width),
      static_cast<double>(preprocessing.min_size), static_cast<double>(preprocessing.max_size));
  return {std::max<int64_t>(height, 1), std::max<int64_t>(width, 1)};
}

Size canvas_size(Size resized, const Preprocessing& preprocessing) {
  const int64_t divisor = preprocessing.size_divisor;
  return {(resized.height + divisor - 1) / divisor * divisor, (resized.width + divisor - 1) / divisor * divisor};
}

torch::Tensor boxes_on_image(const torch::Tensor& boxes_on_canvas, Size resized, Size picture, bool clip) {
  const torch::Tensor limits = as_corners(picture);
  const torch::Tensor boxes = boxes_on_canvas * (limits / as_corners(resized));
  return clip ? torch::minimum(boxes.clamp_min(0), limits) : boxes;
}
